"""One tiny run, exported once."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from export_runs import make_run, small

from export import export
from vae_tf.config import Config
from vae_tf.generator import Generator
from vae_tf.run import EVALUATION, load


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "digits", small())
    estimate = {"value": -123.45, "standard_error": 0.67, "images": 100, "unit": "nats", "method": "importance sampling"}
    (folder / EVALUATION).write_text(json.dumps({"log_likelihood": estimate}))
    return folder


@pytest.fixture(scope="session")
def generator(run_folder: Path) -> Generator:
    return load(run_folder).vae.generator


@pytest.fixture(scope="session")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MODELS/digits/1, exported by a user who lets nobody read new files."""
    before = os.umask(0o077)
    try:
        return export(run_folder, tmp_path_factory.mktemp("export") / "models", "digits")
    finally:
        os.umask(before)


@pytest.fixture
def make_generator(tmp_path: Path) -> Callable[[Config], Generator]:
    return lambda config: load(make_run(tmp_path / "run", config)).vae.generator
