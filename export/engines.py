"""The ways in which an exported folder is run: each yields a function from signature and inputs to outputs.

Every import is made when an engine starts, so that ONNX Runtime runs without TensorFlow.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

__all__ = ["ENGINES", "Call"]

#: (signature, inputs by name) -> outputs by name
Call = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


@contextmanager
def tensorflow_session(folder: Path) -> Iterator[Call]:
    """Load with the C++ loader, as TensorFlow Serving does: some exports run in Python and can not answer there."""
    import tensorflow as tf

    with closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
        with session.graph.as_default():
            signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder)).signature_def

        def call(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            outputs = {key: info.name for key, info in signatures[name].outputs.items()}
            return session.run(outputs, {signatures[name].inputs[key].name: value for key, value in inputs.items()})

        yield call


@contextmanager
def tensorflow_function(folder: Path) -> Iterator[Call]:
    """Load as a Python program does."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(folder)).signatures

    def call(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    yield call


@contextmanager
def onnx_runtime(folder: Path) -> Iterator[Call]:
    """Load the ONNX graph; it holds `serving_default` alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def call(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip((output.name for output in session.get_outputs()), session.run(None, inputs)))

    yield call


ENGINES = {"saved_model": (tensorflow_session, tensorflow_function), "onnx": (onnx_runtime,)}
