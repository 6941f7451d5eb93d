"""The exported folder: what it says of itself, and that it appears whole or not at all."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pieces import REGISTRIES, tiny
from PIL import Image

from export import ArtifactError, ConversionError, Manifest, VerificationError, export, onnx_graph, recipe
from export.image_values import image_values
from export.manifest import BOUNDED, BOUNDED_MEANS, UNBOUNDED
from export.preview import write_preview
from export.verify import Probe, probes, verify
from vae_tf.build import build as build_vae
from vae_tf.config import Config
from vae_tf.errors import RunError
from vae_tf.generator import Generator


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def test_the_folder_holds_what_was_promised(exported: Path):
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    variables = {"variables/variables.index", "variables/variables.data-00000-of-00001"}
    described = {"manifest.json", "MODEL_CARD.md", "preview.png"}
    assert files == {"saved_model.pb", "fingerprint.pb", "model.onnx", "assets.extra/tf_serving_warmup_requests"} | variables | described
    models = exported.parent.parent
    assert sorted(str(path.relative_to(models)) for path in models.rglob("*"))[:2] == ["digits", "digits/1"]


def test_the_manifest_says_shapes_parity_and_provenance(exported: Path):
    manifest = json.loads((exported / "manifest.json").read_bytes())
    assert (manifest["schema_version"], manifest["name"], manifest["version"]) == (1, "digits", 1)
    assert manifest["generator"].pop("values") == "trained on values in [0, 1], and its means and draws lie there too"
    assert manifest["generator"] == {
        "latent_dim": 3,
        "noise_layout": [{"name": "z", "size": 3}],
        "image_shape": [8, 8, 1],
        "value_range": [0.0, 1.0],
        "noise": "z ~ N(0, I)",
    }
    z, seed = {"dtype": "float32", "shape": [-1, 3]}, {"dtype": "int32", "shape": [-1]}
    image, file = {"dtype": "float32", "shape": [-1, 8, 8, 1]}, {"dtype": "string", "shape": [-1]}
    assert manifest["signatures"] == {
        "serving_default": {"inputs": {"z": z}, "outputs": {"mean": image}},
        "sample": {"inputs": {"z": z, "seed": seed}, "outputs": {"x": image}},
        "png": {"inputs": {"z": z}, "outputs": {"image_bytes": file}},
    }
    parity = {name: form.pop("parity") for name, form in manifest["formats"].items()}
    assert manifest["formats"] == {
        "saved_model": {"path": "saved_model.pb", "signatures": ["serving_default", "sample", "png"]},
        "onnx": {"path": "model.onnx", "signatures": ["serving_default"], "opset": 18},
    }
    assert {form: list(outputs) for form, outputs in parity.items()} == {"saved_model": ["mean", "x", "image_bytes"], "onnx": ["mean"]}
    assert all(0 <= value["largest"] <= value["tolerance"] for outputs in parity.values() for value in outputs.values())
    origin = manifest["provenance"]
    assert origin["evaluation"]["log_likelihood"]["value"] == -123.45
    assert (origin["seed"], origin["data"]["source"], origin["config"]["model"]["latent_dim"]) == (0, "digits", 3)
    assert origin["config"]["data"]["image_size"] is None
    assert {"vae_tf", "tensorflow", "onnx", "python"} <= set(origin["versions"])


@pytest.mark.parametrize("name", REGISTRIES["likelihood"])
@pytest.mark.parametrize("image_shape", [(8, 8, 1), (6, 5, 3)])
def test_only_a_likelihood_that_leaves_the_range_of_values_is_said_to(name: str, image_shape: tuple[int, int, int]):
    likelihood = build_vae(tiny(likelihood=name), image_shape, 17, 10, None).generator.likelihood
    unbounded = name.startswith(("normal", "laplace"))
    assert image_values(likelihood) == (UNBOUNDED if unbounded else BOUNDED_MEANS if name == "beta" else BOUNDED)


def test_every_file_is_in_the_manifest_with_its_checksum(exported: Path):
    manifest = Manifest.read(exported)
    assert manifest.damage(exported) == {}
    assert set(manifest.files) == {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()} - {"manifest.json"}


def test_another_user_can_read_everything(exported: Path):
    for path in (exported.parent.parent, exported.parent, exported, *exported.rglob("*")):
        needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        assert path.stat().st_mode & needed == needed, path


def test_the_preview_is_eight_by_eight_means_of_seed_0(exported: Path, generator: Generator):
    sheet = np.asarray(Image.open(exported / "preview.png"))
    assert sheet.shape == (8 * 58 - 2, 8 * 58 - 2)  # 8x8 pixels are enlarged to 56, and 2 lie between neighbours
    first = sheet[:56:7, :56:7]
    eps = np.random.default_rng(0).standard_normal((64, 3), dtype=np.float32)
    assert np.abs(first - 255 * generator(tf.constant(eps)).mean().numpy()[0, ..., 0]).max() <= 0.51


@pytest.mark.parametrize(
    ("harm", "path", "problem"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"other"), "model.onnx", "changed"),
        (lambda folder: (folder / "preview.png").unlink(), "preview.png", "missing"),
        (lambda folder: (folder / "extra.txt").write_text("new"), "extra.txt", "not in the manifest"),
    ],
)
def test_a_checksum_that_does_not_hold_is_found(copy: Path, harm: Callable[[Path], object], path: str, problem: str):
    harm(copy)
    assert Manifest.read(copy).damage(copy) == {path: problem}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:100], "`manifest.json`: Invalid JSON"),
        (lambda text: "[]", "`manifest.json`: Input should be an object"),
        (lambda text: text.replace('"version": 1', '"version": 0'), "`version`: Input should be greater than 0"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "`schema_version`: Input should be 1"),
        (
            lambda text: text.replace('"size": 3', '"size": 2'),
            "`generator`: Value error, `noise_layout` must sum to the 3 values of noise, got 2",
        ),
        (lambda text: text.replace('"fingerprint.pb"', '"../fingerprint.pb"'), "a file must lie inside the folder"),
        (lambda text: text.replace('"sha256": "', '"sha256": "x'), "`files.MODEL_CARD.md.sha256`: String should match"),
    ],
)
def test_a_manifest_that_does_not_follow_the_schema_is_refused(copy: Path, change: Callable[[str], str], message: str):
    path = copy / "manifest.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ArtifactError, match=message.replace(".", r"\.")):
        Manifest.read(copy)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("saved_model.save", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        ("onnx_graph.convert", ConversionError("onnx: unsupported")),
        ("onnx_graph.convert", KeyboardInterrupt()),
        ("verify", VerificationError("saved_model: it does not load")),
        ("publish", KeyboardInterrupt()),
    ],
)
def test_a_failing_step_leaves_nothing(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException):
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(recipe.onnx_graph, "convert", lambda *args: None)
    monkeypatch.setattr(recipe, "verify", lambda *args: {})
    owner, _, name = step.rpartition(".")
    monkeypatch.setattr(getattr(recipe, owner) if owner else recipe, name, fail)
    with pytest.raises(type(error)):
        export(run_folder, tmp_path / "models", "digits")
    assert not list(tmp_path.iterdir())


def test_a_difference_above_the_tolerance_leaves_nothing(run_folder: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def shifted(generator: Generator) -> dict[str, Probe]:
        return {name: probe._replace(mean=probe.mean + np.float32(2e-4)) for name, probe in probes(generator).items()}

    monkeypatch.setattr(recipe, "probes", shifted)
    monkeypatch.setattr(onnx_graph, "convert", lambda *args: None)
    with pytest.raises(
        VerificationError, match=r"saved_model: `mean` of tensorflow_session is not the source's: .* is 0\.000200\d* at batch 1"
    ):
        export(run_folder, tmp_path / "models", "digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("condition", "columns"), [("classes", 3), ("vector", 8), (None, 8)])
def test_the_preview_has_a_column_for_each_class(
    make_generator: Callable[[Config], Generator], tmp_path: Path, condition: str | None, columns: int
):
    write_preview(make_generator(tiny(condition=condition)), tmp_path / "preview.png")
    assert np.asarray(Image.open(tmp_path / "preview.png")).shape == (8 * 58 - 2, columns * 58 - 2)


def test_weights_of_another_model_are_noticed(copy: Path, generator: Generator):
    def other(probe: Probe) -> Probe:
        return probe._replace(mean=probe.mean[..., ::-1, :])

    with pytest.raises(VerificationError, match="onnx: `mean` of onnx_runtime is not the source's"):
        verify("onnx", copy, ("serving_default",), {name: other(probe) for name, probe in probes(generator).items()})


@pytest.mark.parametrize(
    ("form", "harm", "message"),
    [
        ("saved_model", lambda folder: shutil.rmtree(folder / "variables"), "variables"),
        ("onnx", lambda folder: os.truncate(folder / "model.onnx", 500), "Protobuf parsing failed"),
    ],
)
def test_a_format_that_does_not_load_is_refused_in_one_line(
    copy: Path, generator: Generator, form: str, harm: Callable[[Path], object], message: str
):
    harm(copy)
    with pytest.raises(VerificationError, match=f"{form}: it does not load and run in a fresh process: .*{message}") as caught:
        verify(form, copy, ("serving_default",), probes(generator))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: os.truncate(run / "model.weights.h5", 1000), "`.*model.weights.h5` is damaged"),
        (lambda run: (run / "model.weights.h5").unlink(), "is not complete: model.weights.h5 is missing"),
        (lambda run: (run / "config.yaml").unlink(), "is no run folder: config.yaml is missing"),
        (lambda run: (run / "data.json").write_text("{}"), "`.*data.json` is missing or damaged"),
        (lambda run: (run / "evaluation.json").write_text("{"), "`.*evaluation.json` is damaged .*`python -m vae_tf evaluate"),
        (lambda run: (run / "evaluation.json").write_text("{}"), "`.*evaluation.json` is damaged"),
    ],
)
def test_a_broken_run_is_refused(run_folder: Path, tmp_path: Path, harm: Callable[[Path], object], message: str):
    run = shutil.copytree(run_folder, tmp_path / "run")
    harm(run)
    with pytest.raises(RunError, match=message):
        export(run, tmp_path / "models", "digits")
    assert not (tmp_path / "models").exists()
