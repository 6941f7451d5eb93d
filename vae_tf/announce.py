"""The first and the last line of a training: what will run, and what came of it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf import config as configs
from vae_tf.checkpoints import Position
from vae_tf.cluster import Cluster
from vae_tf.config import Config
from vae_tf.data import Images
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.patience import best_epoch
from vae_tf.processors import THREADS, available
from vae_tf.progress import duration
from vae_tf.run import HISTORY, Run

__all__ = ["Opening", "first_line", "last_line"]


@final
class Opening(keras.callbacks.Callback):
    """Says what will run, when `fit` has chosen how.

    Args:
        line: returns what to say.
    """

    def __init__(self, line: Callable[[], str]):
        super().__init__()
        self.line = line

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Say it."""
        print(self.line(), flush=True)


def first_line(folder: Path, config: Config, vae: VAE, images: Images, cluster: Cluster, *, steps: int, begun: Position) -> str:
    """Return what will run: model, parameters, data, device, precision, steps.

    Args:
        folder: the run folder.
        config: the complete configuration.
        vae: the model, in its `fit`.
        images: the data.
        cluster: who trains.
        steps: in an epoch.
        begun: how far it is already.
    """
    model, epochs = config.model, config.training.epochs
    height, width, channels = images.image_shape
    latents = "+".join(str(size) for size in model.latent_dims)
    named = {"posterior": model.posterior, "prior": model.prior, "likelihood": model.likelihood, "condition": model.condition}
    pieces = [f"{spec['name']} {axis}" for axis, spec in named.items() if spec]
    networks = " and ".join(dict.fromkeys((model.encoder["name"], model.decoder["name"])))
    whole = f"{epochs} epoch{'s' * (epochs > 1)}"
    first = f"step {begun.step + 1} of epoch {begun.epochs + 1}" if begun.step else f"epoch {begun.epochs + 1}"
    left = f"nothing left of {whole}" if begun.epochs >= epochs else f"from {first} on, {whole}" if begun > Position(0) else whole
    execution = replace(vae.execution, steps_per_execution=min(vae.execution.steps_per_execution, steps))
    parameters = _count(sum(weight.shape.num_elements() for weight in vae.trainable_variables))
    told = [
        f"{parameters} parameters ({networks}, {latents} latents, {', '.join(pieces)}, {config.objective['name']})",
        f"{configs.without_folders(images.source)} {len(images.train):,} + {len(images.validation):,} validation images of "
        f"{height} x {width}{'' if channels == 1 else f' x {channels}'} {'in memory' if images.in_memory else 'read from disk'}",
        _device(),
        *([str(cluster)] if cluster.replicas > 1 else []),
        str(execution),
        left,
    ]
    verb = "resuming" if begun > Position(0) else "training"
    return f"{verb} {folder}: {', '.join(told)} of {steps:,} steps of {config.training.batch_size}"


def last_line(run: Run, following: str) -> str:
    """Return what came of a training, and the command that comes next.

    Args:
        run: the complete run.
        following: the command.
    """
    rows = History(run.folder / HISTORY).rows
    best = best_epoch(run, rows)
    epoch = f"epoch {best}, the best" if best else "the last"
    whole = f"{len(rows)} epoch{'s' * (len(rows) > 1)}"
    found = f"validation elbo {rows[(best or 0) - 1]['val_elbo']:.2f} nats in {epoch} of {whole}, " if rows else ""
    took = duration(sum(row["seconds"] for row in rows))
    return f"trained {run.folder}: {found}{took} in all. Next: {following}"


def _count(number: int) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _device() -> str:
    accelerators = [device for device in tf.config.list_logical_devices() if device.device_type not in ("CPU", "XLA_CPU")]
    if accelerators:
        return f"{len(accelerators)} {accelerators[0].device_type}"
    threads = tf.config.threading.get_intra_op_parallelism_threads() or int(os.environ.get(THREADS) or 0) or available()
    return f"CPU {threads} thread{'s' * (threads > 1)}"
