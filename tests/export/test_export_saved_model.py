"""What the SavedModel answers, what it refuses, and what is inside."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from export_runs import small
from pieces import tiny
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework import op_def_registry

from export import ConversionError, saved_model
from export.engines import Call, tensorflow_function, tensorflow_session
from export.warmup import read_requests
from vae_tf.config import Config
from vae_tf.generator import Generator, noise

Z = noise(5, 3, seed=1)


@pytest.fixture(scope="module", params=[tensorflow_session, tensorflow_function])
def call(request: pytest.FixtureRequest, exported: Path) -> Iterator[Call]:
    with request.param(exported) as call:
        yield call


@pytest.fixture(scope="module")
def graph(exported: Path) -> meta_graph_pb2.MetaGraphDef:
    return saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes()).meta_graphs[0]


@pytest.fixture(scope="module")
def nodes(graph: meta_graph_pb2.MetaGraphDef) -> list:
    return [*graph.graph_def.node, *(node for function in graph.graph_def.library.function for node in function.node_def)]


@pytest.fixture(scope="module")
def serve(exported: Path) -> Iterator[Callable[..., np.ndarray]]:
    with serving(exported) as answer:
        yield answer


@contextmanager
def serving(folder: Path) -> Iterator[Callable[..., np.ndarray]]:
    """Answer as the real server does: no shape is compared with the signature."""
    with closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
        with session.graph.as_default():
            signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder)).signature_def

        def answer(name: str, **inputs: np.ndarray) -> np.ndarray:
            feed = [signatures[name].inputs[key].name for key in inputs]
            (output,) = (info.name for info in signatures[name].outputs.values())
            return session._make_callable_from_options(config_pb2.CallableOptions(feed=feed, fetch=[output]))(*inputs.values())[0]

        yield answer


def test_the_mean_is_the_generators(call: Call, generator: Generator):
    np.testing.assert_allclose(call("serving_default", {"z": Z})["mean"], generator(tf.constant(Z)).mean(), atol=1e-6)


def test_a_draw_is_the_generators_for_uniform_noise_of_the_rows_seed(call: Call, generator: Generator):
    seed = np.array([3, -1, 2**31 - 1, 0, 3], np.int32)
    uniform = tf.stack([tf.random.stateless_uniform([8, 8, 1], [s, 0], minval=2.0**-24) for s in seed])
    np.testing.assert_allclose(call("sample", {"z": Z, "seed": seed})["x"], generator.draw(tf.constant(Z), uniform), atol=1e-6)


def test_equal_seeds_give_equal_draws_whatever_the_batch(call: Call):
    z, seed = np.tile(Z[:1], [5, 1]), np.array([7, 8, 7, 9, 7], np.int32)
    together, alone = call("sample", {"z": z, "seed": seed})["x"], call("sample", {"z": z[:1], "seed": seed[:1]})["x"]
    for row in (0, 2, 4):
        np.testing.assert_array_equal(together[row], alone[0])
    assert (together[1] != alone[0]).any()


def test_equal_seeds_give_equal_draws_up_to_rounding_of_convolutions(make_generator: Callable[[Config], Generator], tmp_path: Path):
    saved_model.save(make_generator(small("normal", "conv")), tmp_path / "saved")
    z, seed = noise(64, 3, seed=4), np.arange(64, dtype=np.int32)
    with tensorflow_session(tmp_path / "saved") as call:
        together = call("sample", {"z": z, "seed": seed})["x"]
        alone = [call("sample", {"z": z[row : row + 1], "seed": seed[row : row + 1]})["x"] for row in range(64)]
    np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-5)


def test_uniform_noise_lies_strictly_inside_0_and_1():
    noise = saved_model.uniform(tf.range(200), (64, 64, 1)).numpy()
    assert noise.min() > 0
    assert noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.01


def test_png_files_decode_to_the_rounded_mean(call: Call, generator: Generator):
    files = call("png", {"z": Z})["image_bytes"]
    levels = np.stack([tf.io.decode_png(file).numpy() for file in files])
    np.testing.assert_array_equal(levels, np.rint(generator(tf.constant(Z)).mean().numpy() * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("serving_default", {"z": np.zeros([2, 4])}, r"`z` must have the shape \[batch, 3\], at least one row, got the shape\] \[2 4\]"),
        ("serving_default", {"z": np.zeros([6, 1])}, r"`z` must have the shape \[batch, 3\], at least one row, got the shape\] \[6 1\]"),
        ("serving_default", {"z": np.zeros([3])}, r"`z` must have the shape \[batch, 3\], at least one row, got the shape\] \[3\]"),
        ("serving_default", {"z": np.zeros([])}, r"`z` must have the shape \[batch, 3\], at least one row, got the shape\] \[\]"),
        (
            "serving_default",
            {"z": np.zeros([2, 1, 3])},
            r"`z` must have the shape \[batch, 3\], at least one row, got the shape\] \[2 1 3\]",
        ),
        ("serving_default", {"z": np.full([2, 3], np.nan)}, "`z` must be finite : Tensor had NaN"),
        ("serving_default", {"z": np.full([2, 3], np.inf)}, "`z` must be finite : Tensor had Inf"),
        ("png", {"z": np.zeros([2, 4])}, r"`z` must have the shape \[batch, 3\]"),
        ("png", {"z": np.full([2, 3], -np.inf)}, "`z` must be finite"),
        ("sample", {"z": np.zeros([2, 4]), "seed": np.zeros([2])}, r"`z` must have the shape \[batch, 3\]"),
        ("sample", {"z": np.full([2, 3], np.nan), "seed": np.zeros([2])}, "`z` must be finite"),
        ("sample", {"z": np.zeros([2, 3]), "seed": np.zeros([3])}, r"`seed` must hold one int32 per row of `z`, got the shape\] \[3\]"),
        ("sample", {"z": np.zeros([2, 3]), "seed": np.zeros([1])}, r"`seed` must hold one int32 per row of `z`, got the shape\] \[1\]"),
        ("sample", {"z": np.zeros([2, 3]), "seed": np.zeros([2, 2])}, "`seed` must hold one int32 per row of `z`"),
        ("sample", {"z": np.zeros([1, 3]), "seed": np.zeros([])}, "`seed` must hold one int32 per row of `z`"),
    ],
)
def test_the_graph_itself_refuses_bad_input(serve: Callable[..., np.ndarray], signature: str, inputs: dict, message: str):
    types = {"z": np.float32, "seed": np.int32}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(signature, **{key: value.astype(types[key]) for key, value in inputs.items()})
    assert len(serve("serving_default", z=Z)) == len(Z)


CLASS_RULE, VECTOR_RULE = "`label` must hold one class per row of `z`", r"`label` must have the shape \[batch, 3\], one row per row of `z`"


@pytest.mark.parametrize(
    ("condition", "label", "message"),
    [
        ("classes", np.zeros([2]), CLASS_RULE + r", got the shape\] \[2\]"),
        ("classes", np.zeros([5, 1]), CLASS_RULE),
        ("classes", np.zeros([]), CLASS_RULE),
        ("classes", np.array([0, 1, 2, 3, 0]), r"`label` must be a class from 0 to 2, got\] \[0 1 2\.\.\.\]"),
        ("classes", np.array([0, 1, -1, 0, 0]), "`label` must be a class from 0 to 2"),
        ("vector", np.zeros([4, 3]), VECTOR_RULE + r", got the shape\] \[4 3\]"),
        ("vector", np.zeros([5, 2]), VECTOR_RULE),
        ("vector", np.zeros([5]), VECTOR_RULE),
        ("vector", np.full([5, 3], np.nan), "`label` must be finite : Tensor had NaN"),
    ],
)
def test_the_graph_itself_refuses_bad_labels(
    make_generator: Callable[[Config], Generator], tmp_path: Path, condition: str, label: np.ndarray, message: str
):
    generator = make_generator(tiny(condition=condition))
    saved_model.save(generator.frozen(), tmp_path / "saved")
    z, spec = noise(5, generator.noise_dim, seed=4), generator.condition.label
    good = np.ones([5, *spec.shape[1:]], spec.dtype.as_numpy_dtype)
    with serving(tmp_path / "saved") as serve:
        for signature in saved_model.SIGNATURES:
            seed = {"seed": np.zeros([5], np.int32)} if signature == "sample" else {}
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                serve(signature, z=z, label=label.astype(good.dtype), **seed)
            assert len(serve(signature, z=z, label=good, **seed)) == 5


@pytest.mark.parametrize("signature", saved_model.SIGNATURES)
def test_an_empty_batch_is_refused(serve: Callable[..., np.ndarray], signature: str):
    seed = {"seed": np.zeros([0], np.int32)} if signature == "sample" else {}
    message = r"`z` must have the shape \[batch, 3\], at least one row, got the shape\] \[0 3\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(signature, z=Z[:0], **seed)


@pytest.mark.parametrize("likelihood", ["normal", "bernoulli"])  # without a check a Bernoulli draw of a NaN mean is a black image
def test_finite_latents_whose_mean_overflows_are_refused(make_generator: Callable[[Config], Generator], likelihood: str, tmp_path: Path):
    generator, seed = make_generator(small(likelihood)), {"seed": np.zeros([5], np.int32)}
    for variable in generator.variables:
        variable.assign(10 * variable)
    saved_model.save(generator, tmp_path / "saved")
    with tensorflow_session(tmp_path / "saved") as call:
        for signature in saved_model.SIGNATURES:
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"`z` must not be so far from 0 that the mean of p\(x \| z\)"):
                call(signature, {"z": np.float32(3e38) * np.sign(Z)} | (seed if signature == "sample" else {}))


def test_only_the_generators_variables_are_inside(exported: Path, generator: Generator):
    stored = [shape for name, shape in tf.train.list_variables(str(exported / "variables/variables")) if "VARIABLE_VALUE" in name]
    assert sorted(stored) == sorted(variable.shape.as_list() for variable in generator.variables)


def test_of_a_vamp_prior_the_flow_of_the_posterior_comes_along_and_nothing_else(
    make_generator: Callable[[Config], Generator], tmp_path: Path
):
    generator = make_generator(tiny(prior="vampprior", posterior="coupling-flow"))
    saved_model.save(generator.frozen(), tmp_path / "saved")
    stored = [shape for name, shape in tf.train.list_variables(str(tmp_path / "saved/variables/variables")) if "VARIABLE_VALUE" in name]
    decoder = [[5, 6], [6], [6, 64], [64]]
    # Of each of two layers: 2 coordinates and 3 values of context in, shift and log scale of 3 coordinates out.
    coupling = [[5, 4], [4], [4, 4], [4], [4, 6], [6]]
    assert sorted(stored) == sorted(decoder + 2 * coupling)


def test_no_stateful_op_but_reading_variables_checks_and_calls(nodes: list):
    # StatefulPartitionedCall and While call functions, whose own ops are among the nodes; the others save, restore and read weights.
    allowed = {"VarHandleOp", "ReadVariableOp", "AssignVariableOp", "Assert", "CheckNumerics", "StatefulPartitionedCall"}
    allowed |= {"DisableCopyOnRead", "SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}
    stateful = {node.op for node in nodes if (op := op_def_registry.get(node.op)) and op.is_stateful}
    assert stateful <= allowed
    assert "ReadVariableOp" in stateful


def test_no_xla_and_no_python_inside(graph: meta_graph_pb2.MetaGraphDef, nodes: list):
    attributes = {key for node in nodes for key in node.attr} | {key for f in graph.graph_def.library.function for key in f.attr}
    assert not [key for key in attributes if "xla" in key.lower() or "jit" in key.lower()]
    assert not [node.op for node in nodes if "py" in node.op.lower() and "copy" not in node.op.lower()]


def test_no_keras_object_and_no_training_inside(graph: meta_graph_pb2.MetaGraphDef, nodes: list):
    identifiers = {node.user_object.identifier for node in graph.object_graph_def.nodes if node.HasField("user_object")}
    assert not [name for name in identifiers if "keras" in name]
    assert not [node.op for node in nodes if "Grad" in node.op or "Adam" in node.op]


def test_the_warm_up_file_holds_one_request_per_signature(exported: Path, call: Call):
    requests = read_requests(exported)
    assert [name for name, _ in requests] == ["serving_default", "sample", "png"]
    for name, inputs in requests:
        (output,) = call(name, inputs).values()
        assert len(output) == 1


def test_a_full_disk_is_said_in_one_line(generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object, **kwargs: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "{{function_node x}} variables/part; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(ConversionError, match="^saved_model: it can not be written: variables/part; No space left on device$"):
        saved_model.save(generator, tmp_path)
