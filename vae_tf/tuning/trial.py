"""What a worker does: build what stands at the ends of a space, train a trial, estimate what it is worth."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import tf_keras as keras

from vae_tf import data, pipeline
from vae_tf.build import build
from vae_tf.config import Config
from vae_tf.errors import ConfigError, DataError
from vae_tf.evaluation import Estimate, log_weights
from vae_tf.files import replacing
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.run import HISTORY, DataSummary, Run
from vae_tf.train import train
from vae_tf.tuning.record import COMPLETE, PRUNED

__all__ = ["PER_IMAGE", "SAMPLES", "check_ends", "train_trial"]

PER_IMAGE = "validation.npz"  # in the folder of a trial: log p(x) of each validation image
SAMPLES = 100  # of the posterior, per image
_IMAGES = 1000  # of the validation, at most


def check_ends(configs: Sequence[Mapping[str, Any]], base: Mapping[str, Any], data_dir: str | None) -> dict[str, Any]:
    """Build configurations that differ in what is searched.

    Args:
        configs: plain values; all of the same images.
        base: the configuration that they vary.
        data_dir: as in `train`.

    Returns:
        `error` and `index` of the first that can not work, the index None if it is that of the base too; else `settled`, the epochs until
        all schedules of the objectives have settled, and `images`, a fingerprint of them.

    Raises:
        DataError: the images are missing or unreadable, or leave fewer than 2 for validation.
    """
    first = Config.from_dict(configs[0])
    images = data.load(first.data, first.seed, data_dir)
    if len(images.validation) < 2:
        raise DataError(f"`{images.source}` leaves one validation image, and trials are compared on at least 2; raise `data.validation`.")

    def built(values: Mapping[str, Any]) -> tuple[VAE, int]:
        config = Config.from_dict(values)
        steps = pipeline.steps_per_epoch(images.train, config.training.batch_size)
        return build(config, images.image_shape, data.seen_levels(images, config.data), steps, images.label_size), steps

    settled, kinds = 0.0, []
    for index, values in enumerate(configs):
        try:
            vae, steps = built(values)
            kinds.append((vae.likelihood.discrete, vae.condition is not None))
            if kinds[index] != kinds[0]:
                raise ConfigError(
                    "probabilities of discrete values, densities of real ones, and either given a label, do not compare; search "
                    "among one kind."
                )
        except ConfigError as error:
            try:
                built(base)
            except ConfigError as own:
                return {"error": str(error), "index": None if str(own) == str(error) else index}
            return {"error": str(error), "index": index}
        settled = max(settled, vae.objective.settled_at / steps)
    return {"settled": settled, "images": DataSummary.of(images, first).fingerprint}


def train_trial(config: Mapping[str, Any], folder: str, data_dir: str | None, goes_on: Callable[[int, float], bool]) -> dict[str, Any]:
    """Train a trial, or go on with it, and estimate log p(x) of validation images.

    Args:
        config: plain values.
        folder: of its run.
        data_dir: as in `train`.
        goes_on: is told the validation ELBO of each epoch, numbered from 1, and answers whether the trial is worth going on with.

    Returns:
        The outcome of a `Trial`, and its `state`.

    Raises:
        ConfigError: the values can not work together, or log p(x) is no number.
        VaeTfError: as in `train`.
    """
    history, reporter = Path(folder) / HISTORY, _Reporter(goes_on)
    try:
        # Of a trial that was stopped, epochs may have been written down and not been told.
        for row in History(history).rows:
            reporter.tell(int(row["epoch"]), row["val_elbo"])
        run = train(Config.from_dict(config), folder, data_dir=data_dir, resume=True, verbose=0, callbacks=[reporter])
        outcome = {"state": COMPLETE, **_value(run, data_dir)}
    except _PrunedRun:
        outcome = {"state": PRUNED}
    rows = History(history).rows
    return outcome | {"epochs": len(rows), "seconds": sum(row["seconds"] for row in rows)}


class _PrunedRun(Exception):
    """Leaves a training that is not worth going on with; its folder stays one that could be resumed."""


@final
class _Reporter(keras.callbacks.Callback):
    """Tells the validation ELBO of each epoch: unlike the loss, it does not depend on the weights and schedules of the objective."""

    def __init__(self, goes_on: Callable[[int, float], bool]):
        super().__init__()
        self.goes_on = goes_on

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.tell(epoch + 1, (logs or {})["val_elbo"])

    def tell(self, epoch: int, elbo: float) -> None:
        if not self.goes_on(epoch, float(elbo)):
            raise _PrunedRun


def _value(run: Run, data_dir: str | None) -> dict[str, Any]:
    """Return log p(x) with its standard error; the values of each image are written into the folder of the run."""
    images = run.images(data_dir)
    x = pipeline.fixed_images(images.validation, images.levels, seed=run.config.seed, binarize=run.config.data.binarize)
    rows = np.unique(np.linspace(0, len(x) - 1, _IMAGES).astype(int))
    label = None if run.vae.condition is None else images.validation.take(rows).y
    per_image = log_weights(run.vae, x[rows], label, samples=SAMPLES).log_likelihood
    estimate = Estimate.over(per_image, "")
    if not np.isfinite([estimate.value, estimate.standard_error]).all():
        raise ConfigError(f"log p(x) of the validation images is {estimate.value} +- {estimate.standard_error}, nothing to compare by.")
    with replacing(run.folder / PER_IMAGE) as path:
        np.savez(path, log_likelihood=per_image)
    return {"value": estimate.value, "standard_error": estimate.standard_error, "images": estimate.images}
