"""Claims about `benchmarks/knobs.py`: its rows can be trained, its errors hold images and seeds, and the document is of what was found."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vae_tf.evaluation import PerImage

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def knobs(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import knobs

    yield knobs
    sys.modules.pop("knobs")


def test_every_row_is_a_configuration_of_its_own(knobs):
    rows = knobs.read_rows()
    keys = {knobs.training_key(row, seed) for row in rows.values() for seed in row["seeds"]}
    assert len(keys) == sum(len(row["seeds"]) for row in rows.values())
    assert all(row["against"] in rows for row in rows.values())


def test_a_difference_has_the_error_of_images_and_of_seeds(knobs, tmp_path, monkeypatch):
    """Three seeds of the base, one of the row: the image means differ by 1 on average, and images scatter around that."""
    monkeypatch.setattr(knobs, "FOUND", tmp_path / "found")
    rows = {
        "base": {"seeds": [0, 1, 2], "against": "base", "alike": False, "preset": "digits", "set": [], "turned": []},
        "other": {
            "seeds": [0],
            "against": "base",
            "alike": False,
            "preset": "digits",
            "set": ["training.epochs=1"],
            "turned": ["training.epochs=1"],
        },
    }
    image = np.array([0.0, 10.0, 20.0, 30.0])
    scatter = np.array([1.0, -1.0, 1.0, -1.0])
    for name, seed, values in [("base", 0, image - 1), ("base", 1, image), ("base", 2, image + 1), ("other", 0, image + 1 + scatter)]:
        folder = knobs._folder(tmp_path, name, seed, rows[name])
        PerImage(values, values, values, "same").write(folder / "per_image.npz")
        knobs.findings.write(folder / "training.json", {"log_likelihood": {"value": float(values.mean())}})
    knobs.conclude(rows, "other", tmp_path)
    found = knobs.findings.read(tmp_path / "found" / "other.json")
    by_images, by_seeds = np.std(scatter, ddof=1) / 2, np.sqrt(1 + 1 / 3)
    assert found["difference"]["value"] == pytest.approx(1)
    assert found["errors"] == pytest.approx([by_images, by_seeds])
    assert found["difference"]["standard_error"] == pytest.approx(np.hypot(by_images, by_seeds))


def test_the_document_is_made_of_what_was_found(knobs, tmp_path, monkeypatch):
    """docs/training.md is out of date: run `python benchmarks/knobs.py --document-only`."""
    written = knobs.DOCUMENT.read_text()
    monkeypatch.setattr(knobs, "DOCUMENT", tmp_path / "training.md")
    knobs.write_document(knobs.read_rows())
    assert (tmp_path / "training.md").read_text() == written
    assert (tmp_path / "images" / "knobs.png").stat().st_size > 10_000
