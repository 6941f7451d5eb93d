"""Tiny run folders, made without training data."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
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


def make_run(
    folder: Path, config: Config, image_shape: tuple[int, int, int] = IMAGE_SHAPE, train: Callable[[VAE], object] = lambda vae: None
) -> Path:
    """Write a complete run folder, of weights as they are before training, or after `train`."""
    keras.utils.set_random_seed(0)
    conditional = config.model.condition is not None
    names = LABEL_NAMES if conditional and config.model.condition["name"] == "classes" else None
    summary = DataSummary(
        "digits", image_shape, LEVELS, 1000, 100, 100, "f" * 64, label_size=LABEL_SIZE if conditional else None, label_names=names
    )
    folder.mkdir()
    configs.write(config, folder / CONFIG)
    summary.write(folder / DATA)
    vae = build(config, image_shape, LEVELS, 10, summary.label_size)
    train(vae)
    vae.save_weights(folder / WEIGHTS)
    return folder


def run_forked(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Do what `export.process.run_module` does, in a process that has imported TensorFlow already and nothing of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "tf2onnx", "onnxruntime"])
    with tempfile.NamedTemporaryFile("r") as stdout, tempfile.NamedTemporaryFile("r") as stderr:
        process = context.Process(target=_run, args=(module, [str(argument) for argument in arguments], stdout.name, stderr.name))
        process.start()
        process.join()
        return subprocess.CompletedProcess([module, *arguments], process.exitcode or 0, stdout.read(), stderr.read())


def _run(module: str, arguments: list[str], stdout: str, stderr: str) -> None:
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
