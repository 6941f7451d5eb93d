"""Training: fit a configuration into a run folder, epoch by epoch, so that it can be stopped and resumed exactly."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf import config as configs
from vae_tf import data
from vae_tf.announce import first_line
from vae_tf.build import build
from vae_tf.checkpoints import Keeper
from vae_tf.config import Config
from vae_tf.data import Images
from vae_tf.errors import DataError, InterruptedRun, RunError
from vae_tf.files import locked, replacing
from vae_tf.guards import CollapseGuard, FiniteGuard
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.progress import narration
from vae_tf.run import CHECKPOINTS, CONFIG, DATA, HISTORY, WEIGHTS, DataSummary, Run, load
from vae_tf.tracking import Tracking, Training

__all__ = ["train"]

VALIDATION_BATCH = 500
_CHUNK = 5000  # images checked at once


def train(
    config: Config,
    folder: str | Path,
    *,
    data_dir: str | None = None,
    resume: bool = False,
    verbose: int = 2,
    trackers: Sequence[str] = ("tensorboard",),
) -> Run:
    """Train a configuration in a run folder and return the complete run.

    The run owns the process's random state: it seeds the initial weights with `keras.utils.set_random_seed(config.seed)`.

    Args:
        config: the complete configuration.
        folder: the run folder; created.
        data_dir: where `tensorflow_datasets` keeps prepared sets; None for its default.
        resume: continue from the last complete epoch in `folder`; from the beginning when there is none.
        verbose: 1 a bar, 2 some twenty lines in all, 0 silent.
        trackers: names of `tracking.TRACKERS`, which keep what the training shows; they change no number.

    Raises:
        ConfigError: the configuration can not work, or a tracker is unknown or not installed.
        DataError: the data are missing, unreadable or out of range.
        RunError: `folder` holds another run, is damaged or in use, the disk is full, or the training diverged.
        InterruptedRun: the user pressed Ctrl-C.
    """
    folder = Path(folder)
    _check_folder(folder, config, resume)
    tracking = Tracking(trackers)
    if resume and (folder / WEIGHTS).exists():
        return load(folder)
    try:
        images = data.load(config.data, config.seed, data_dir)
        steps = data.steps_per_epoch(images.train, config.training.batch_size)
        keras.utils.set_random_seed(config.seed)
        vae = build(config, images.image_shape, data.seen_levels(images, config.data), steps, images.label_size)
        _check_images(vae, images, config)
        with locked(folder), tracking, narration(verbose) as tellers:
            return _fit(vae, images, config, folder, steps, resume, tracking, tellers)
    except BlockingIOError:
        raise RunError(f"`{folder}` is being trained by another process; wait for it, or choose another for --run.") from None
    except KeyboardInterrupt:
        raise InterruptedRun("stopped by the user; what was complete is kept: go on with the same command and --resume.") from None


def _fit(
    vae: VAE,
    images: Images,
    config: Config,
    folder: Path,
    steps: int,
    resume: bool,
    tracking: Tracking,
    tellers: Sequence[keras.callbacks.Callback],
) -> Run:
    _check_folder(folder, config, resume)  # again, now that nobody else can change it
    summary = DataSummary.of(images, config)
    if (folder / DATA).exists():
        DataSummary.read(folder / DATA).require(summary)
    with replacing(folder / CONFIG) as path:
        configs.write(config, path)
    summary.write(folder / DATA)

    training, labels = config.training, vae.condition is not None
    history = History(folder / HISTORY)
    keeper = Keeper(vae, folder / CHECKPOINTS, history)
    first_epoch = keeper.restore() if resume else 0
    rollbacks = sum(int(row.get("rollbacks", 0)) for row in history.rows)
    prepared: dict[str, Any] = {"seed": config.seed, "binarize": config.data.binarize}
    validation = data.fixed_images(images.validation, images.levels, **prepared)
    if tellers:
        precision = keras.mixed_precision.global_policy().name
        execution = [precision, "XLA" if training.jit_compile else "no XLA"]
        print(first_line(folder, config, vae, images, steps=steps, first_epoch=first_epoch, execution=execution), flush=True)
    vae.fit(
        data.training_batches(
            images.train,
            images.levels,
            batch_size=training.batch_size,
            labels=labels,
            corrupt=config.data.corrupt,
            corruption=config.data.corruption,
            first_epoch=first_epoch,
            **prepared,
        ),
        epochs=training.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        validation_data=tf.data.Dataset.from_tensor_slices((validation, images.validation.y) if labels else validation).batch(
            VALIDATION_BATCH
        ),
        callbacks=[
            FiniteGuard(training.non_finite, rollbacks=rollbacks),
            CollapseGuard(validation, images.validation.y if labels else None),
            tracking.follow(Training(folder, config, vae, validation, images.validation.y, images.label_names, history.rows[:])),
            keeper,
            *tellers,
        ],
        verbose=0,
    )
    _save_weights(vae, folder / WEIGHTS)
    return Run(folder, config, summary, vae)


def _save_weights(vae: VAE, target: Path) -> None:
    """Save the weights, where there is room: a full disk in the middle of an HDF5 file can take the process with it."""
    needed = 2 * sum(weight.nbytes for weight in vae.get_weights()) + 2**20
    if shutil.disk_usage(target.parent).free < needed:
        raise RunError(f"`{target}` needs {needed / 1e6:.0f} MB of disk, and there is less; make room and go on with --resume.")
    with replacing(target) as path:
        vae.save_weights(path)


def _check_images(vae: VAE, images: Images, config: Config) -> None:
    """Refuse now what would be refused later: images outside the support, labels that are none, or too few to give a standard error."""
    if len(images.test) < 2:
        raise DataError(f"`{images.source}` leaves {len(images.test)} test image(s), and at least 2 are needed; raise `data.test`.")
    for name, split in (("training", images.train), ("validation", images.validation), ("test", images.test)):
        if vae.condition is not None:
            if split.y is None:
                raise DataError(f"`model.condition` needs a label for each image, and the {name} images of {images.source} have none.")
            vae.condition.check(split.y)
        for start in range(0, len(split), _CHUNK):
            part = split.take(np.arange(start, min(start + _CHUNK, len(split))))
            vae.likelihood.check(data.fixed_images(part, images.levels, seed=config.seed, binarize=config.data.binarize))


def _check_folder(folder: Path, config: Config, resume: bool) -> None:
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return  # hidden files are what a killed process left
    if not (folder / CONFIG).exists():
        raise RunError(f"`{folder}` exists and is no run folder; choose another for --run, nothing was changed.")
    if not resume:
        raise RunError(f"`{folder}` holds a run already; choose another for --run, or continue it with --resume.")
    stored = configs.read(folder / CONFIG)
    # A run that was stopped may go on with rollbacks: up to there, none would have been made.
    stored = replace(stored, training=replace(stored.training, non_finite=config.training.non_finite))
    if stored != config:
        raise RunError(f"`{folder}` holds a run of another configuration ({_difference(stored, config)}); choose another for --run.")


def _difference(stored: Config, given: Config) -> str:
    old, new = configs.flat(stored.to_dict()), configs.flat(given.to_dict())
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"
