"""Guards of a training, as Keras callbacks: what goes wrong is said as it happens, and nothing is changed without a word.

`train` has both; on your own, `vae.fit(x, validation_data=held_out, callbacks=[FiniteGuard(), CollapseGuard(held_out)])`. Neither touches
a random stream: where nothing is wrong, the weights are the same bits without them.
"""

import logging
from collections.abc import Mapping
from math import isfinite, nan
from typing import Any, Literal, final

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError, DivergedRun
from vae_tf.latents import active_units, kl_of_latents, layer_names, layer_sizes, moments_and_terms
from vae_tf.objective.base import check_at_least, check_choice

__all__ = ["CollapseGuard", "FiniteGuard"]

_log = logging.getLogger("vae_tf")

_REMEDY = "Try a smaller learning rate (`training.learning_rate`)"
_OR_SCALE = ", a larger lower bound of sigma (`model.likelihood.min_scale`)"
_OR_ROLLBACK = (
    ", or rolling back: `training.non_finite=rollback`, also with --resume, as complete epochs stay; in Python `FiniteGuard('rollback')`"
)
_EVERY = 10  # batches
_REMEMBERED = ("rollbacks", "_before", "_batch", "_checked", "_counted")
_PIECES = ("encoder", "posterior", "prior", "decoder", "likelihood")
_MOST = 0.9  # share of the dimensions of a layer
_TOLD = 8


@final
class FiniteGuard(keras.callbacks.Callback):
    """Notices a loss, a part of it, or a weight that is no finite number, and stops or rolls back.

    Losses are looked at in each step, and acted on after each call from Python (`steps_per_execution` of them): the step that is told is
    that of the batch at fault, or of the batch after it, if a gradient spoilt the weights. A network may hide that, since a rectifier
    makes 0 of NaN: the weights themselves are looked at after every ten batches, and when an epoch ends. In a run, batch b of epoch e is
    the same whenever the seed is, `next(iter(pipeline.training_batches(..., first_epoch=e - 1, first_step=b - 1)))`, and its noise
    follows from the optimizer step.

    A rollback restores weights, optimizer slots and running metrics of the beginning of the epoch, and the epoch goes on with its other
    batches; the optimizer step is not set back, so noise and schedules are others too. Each is a warning, and a metric `rollbacks` counts
    them by epoch. The metrics of training are then means over the batches since the last rollback, NaN if there are none.

    Put it before callbacks that write checkpoints, so that nothing spoilt is written when an epoch ends. Within an epoch a weight may be
    spoilt and not yet noticed: then it is after resuming, at the same batch as without a stop.

    Args:
        on_failure: "stop" raises; "rollback" goes back, and raises when that has not helped.
        most: rollbacks in the whole training, at least 0.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, on_failure: Literal["stop", "rollback"] = "stop", *, most: int = 10):
        super().__init__()
        check_choice("on_failure", on_failure, ("stop", "rollback"))
        check_at_least("most", most, 0)
        self.on_failure, self.most, self.rollbacks = on_failure, most, 0
        self._good: list[tuple[tf.Variable, tf.Tensor]] = []
        self._epoch = self._before = self._batch = self._checked = self._counted = 0  # the epoch from 1; 0 outside of one

    def memory(self) -> dict[str, Any]:
        """Return what counts when a training is resumed, beside the weights of the beginning of the epoch."""
        return {name: getattr(self, name) for name in _REMEMBERED}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` returned."""
        for name in _REMEMBERED:
            setattr(self, name, memory[name])

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Find the weights, and trace their sum: it is finite where they are."""
        metrics = {id(variable) for metric in self.model.metrics for variable in metric.variables}
        self._weights = [weight for weight in self.model.weights if id(weight) not in metrics]
        total = tf.function(lambda: tf.add_n([tf.cast(tf.reduce_sum(weight), tf.float32) for weight in self._weights]))
        self._sum = total.get_concrete_function()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember the weights, if they may be needed."""
        self._epoch, self._before = epoch + 1, self.rollbacks
        self._batch = self._checked = self._counted = 0
        self.model.fault.clear()
        if self.on_failure == "rollback":
            optimizer = self.model.optimizer
            optimizer.build(self.model.trainable_variables)
            variables = [*self.model.variables, *(slot for slot in optimizer.variables if slot is not optimizer.iterations)]
            self._good = [(variable, variable.read_value()) for variable in variables]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the losses, and now and then at the weights.

        Raises:
            DivergedRun: one is not finite, and there is no rolling back.
        """
        self._batch = batch + 1
        self._counted += 1
        if wrong := _not_finite(logs or {}):
            both = {"kl", "reconstruction"} <= wrong.keys()
            why = " (both: images that are not finite, or weights, by a gradient of the batch before)" if both else ""
            now = int(self.model.optimizer.iterations.numpy())
            step = self.model.fault.step or now
            at = self._batch - (now - step)
            self._fail(f"{_told(wrong)}{why} in epoch {self._epoch}, batch {at}", step)
        elif self._batch - self._checked >= _EVERY:
            self._check_weights()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Look at the weights before the validation of an epoch."""
        if self._epoch:
            self._check_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the weights, where there was no validation, and at the metrics of validation; count the rollbacks of the epoch.

        Raises:
            DivergedRun: one is not finite, and there is no rolling back.
        """
        self._check_weights()
        logs = {} if logs is None else logs
        if wrong := _not_finite({name: value for name, value in logs.items() if name.startswith("val_")}):
            self._fail(f"{_told(wrong)} after epoch {self._epoch}, while the weights are finite")
        self._epoch = 0
        if self.on_failure == "rollback":
            logs["rollbacks"] = self.rollbacks - self._before
        if not self._counted:
            logs.update({name: nan for name in logs if name in self.model.metrics_names})

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Say how often there was a rollback."""
        if self.rollbacks:
            _log.warning("%d rollback(s) in this training; the column `rollbacks` of its history says in which epochs", self.rollbacks)

    def _check_weights(self) -> None:
        first, self._checked = min(self._checked + 1, self._batch), self._batch
        if not isfinite(self._sum().numpy()):
            wrong = next((weight for weight in self._weights if not np.isfinite(weight.numpy()).all()), None)
            if wrong is not None:
                pieces = {name: getattr(getattr(self.model, name), "weights", ()) for name in _PIECES}
                owner = next((name for name, weights in pieces.items() if any(weight is wrong for weight in weights)), "model")
                self._fail(f"a weight of the {owner}, `{wrong.name}`, is not finite in {self._where(first)}")

    def _where(self, first: int) -> str:
        batches = f"batch {self._batch}" if first == self._batch else f"batches {first} to {self._batch}"
        return f"epoch {self._epoch}, {batches}"

    def _fail(self, what: str, step: int = 0) -> None:
        failure = f"{what} (optimizer step {step or self.model.optimizer.iterations.numpy()})"
        remedy = _REMEDY + (_OR_SCALE if hasattr(self.model.likelihood, "min_scale") else "")
        if self.on_failure == "stop":
            raise DivergedRun(f"{failure}: the training diverged. {remedy}{_OR_ROLLBACK}.")
        if self.rollbacks == self.most:
            raise DivergedRun(f"{failure}, after {self.most} rollbacks: the training diverged. {remedy}.")
        for variable, value in self._good:
            variable.assign(value)
        self.model.fault.clear()
        self.rollbacks, self._counted = self.rollbacks + 1, 0
        _log.warning(
            "%s: back to the weights of the beginning of the epoch, and on with other batches; rollback %d of %d at most",
            failure,
            self.rollbacks,
            self.most,
        )


@final
class CollapseGuard(keras.callbacks.Callback):
    """Warns when nearly all dimensions of a layer of latents stop carrying information, and says when they carry it again.

    After each epoch, KL_d = E_x KL(q(z_d | x) || p(z_d)) of some fixed images, as `latents.kl_of_latents` has it. A layer has collapsed
    when no more than a tenth of its dimensions carry `threshold` nats, and has recovered when more than a tenth carry twice as much.
    Nothing is said before the schedules of the objective have settled: under a warm-up the KL is not what it will be. A metric
    `active_units` counts, in each epoch, the dimensions that tell images apart.

    Args:
        x: images [N, H, W, C], of which some are taken at even distances; those of the validation, best.
        label: [N] or [N, K], if the model has a condition.
        threshold: in nats, above 0.
        images: how many are taken, at least 2.

    Raises:
        ConfigError: an argument is out of range.

    Source: Bowman et al. (2016), section 3.1; active units: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """

    def __init__(self, x: np.ndarray, label: np.ndarray | None = None, *, threshold: float = 0.01, images: int = 100):
        super().__init__()
        if not 0 < threshold < np.inf:
            raise ConfigError(f"`threshold` must be finite and above 0 nats, got {threshold}; 0.01 is usual.")
        check_at_least("images", images, 2)
        rows = np.unique(np.linspace(0, len(x) - 1, images).astype(int))
        self.x, self.label, self.threshold = x[rows], None if label is None else label[rows], threshold
        self.collapsed: set[str] = set()

    def memory(self) -> dict[str, Any]:
        """Return what counts when a training is resumed."""
        return {"collapsed": sorted(self.collapsed)}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` returned."""
        self.collapsed = set(memory["collapsed"])

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Trace what is measured: as a graph, half of the work of flows and layers is not done."""
        self._measure = tf.function(lambda: moments_and_terms(self.model, self.x, self.label)).get_concrete_function()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measure, and say what has changed."""
        vae = self.model
        mean, stddev, *parts = (part.numpy().astype(np.float64) for part in self._measure())
        if logs is not None:
            logs["active_units"] = int(active_units(mean).sum())
        if int(vae.optimizer.iterations.numpy()) < vae.objective.settled_at:
            return
        kl = kl_of_latents(vae, mean, stddev, self.label, parts)
        sizes = layer_sizes(vae)
        for name, part in zip(layer_names(len(sizes)), np.split(kl.per_dimension, np.cumsum(sizes)[:-1])):
            whole = kl.per_layer.get(name, np.inf)
            idle, nearly_idle = (_below(level, part, whole) for level in (self.threshold, 2 * self.threshold))
            in_all = f"KL of the layer {whole:.2g} nats, " if isfinite(whole) else ""
            less = f"less than {self.threshold:g} nats" + (" on average" if idle > (part < self.threshold).sum() else "")
            marginal = f"{in_all}by the moments of each dimension " if name in kl.matched else "KL of each in nats "
            told = marginal + _largest(part)
            if name not in self.collapsed and idle >= _MOST * len(part):
                self.collapsed.add(name)
                _log.warning(
                    "epoch %d: %d of the %d latent dimensions of %s carry %s (%s): there q(z | x) is nearly the prior whatever the "
                    "image, and says next to nothing of it. If it stays so, try a KL warm-up (`objective.warmup_epochs`), free bits "
                    "(`objective=free-bits`), a smaller weight of the KL, or a weaker decoder",
                    epoch + 1,
                    idle,
                    len(part),
                    name,
                    less,
                    told,
                )
            elif name in self.collapsed and nearly_idle < _MOST * len(part):
                self.collapsed.remove(name)
                used = f"{len(part) - idle} of the {len(part)} latent dimensions of {name}"
                _log.warning("epoch %d: %s carry %g nats or more again (%s)", epoch + 1, used, self.threshold, told)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Say it again, if it has stayed so."""
        if self.collapsed:
            _log.warning(
                "at the end the latents of %s are still collapsed: most of their dimensions carry nothing",
                " and ".join(sorted(self.collapsed)),
            )


def _not_finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the parts of the loss that are not finite, or else the sums that are not."""
    wrong = {name: value for name, value in values.items() if not isfinite(value)}
    parts = {name: value for name, value in wrong.items() if name.removeprefix("val_") in ("kl", "reconstruction")}
    return parts or wrong


def _told(wrong: Mapping[str, float]) -> str:
    return " and ".join(f"`{name}` is {value}" for name, value in wrong.items())


def _below(level: float, kl: np.ndarray, whole: float) -> int:
    """Return how many dimensions carry less: all where the layer as a whole, in nats, has less for each, for that is not of marginals."""
    return len(kl) if whole < level * len(kl) else int((kl < level).sum())


def _largest(kl: np.ndarray) -> str:
    """Return the largest first, and how many more there are."""
    told = " ".join(f"{value:.2g}" for value in np.sort(kl)[::-1][:_TOLD])
    return told if len(kl) <= _TOLD else f"{told} and {len(kl) - _TOLD} below"
