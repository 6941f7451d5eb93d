"""One tiny run, exported once."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tf_keras as keras

from export import export
from vae_tf import config as configs
from vae_tf.build import build
from vae_tf.config import Config
from vae_tf.generator import Generator
from vae_tf.run import CONFIG, DATA, EVALUATION, WEIGHTS, DataSummary, load

LATENT_DIM, IMAGE_SHAPE = 3, (8, 8, 1)


def make_run(folder: Path, likelihood: str = "binomial", network: str = "mlp") -> Path:
    """Write a complete run folder, of weights as they are before training."""
    keras.utils.set_random_seed(0)
    small = {"name": "mlp", "hidden": [16]} if network == "mlp" else {"name": "conv", "filters": [4, 8], "hidden": 16}
    model = {"latent_dim": LATENT_DIM, "encoder": small, "decoder": small, "likelihood": likelihood}
    config = Config.from_dict({"data": {"source": "digits"}, "model": model, "training": {"epochs": 1}})
    summary = DataSummary("digits", IMAGE_SHAPE, 17, train=1000, validation=100, test=100, fingerprint="f" * 64)
    folder.mkdir()
    configs.write(config, folder / CONFIG)
    summary.write(folder / DATA)
    build(config, IMAGE_SHAPE, 17, 10).save_weights(folder / WEIGHTS)
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "digits")
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
def make_generator(tmp_path: Path) -> Callable[[str, str], Generator]:
    return lambda likelihood, network: load(make_run(tmp_path / "run", likelihood, network)).vae.generator
