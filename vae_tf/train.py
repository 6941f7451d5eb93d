"""Training: fit a configuration into a run folder, epoch by epoch, so that it can be stopped and resumed exactly."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf import config as configs
from vae_tf import data
from vae_tf.build import build
from vae_tf.checkpoints import Every, Keeper
from vae_tf.config import Config
from vae_tf.data import Images
from vae_tf.errors import DataError, InterruptedRun, RunError
from vae_tf.files import locked, replacing
from vae_tf.guards import CollapseGuard, FiniteGuard
from vae_tf.history import History
from vae_tf.interruption import Interruption, Signals
from vae_tf.model import VAE
from vae_tf.patience import EarlyStop, Patience
from vae_tf.progress import Curves, Narrator
from vae_tf.run import CHECKPOINTS, CONFIG, DATA, HISTORY, WEIGHTS, DataSummary, Run, load

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
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float | None = None,
) -> Run:
    """Train a configuration in a run folder and return the complete run.

    The run owns the process's random state: it seeds the initial weights with `keras.utils.set_random_seed(config.seed)`.

    Args:
        config: the complete configuration.
        folder: the run folder; created.
        data_dir: where `tensorflow_datasets` keeps prepared sets; None for its default.
        resume: continue from the last checkpoint in `folder`; from the beginning when there is none.
        verbose: 1 a bar for each epoch, 2 some twenty lines in all, 0 silent.
        checkpoint_steps: a checkpoint within epochs after so many optimizer steps, at least 1. No number depends on it.
        checkpoint_minutes: or after so many minutes, above 0; 10 where neither is given. The end of an epoch always writes one.

    Raises:
        ConfigError: the configuration can not work.
        DataError: the data are missing, unreadable or out of range.
        RunError: `folder` holds another run, is damaged or in use, the disk is full, or the training diverged.
        InterruptedRun: the user pressed Ctrl-C; as PreemptedRun, the process was sent SIGTERM.
    """
    folder, every = Path(folder), Every(checkpoint_steps, checkpoint_minutes)
    _check_folder(folder, config, resume)
    if resume and (folder / WEIGHTS).exists():
        return load(folder)
    try:
        images = data.load(config.data, config.seed, data_dir)
        steps = data.steps_per_epoch(images.train, config.training.batch_size)
        keras.utils.set_random_seed(config.seed)
        vae = build(config, images.image_shape, data.seen_levels(images, config.data), steps, images.label_size)
        _check_images(vae, images, config)
        with locked(folder), Signals() as signals:
            return _fit(vae, images, config, folder, steps, every, signals, resume, verbose)
    except BlockingIOError:
        raise RunError(f"`{folder}` is being trained by another process; wait for it, or choose another for --run.") from None
    except KeyboardInterrupt:
        raise InterruptedRun("stopped by the user; what was complete is kept: go on with the same command and --resume.") from None


def _fit(
    vae: VAE, images: Images, config: Config, folder: Path, steps: int, every: Every, signals: Signals, resume: bool, verbose: int
) -> Run:
    _check_folder(folder, config, resume)  # again, now that nobody else can change it
    summary = DataSummary.of(images, config)
    if (folder / DATA).exists():
        DataSummary.read(folder / DATA).require(summary)
    with replacing(folder / CONFIG) as path:
        configs.write(config, path)
    summary.write(folder / DATA)

    training, labels = config.training, vae.condition is not None
    prepared: dict[str, Any] = {"seed": config.seed, "binarize": config.data.binarize}
    validation = data.fixed_images(images.validation, images.levels, **prepared)
    guards = FiniteGuard(training.non_finite), CollapseGuard(validation, images.validation.y if labels else None)
    history, patience = History(folder / HISTORY), Patience.of(training, vae.objective, steps)
    keeper = Keeper(vae, folder / CHECKPOINTS, history, every, guards, best=lambda: patience.best(history.rows))
    begun = keeper.restore() if resume else keeper.now
    vae.fit(
        data.training_batches(
            images.train,
            images.levels,
            batch_size=training.batch_size,
            labels=labels,
            corrupt=config.data.corrupt,
            corruption=config.data.corruption,
            first_epoch=begun.epochs,
            first_step=begun.step,
            **prepared,
        ),
        epochs=begun.epochs if patience.exhausted(history.rows) else training.epochs,
        initial_epoch=begun.epochs,
        steps_per_epoch=steps,
        validation_data=tf.data.Dataset.from_tensor_slices((validation, images.validation.y) if labels else validation).batch(
            VALIDATION_BATCH
        ),
        callbacks=[
            *guards,
            keeper,
            EarlyStop(patience, keeper),
            Curves(folder / "tensorboard"),
            *([Narrator(training.epochs)] if verbose == 2 else []),
            Interruption(signals, keeper),
        ],
        verbose=1 if verbose == 1 else 0,
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
    old, new = _flat(stored.to_dict()), _flat(given.to_dict())
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
