"""How Keras runs the steps of a model: checked input, XLA and several steps a call where that is fast, running metrics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf import answers, execution, inputs
from vae_tf.condition import Condition
from vae_tf.errors import ConfigError
from vae_tf.execution import Execution, Precision
from vae_tf.fault import Fault
from vae_tf.likelihood import Likelihood
from vae_tf.objective import Elbo, Objective
from vae_tf.posterior import Posterior
from vae_tf.prior import Prior

__all__ = ["Fitted"]


class Fitted(keras.Model):
    """What `VAE` is to Keras; a subclass has the pieces, and says what a step is.

    Attributes:
        execution: how the steps of the last `fit` were run.
        fault: the first optimizer step with numbers that are not finite.
        trackers: the running metrics by name.
    """

    posterior: Posterior
    prior: Prior
    likelihood: Likelihood
    condition: Condition | None
    train_function: Callable[..., Any] | None  # Keras's

    def __init__(self) -> None:
        super().__init__(name="vae")
        self.trackers = {name: keras.metrics.Mean(name) for name in ("loss", "elbo", "kl", "reconstruction")}
        self.fault = Fault()

    def compile(
        self,
        optimizer: Any = "adam",
        objective: Objective | None = None,
        *,
        jit_compile: bool | None = None,
        steps_per_execution: int | None = None,
        precision: Precision | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training.

        Args:
            optimizer: a Keras optimizer or its name.
            objective: the bound to maximise; `Elbo()` when None.
            jit_compile: whether XLA compiles the training step; None for what is fast here, see `execution.choose`.
            steps_per_execution: optimizer steps in one call from Python, after which callbacks have their turn; None likewise.
            precision: "bfloat16" to round what is multiplied in convolutions and dense layers of a training step, on processors that are
                then faster; weights, sums, losses and all of evaluation stay float32. None likewise.
            **kwargs: Keras's, such as `run_eagerly`.

        Raises:
            ConfigError: `objective` is none, or asks for what the posterior or the prior can not tell; or a loss or metrics of Keras were
                given; or `precision` is unknown, or bfloat16 with XLA.
        """
        if objective is not None and not callable(objective):
            raise ConfigError(f"`objective` must be an objective such as `Elbo(weight=4.0)`, got {objective!r}.")
        for name in ("loss", "metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name) is not None:
                raise ConfigError(f"`{name}` is not for a VAE: the loss is minus the bound of `objective`, got {name}={kwargs[name]!r}.")
        self.objective = Elbo() if objective is None else objective
        for piece in (self.posterior, self.prior):
            for need in sorted(self.objective.needs & piece.lacks.keys()):
                raise ConfigError(f"`objective` asks for {answers.NEEDS[need]}, and {type(piece).__name__} has none: {piece.lacks[need]}.")
        execution.check(jit_compile, precision)
        self.jit_wanted, self.steps_wanted, self.precision_wanted = jit_compile, steps_per_execution, precision
        self.execution, self._loops = Execution(bool(jit_compile), 1), False
        self._compiled: dict[str, Any] = {}
        # Keras would compile all of a step, noise included: only `_ascend` is.
        super().compile(optimizer=optimizer, weighted_metrics=[], steps_per_execution=steps_per_execution, **kwargs)

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; images are checked against the likelihood's support first.

        Args:
            x: images [N, H, W, C] float32 in [0, 1], or a dataset of batches of them, alone or as (x, y) or (x, y, sample_weight). In place
                of images, a pair (seen, x) trains a denoising model: the encoder gets `seen`, and x is what is to be explained.
            y: labels, for a model with a condition; ignored by others, so that labelled data can be given as it is.
            *args: Keras's.
            validation_data: as `x`.
            **kwargs: Keras's.

        Raises:
            DataError: an array, or the first batch of a dataset, of a wrong shape or with values that the likelihood gives no probability.
            ConfigError: `sample_weight` came without `y`: Keras would drop it without a word.
        """
        if kwargs.get("sample_weight") is not None and y is None:
            raise ConfigError("`sample_weight` needs a `y` beside it, got none; Keras passes weights on only with targets, so pass y=x.")
        inputs.check(x, self.likelihood, self.condition, beside=y)
        inputs.check(validation_data, self.likelihood, self.condition)
        if isinstance(validation_data, np.ndarray | tf.Tensor):
            validation_data = (validation_data,)
        work = execution.work_of(x, y, *args, validation_data=validation_data, **kwargs)
        with self._executed(execution.choose(self, work), known=work is not None):
            return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Report the metrics on held-out data as `keras.Model.evaluate` does.

        Raises:
            DataError: as in `fit`.
        """
        if "_use_cached_eval_dataset" not in kwargs:  # `fit` calls this every epoch, on data that it has checked
            inputs.check(x, self.likelihood, self.condition, beside=y)
        return super().evaluate(x, y, *args, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a saved model would hold code. `save_weights` keeps the weights, a run folder keeps all, `export` the generator.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("`save` would write code into a file; use `save_weights` (and `save_weights_only=True` in ModelCheckpoint).")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of each epoch and evaluation."""
        return list(self.trackers.values())

    @contextmanager
    def _executed(self, chosen: Execution, known: bool) -> Iterator[None]:
        """Let a `fit` take its steps as chosen.

        Where the work is known, Keras makes a loop over the steps of a call, also of one: any number of them is then the same graph, to
        the last bit. A loop can not be made over data of which nothing is known.
        """
        loops = known or chosen.steps_per_execution > 1
        before, after = ((how.jit_compile, how.precision) for how in (self.execution, chosen))
        if (before, self._loops) != (after, loops):
            self.train_function = self.test_function = None
        self.execution, self._loops = chosen, loops
        self.steps_per_execution = chosen.steps_per_execution
        try:
            yield
        finally:
            self.steps_per_execution = self.steps_wanted or 1

    def make_train_function(self, force: bool = False) -> Callable[..., Any]:
        """Return Keras's function that takes optimizer steps, in the precision that was chosen."""
        if self.train_function is None or force:
            with self._looping():
                self.train_function = self.execution.steps(super().make_train_function(force))
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable[..., Any]:
        """Return Keras's function that takes steps of an evaluation."""
        with self._looping():
            return super().make_test_function(force)

    @contextmanager
    def _looping(self) -> Iterator[None]:
        """Let Keras see several steps, if it is to make a loop over them."""
        before = int(self._steps_per_execution.numpy())
        self.steps_per_execution = 2 if self._loops else before
        try:
            yield
        finally:
            self.steps_per_execution = before

    def _fast(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function as XLA makes it, where that was chosen."""
        if not self.execution.jit_compile:
            return function
        if function.__name__ not in self._compiled:
            self._compiled[function.__name__] = tf.function(function, jit_compile=True, reduce_retracing=True)
        return self._compiled[function.__name__]

    def _record(self, values: dict[str, tf.Tensor], weight: tf.Tensor | None) -> dict[str, tf.Tensor]:
        for name, tracker in self.trackers.items():
            tracker.update_state(values[name], sample_weight=weight)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    @property
    def _replicas(self) -> int:
        """The number of copies of the model that share a batch, one unless TensorFlow distributes the training."""
        return self.distribute_strategy.num_replicas_in_sync
