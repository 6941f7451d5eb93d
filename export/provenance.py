"""Where a generator comes from: configuration, data, libraries, and how good it was found to be."""

import platform
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from export.manifest import library_version
from vae_tf.errors import RunError
from vae_tf.evaluation import Estimate
from vae_tf.run import EVALUATION, Run

__all__ = ["provenance"]

_LIBRARIES = ("vae_tf", "tensorflow", "tf_keras", "tensorflow_probability", "onnx", "onnxruntime", "tf2onnx", "numpy")


def provenance(run: Run) -> dict[str, Any]:
    """Return plain values that say where the generator of a run comes from.

    The configuration is kept as it was, with the path of the images, so that the run can be repeated; the model card leaves it out.

    Raises:
        RunError: the run's evaluation is damaged.
    """
    log_likelihood = _log_likelihood(run)
    return {
        "config": run.config.to_dict(),
        "data": asdict(run.data),
        "seed": run.config.seed,
        "versions": {"python": platform.python_version(), **{name: library_version(name) for name in _LIBRARIES}},
        "evaluation": None if log_likelihood is None else {"log_likelihood": asdict(log_likelihood)},
    }


def _log_likelihood(run: Run) -> Estimate | None:
    path = run.folder / EVALUATION
    if not path.exists():
        return None
    try:
        return TypeAdapter(Estimate).validate_python(from_json(path.read_bytes())["log_likelihood"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"`{path}` is damaged ({reason}); write it again with `python -m vae_tf evaluate {run.folder}`.") from None
