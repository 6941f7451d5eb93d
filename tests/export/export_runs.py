"""Tiny run folders, made without training data."""

from collections.abc import Callable
from pathlib import Path

import tf_keras as keras

from vae_tf import config as configs
from vae_tf.build import build
from vae_tf.config import Config
from vae_tf.model import VAE
from vae_tf.run import CONFIG, DATA, WEIGHTS, DataSummary

LATENT_DIM, IMAGE_SHAPE, LEVELS = 3, (8, 8, 1), 17
LABEL_NAMES = ("zero", "one", "two")
LABEL_SIZE = len(LABEL_NAMES)


def small(likelihood: str = "binomial", network: str = "mlp") -> Config:
    body = {"name": "mlp", "hidden": [16]} if network == "mlp" else {"name": "conv", "filters": [4, 8], "hidden": 16}
    model = {"latent_dim": LATENT_DIM, "encoder": body, "decoder": body, "likelihood": likelihood}
    return Config.from_dict({"data": {"source": "digits"}, "model": model, "training": {"epochs": 1}})


def make_run(folder: Path, config: Config, train: Callable[[VAE], object] = lambda vae: None) -> Path:
    """Write a complete run folder, of weights as they are before training, or after `train`."""
    keras.utils.set_random_seed(0)
    conditional = config.model.condition is not None
    names = LABEL_NAMES if conditional and config.model.condition["name"] == "classes" else None
    summary = DataSummary(
        "digits", IMAGE_SHAPE, LEVELS, 1000, 100, 100, "f" * 64, label_size=LABEL_SIZE if conditional else None, label_names=names
    )
    folder.mkdir()
    configs.write(config, folder / CONFIG)
    summary.write(folder / DATA)
    vae = build(config, IMAGE_SHAPE, LEVELS, 10, summary.label_size)
    train(vae)
    vae.save_weights(folder / WEIGHTS)
    return folder
