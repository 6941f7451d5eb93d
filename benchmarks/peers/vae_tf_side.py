"""This project as it comes, with no setting for speed: `vae.fit` from Python, and `python -m vae_tf train`."""

import csv
import os
import re
import resource
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from peers.harness import Clock, Task, task

VARIANTS = ("fit", "fit-float32", "from-disk", "command-line")
_HELD_OUT = 128  # images for validation, and for test, of the command line


def main() -> None:
    """Train and print."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    given = task(VARIANTS)
    command_line(given) if given.variant == "command-line" else fit(given)


def fit(given: Task) -> None:
    """Train by `vae.fit`."""
    import tensorflow as tf
    import tf_keras as keras

    class Times(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock.reached(batch + 1)

        def on_epoch_end(self, epoch, logs=None):
            clock.epoch()
            losses.append(float(logs["loss"]))

    x = None if given.variant == "from-disk" else given.load()
    keras.utils.set_random_seed(given.seed)
    clock, losses = Clock(), list[float]()
    vae = model(given.model)
    vae.compile(keras.optimizers.Adam(1e-3), precision="float32" if given.variant == "fit-float32" else None)
    batches, steps = from_disk(given) if x is None else in_memory(given, x)
    vae.fit(batches, epochs=given.epochs, steps_per_epoch=steps, verbose=0, callbacks=[Times()])
    clock.report(
        losses=losses,
        parameters=sum(int(np.prod(weight.shape)) for weight in vae.trainable_weights),
        precision=vae.execution.precision,
        version=f"vae_tf {metadata.version('vae_tf')}, TensorFlow {tf.__version__}",
    )


def in_memory(given: Task, x: np.ndarray) -> tuple[Any, int]:
    """Return batches of images in memory, and how many make an epoch."""
    from vae_tf.images import Split

    return batches(given, Split(x))


def from_disk(given: Task) -> tuple[Any, int]:
    """Return batches of images that are read from disk while the training goes on, and how many make an epoch."""
    from vae_tf.images import Split
    from vae_tf.rows import Mapped, Rows

    rows = Rows([Mapped.open(given.images)])
    return batches(given, Split(rows[: len(rows) // given.work.batch * given.work.batch]))


def batches(given: Task, split: Any) -> tuple[Any, int]:
    """Return batches of a split, and how many make an epoch."""
    from vae_tf.pipeline import training_batches

    batch, binarize = given.work.batch, "dynamic" if given.binary else "none"
    return training_batches(split, 256, batch_size=batch, seed=given.seed, binarize=binarize), len(split) // batch


def model(name: str) -> Any:
    """Return an untrained model."""
    import vae_tf as v

    if name == "mlp":
        shape, hidden = (28, 28, 1), {"hidden": (200, 200), "activation": "tanh"}
        return v.VAE(v.MLPEncoder(**hidden), v.MLPDecoder(**hidden), v.DiagonalNormal(50), v.Bernoulli(shape), v.StandardNormal(50))
    if name == "conv":
        shape = (28, 28, 1)
        return v.VAE(v.ConvEncoder(), v.ConvDecoder(shape), v.DiagonalNormal(40), v.Bernoulli(shape), v.StandardNormal(40))
    shape = (32, 32, 3)
    return v.VAE(v.ResidualEncoder(), v.ResidualDecoder(shape), v.DiagonalNormal(64), v.Normal(shape), v.StandardNormal(64))


def configuration(given: Task, source: str) -> dict[str, Any]:
    """Return the same model as plain values."""
    body: dict[str, Any] = {"name": given.model}
    if given.model == "mlp":
        body |= {"hidden": [200, 200], "activation": "tanh"}
    likelihood = "bernoulli" if given.binary else {"name": "normal", "scale": 0.1}
    return {
        "data": {"source": source, "binarize": "dynamic" if given.binary else "none"},
        "model": {"latent_dim": given.work.latent_dim, "encoder": body, "decoder": body, "likelihood": likelihood},
        "training": {"epochs": given.epochs, "batch_size": given.work.batch, "learning_rate": 1e-3, "anneal": 0},
        "seed": given.seed,
    }


def command_line(given: Task) -> None:
    """Train by the command, timed by the lines that it prints: its start, validation and checkpoints count."""
    x = given.load()
    with tempfile.TemporaryDirectory() as folder:
        images, config, run, said = (Path(folder) / name for name in ("images.npz", "config.yaml", "run", "stderr"))
        np.savez(images, x_train=x, x_validation=x[:_HELD_OUT], x_test=x[:_HELD_OUT])
        config.write_text(yaml.safe_dump(configuration(given, f"npz:{images}")))
        clock, epochs, precision = Clock(), 0, "float32"
        command = [sys.executable, "-m", "vae_tf", "train", str(config), "--run", str(run)]
        with said.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if announced := re.search(r"\b(\w+), (?:no )?XLA, ", line):
                    precision = announced[1]
                if re.match(r"epoch \d+/\d+ ", line):
                    clock.reached(len(x) // given.work.batch)
                    clock.epoch()
                    epochs += 1
        if process.returncode or epochs != given.epochs:
            raise SystemExit(f"ended with {process.returncode} after {epochs} epochs: {said.read_text().strip()[-300:]}")
        with (run / "history.csv").open(newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
    clock.report(
        losses=losses,
        precision=precision,
        version=f"vae_tf {metadata.version('vae_tf')}, TensorFlow {metadata.version('tensorflow')}",
        peak_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    )


if __name__ == "__main__":
    main()
