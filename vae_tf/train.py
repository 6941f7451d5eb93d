"""Training: fit a configuration into a run folder, epoch by epoch, so that it can be stopped and resumed exactly."""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from vae_tf import config as configs
from vae_tf import data, pipeline
from vae_tf.admission import check_folder, check_images, identity
from vae_tf.announce import Opening, first_line
from vae_tf.build import build
from vae_tf.checkpoints import Every, Keeper, Position
from vae_tf.cluster import Cluster
from vae_tf.config import Config
from vae_tf.data import Images
from vae_tf.deputy import stopping_at_once
from vae_tf.errors import InterruptedRun, LostWorker, RunError, reason
from vae_tf.files import replacing, tidy
from vae_tf.guards import CollapseGuard, FiniteGuard
from vae_tf.history import History
from vae_tf.interruption import Interruption, Signals
from vae_tf.model import VAE
from vae_tf.patience import EarlyStop, Patience
from vae_tf.progress import narration
from vae_tf.replicas import RunningMetrics
from vae_tf.run import CHECKPOINTS, CONFIG, DATA, HISTORY, WEIGHTS, DataSummary, Run, load
from vae_tf.tracking import Tracking, Training
from vae_tf.workplace import program, workplace

__all__ = ["train"]

_log = logging.getLogger("vae_tf")

VALIDATION_BATCH = 480  # has equal parts for most numbers of devices
_PATIENCE_S = 30.0  # for a step of several processes, after a signal


def train(
    config: Config,
    folder: str | Path,
    *,
    data_dir: str | None = None,
    resume: bool = False,
    verbose: int = 2,
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float | None = None,
    trackers: Sequence[str] = ("tensorboard",),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    cluster: Cluster | None = None,
) -> Run:
    """Train a configuration in a run folder and return the complete run.

    The run owns the process's random state: it seeds the initial weights with `keras.utils.set_random_seed(config.seed)`.

    Args:
        config: the complete configuration.
        folder: the run folder; created. Several workers must all see it; the chief writes it.
        data_dir: where `tensorflow_datasets` keeps prepared sets; None for its default.
        resume: continue from the last checkpoint in `folder`; from the beginning when there is none.
        verbose: 1 a bar, 2 some twenty lines in all, 0 silent.
        checkpoint_steps: a checkpoint within epochs after so many optimizer steps, at least 1. No number depends on it.
        checkpoint_minutes: or after so many minutes, above 0; 10 where neither is given. The end of an epoch always writes one.
        trackers: names of `tracking.TRACKERS`, which keep what the training shows; they change no number.
        callbacks: Keras's, called after those of the run: at the end of an epoch its history and checkpoint are written.
        cluster: who trains; None for this process alone. More workers and devices change numbers by rounding.

    Raises:
        ConfigError: the configuration can not work, or a tracker is unknown or not installed.
        DataError: the data are missing, unreadable or out of range.
        RunError: `folder` holds another run, is damaged or in use, the disk is full, or the training diverged.
        InterruptedRun: the user pressed Ctrl-C; as PreemptedRun, the process was sent SIGTERM; as LostWorker, another one has ended.
    """
    folder, every, cluster = Path(folder), Every(checkpoint_steps, checkpoint_minutes), cluster or Cluster.alone()
    try:
        with stopping_at_once() if cluster.workers > 1 else nullcontext():
            prepared = _prepare(config, folder, data_dir, resume, trackers, cluster)
        if prepared is None:
            return load(folder)
        images, summary, vae, tracking = prepared
        steps = pipeline.steps_per_epoch(images.train, config.training.batch_size)
        with (
            Signals(_PATIENCE_S if cluster.workers > 1 else None) as signals,
            workplace(cluster, folder, lambda: _describe(config, summary, folder, resume)) as place,
            tracking,
        ):
            history, patience = History(place / HISTORY), Patience.of(config.training, vae.objective, steps)
            x = pipeline.fixed_images(images.validation, images.levels, seed=config.seed, binarize=config.data.binarize)
            y = None if vae.condition is None else images.validation.y
            guards = FiniteGuard(config.training.non_finite), CollapseGuard(x, y)
            with cluster.strategy.scope():
                shares = [RunningMetrics(vae.metrics, cluster)] if cluster.replicas > 1 else []
                keeper = Keeper(
                    vae,
                    place / CHECKPOINTS,
                    history,
                    every,
                    [*guards, *shares],
                    lambda: patience.best(history.rows),
                    cluster.any,
                    identity(config, summary),
                    not cluster.chief,
                )
            begun = keeper.restore() if resume else keeper.now
            cluster.agree(begun.epochs * steps + begun.step, folder)
            followed = tracking.follow(Training(folder, config, vae, x, images.validation.y, images.label_names, history.rows[:]))
            with narration(verbose if cluster.chief else 0) as tellers:
                opening = Opening(lambda: first_line(folder, config, vae, images, cluster, steps=steps, begun=begun))
                vae.fit(
                    cluster.batches(partial(_training_batches, config, images, y is not None, begun)),
                    epochs=begun.epochs if patience.exhausted(history.rows) else config.training.epochs,
                    initial_epoch=begun.epochs,
                    steps_per_epoch=steps,
                    validation_data=cluster.batches(partial(pipeline.validation_batches, x, y, VALIDATION_BATCH)),
                    validation_steps=-(-len(x) // VALIDATION_BATCH),
                    callbacks=[
                        *guards,
                        *([opening] if tellers else []),
                        followed,
                        keeper,
                        *shares,
                        EarlyStop(patience, keeper),
                        *tellers,
                        *callbacks,
                        Interruption(signals, keeper, cluster),
                    ],
                    verbose=0,
                )
            _save_weights(vae, place / WEIGHTS)
            cluster.any(False)  # until the chief has saved them, too
            return Run(folder, config, summary, vae)
    except BlockingIOError:
        raise RunError(f"`{folder}` is being trained by another process; wait for it, or choose another for --run.") from None
    except KeyboardInterrupt:
        if not (folder / CONFIG).exists():
            raise InterruptedRun("stopped by the user before anything was written; the same command begins again.") from None
        raise InterruptedRun("stopped by the user; what was complete is kept: go on with the same command and --resume.") from None
    except tf.errors.OpError as error:
        if cluster.workers == 1:
            raise
        raise LostWorker(
            f"worker {cluster.index} ends, as {_lost(error, cluster)} has ended or can not be reached; "
            "start all again with the same command and --resume."
        ) from None


def _lost(error: tf.errors.OpError, cluster: Cluster) -> str:
    """Return whom an error is about; where one has ended, the next may have, too, and be the one that is told."""
    resolver = cluster.strategy.cluster_resolver
    told = re.findall(r"/job:(\w+)/replica:0/task:(\d+)", error.message)
    others = [f"{job} {task}" for job, task in told if (job, int(task)) != (resolver.task_type, resolver.task_id)]
    return f"another ({others[0] if others else reason(error)})"


def _prepare(
    config: Config, folder: Path, data_dir: str | None, resume: bool, trackers: Sequence[str], cluster: Cluster
) -> tuple[Images, DataSummary, VAE, Tracking] | None:
    """Return the data and the model, the same in all processes, and the trackers; None where the run is complete."""
    with cluster.together() as same:
        tracking = Tracking(trackers if cluster.chief else ())
        if cluster.chief:
            check_folder(folder, config, resume)
        complete = resume and (folder / WEIGHTS).exists()
        same |= {"the configuration": config, "the program": program(), "whether the run is complete": complete}
        if not complete:
            images = data.load(config.data, config.seed, data_dir)
            same["the data"] = summary = DataSummary.of(images, config)
    if complete:
        return None
    steps = pipeline.steps_per_epoch(images.train, config.training.batch_size)
    with cluster.strategy.scope():
        keras.utils.set_random_seed(config.seed)
        vae = build(config, images.image_shape, data.seen_levels(images, config.data), steps, images.label_size)
    check_images(vae, images, config)
    if vae.objective.over_batch and cluster.replicas > 1:
        _log.warning("the objective compares images of a batch; each of the %d devices compares those of its own part", cluster.replicas)
    return images, summary, vae, tracking


def _describe(config: Config, summary: DataSummary, folder: Path, resume: bool) -> None:
    check_folder(folder, config, resume)  # again, now that nobody else can change it
    tidy(folder)
    if (folder / DATA).exists():
        DataSummary.read(folder / DATA).require(summary)
    with replacing(folder / CONFIG) as path:
        configs.write(config, path)
    summary.write(folder / DATA)


def _training_batches(
    config: Config, images: Images, labels: bool, begun: Position, share: tuple[int, int], pieces: int
) -> tf.data.Dataset:
    return pipeline.training_batches(
        images.train,
        images.levels,
        batch_size=config.training.batch_size,
        seed=config.seed,
        binarize=config.data.binarize,
        labels=labels,
        corrupt=config.data.corrupt,
        corruption=config.data.corruption,
        first_epoch=begun.epochs,
        first_step=begun.step,
        share=share,
        pieces=pieces,
    )


def _save_weights(vae: VAE, target: Path) -> None:
    """Save the weights, where there is room: a full disk in the middle of an HDF5 file can take the process with it."""
    needed = 2 * sum(weight.nbytes for weight in vae.get_weights()) + 2**20
    with replacing(target) as path:
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, needed)  # quotas and limits count, too
        except OSError as error:
            raise RunError(
                f"`{target}` needs {needed / 1e6:.0f} MB of disk, and there is less ({error.strerror}); make room and go on with --resume."
            ) from None
        vae.save_weights(path)
