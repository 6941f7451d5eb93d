"""The exported folder: what it says of itself, and that it appears whole or not at all."""

import base64
import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pieces import REGISTRIES, tiny
from PIL import Image

from export import ArtifactError, ConversionError, Manifest, TargetError, VerificationError, export, onnx_graph, recipe
from export.artifact import check_target, next_version, publish, unfinished
from export.card import write_card
from export.image_values import image_values
from export.manifest import BOUNDED, BOUNDED_MEANS, UNBOUNDED, Label
from export.preview import write_preview
from export.summary import summarise
from export.verify import Probe, probes, verify
from vae_tf.build import build as build_vae
from vae_tf.config import Config
from vae_tf.errors import RunError
from vae_tf.generator import Generator, noise


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def with_classes(exported: Path, names: tuple[str, ...] | None) -> Manifest:
    manifest = Manifest.read(exported)
    label = Label(kind="class", size=3, names=names)
    return manifest.model_copy(update={"generator": manifest.generator.model_copy(update={"label": label})})


def test_the_folder_holds_what_was_promised(exported: Path):
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    variables = {"variables/variables.index", "variables/variables.data-00000-of-00001"}
    described = {"manifest.json", "MODEL_CARD.md", "preview.png"}
    assert files == {"saved_model.pb", "fingerprint.pb", "model.onnx", "assets.extra/tf_serving_warmup_requests"} | variables | described
    assert everything(exported.parent.parent)[:2] == ["digits", "digits/1"]


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


def test_the_card_tells_what_the_manifest_holds(exported: Path):
    card = (exported / "MODEL_CARD.md").read_text()
    for text in ("# digits, version 1", "-123.45 +- 0.67 nats", "importance sampling", "8 x 8 x 1", "| onnx | `mean` |", "`model.onnx`"):
        assert text in card
    assert "trained on values in [0, 1], and its means and draws lie there too" in card
    assert "the same images, up to rounding" in card
    assert "{{" not in card
    assert "{%" not in card


def test_the_card_and_the_screen_tell_each_part_with_its_options(exported: Path, tmp_path: Path):
    manifest = Manifest.read(exported)
    top = {"name": "vampprior", "components": 500}
    model = manifest.provenance["config"]["model"] | {
        "latent_dim": [40, 20],
        "prior": {"name": "top-down", "hidden": [300, 300], "top": top},
        "condition": {"name": "classes"},
    }
    config = manifest.provenance["config"] | {"model": model, "objective": {"name": "elbo", "warmup_epochs": 5}}
    manifest = manifest.model_copy(update={"provenance": manifest.provenance | {"config": config}})
    write_card(manifest, tmp_path)
    for told in ((tmp_path / "MODEL_CARD.md").read_text(), summarise(manifest, {})):
        for text in (
            "latent dimensions: 2 layers, top first: 40 + 20\n",
            "condition: classes\n",
            "encoder: mlp (hidden [16])\n",
            "decoder: mlp (hidden [16])\n",
            "posterior: diagonal-normal\n",
            "likelihood: binomial\n",
            "prior: top-down (hidden [300, 300], top vampprior (components 500))\n",
            "objective: elbo (warmup_epochs 5)\n",
        ):
            assert text in told


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("0", "1", "2"), "a class from 0 to 2"),
        (("1", "2", "3"), "a class from 0 to 2: 0 1, 1 2, 2 3"),
        (("cat", "dog", "2"), "a class from 0 to 2: 0 cat, 1 dog, 2 2"),
        (None, "a class from 0 to 2"),
    ],
)
def test_names_of_classes_are_told_where_they_say_more_than_numbers(
    exported: Path, tmp_path: Path, names: tuple[str, ...] | None, told: str
):
    manifest = with_classes(exported, names)
    write_card(manifest, tmp_path)
    assert f"The label is {told}.\n" in (tmp_path / "MODEL_CARD.md").read_text()
    assert f"  label         {told}\n" in summarise(manifest, {})


def test_a_likelihood_is_told_with_what_it_is_given(exported: Path, tmp_path: Path):
    for manifest, card, screen in (
        (Manifest.read(exported), "Test log-likelihood, log p(x): -123.45 +-", "  log p(x)      -123.45 +-"),
        (
            with_classes(exported, None),
            "Test log-likelihood, log p(x | y) of an image x given its label y: -123.45 +-",
            "  log p(x | y)  -123.45 +-",
        ),
    ):
        write_card(manifest, tmp_path)
        assert card in (tmp_path / "MODEL_CARD.md").read_text()
        assert screen in summarise(manifest, {})


def test_the_cards_python_runs(exported: Path, monkeypatch: pytest.MonkeyPatch):
    code = (exported / "MODEL_CARD.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(exported)
    names: dict = {}
    exec(code, names)
    assert names["mean"].shape == (64, 8, 8, 1)


def test_the_cards_shell_sends_noise_and_writes_a_png(exported: Path, tmp_path: Path):
    command = (exported / "MODEL_CARD.md").read_text().split("```sh\n")[2].split("```")[0]
    (tmp_path / "python").symlink_to(sys.executable)
    answer = json.dumps({"predictions": [{"b64": base64.b64encode(b"a PNG file").decode()}]})
    (tmp_path / "curl").write_text(f"#!/bin/sh\necho \"$@\" > asked.txt\ncat > sent.json\necho '{answer}'\n")
    (tmp_path / "curl").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True)
    assert (tmp_path / "asked.txt").read_text() == "-s -d @- http://localhost:8501/v1/models/digits:predict\n"
    sent = json.loads((tmp_path / "sent.json").read_bytes())
    assert sent == {"signature_name": "png", "instances": noise(1, 3, seed=0).tolist()}
    assert (tmp_path / "image.png").read_bytes() == b"a PNG file"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("folder:/home/ada/pictures/cats", "`folder:cats`"),
        ("folder:/home/ada/cats/", "`folder:cats`"),
        ("npz:/home/ada/cats.npz", "`npz:cats.npz`"),
        ("tfds:groups/mnist", "`tfds:groups/mnist`"),
    ],
)
def test_the_card_keeps_the_place_of_the_images_to_itself(exported: Path, tmp_path: Path, source: str, shown: str):
    manifest = Manifest.read(exported)
    manifest.provenance["data"]["source"] = manifest.provenance["config"]["data"]["source"] = source
    write_card(manifest, tmp_path)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert card.count(shown) == 2
    assert "/home" not in card
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path).provenance["config"]["data"]["source"] == source


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


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "a\\b", "a..b", ".hidden", "-x", "a b", "na\u00efve", "a\n"])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(TargetError, match="`name` must start with a letter or digit"):
        check_target(tmp_path, name, None)
    assert not list(tmp_path.iterdir())


def test_a_version_that_exists_is_refused_and_untouched(run_folder: Path, exported: Path):
    before = (exported / "manifest.json").read_bytes()
    with pytest.raises(TargetError, match="`version` 1 of digits exists already, and a version never changes"):
        export(run_folder, exported.parent.parent, "digits", version=1)
    assert (exported / "manifest.json").read_bytes() == before


def test_a_file_in_the_way_is_refused(tmp_path: Path):
    (tmp_path / "digits").write_text("not a folder")
    with pytest.raises(TargetError, match="is no folder"):
        check_target(tmp_path, "digits", None)


def put(folder: Path, number: int) -> None:
    (folder / "version.txt").write_text(str(number))


def test_the_next_version_follows_the_largest(tmp_path: Path):
    for name in ("2", "10", "notes", ".tmp-123"):
        (tmp_path / name).mkdir()
    with unfinished(tmp_path) as temporary:
        assert publish(temporary, tmp_path, None, put) == tmp_path / "11"
    assert everything(tmp_path) == [".tmp-123", "10", "11", "11/version.txt", "2", "notes"]


@pytest.mark.parametrize("largest", [2**63 - 1, 10**20])
def test_no_version_follows_the_largest_that_can_be_served(tmp_path: Path, largest: int):
    (tmp_path / str(largest)).mkdir()
    with pytest.raises(TargetError, match=f"`version` must lie between 1 and {2**63 - 1}, and {largest} exists"):
        next_version(tmp_path)


def test_exports_at_once_get_numbers_of_their_own(tmp_path: Path):
    def one(_: int) -> Path:
        with unfinished(tmp_path / "digits") as temporary:
            return publish(temporary, tmp_path / "digits", None, put)

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(one, range(8)))
    assert sorted(int(folder.name) for folder in folders) == list(range(1, 9))
    assert all((folder / "version.txt").read_text() == folder.name for folder in folders)


def test_a_number_taken_in_the_meantime_is_not_overwritten(tmp_path: Path):
    def slow(folder: Path, number: int) -> None:
        put(folder, number)
        (tmp_path / "5").mkdir()
        (tmp_path / "5" / "first.txt").write_text("was first")

    with pytest.raises(TargetError, match=r"`version` 5 of .* exists already"), unfinished(tmp_path) as temporary:
        publish(temporary, tmp_path, 5, slow)
    assert everything(tmp_path) == ["5", "5/first.txt"]


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
