"""The model card, and the screen of `inspect`: what they tell of a folder."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from export import Manifest
from export.card import write_card
from export.manifest import Label
from export.summary import summarise
from vae_tf.generator import noise


def with_classes(exported: Path, names: tuple[str, ...] | None) -> Manifest:
    manifest = Manifest.read(exported)
    label = Label(kind="class", size=3, names=names)
    return manifest.model_copy(update={"generator": manifest.generator.model_copy(update={"label": label})})


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
