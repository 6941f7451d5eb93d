"""Where a training went wrong, noticed inside of the steps: Python sees only every so many of them."""

from collections.abc import Iterable
from typing import final

import tensorflow as tf

__all__ = ["Fault"]


@final
class Fault:
    """The first optimizer step with a number that is not finite, of all since it was last cleared.

    It is no weight: neither checkpoints nor files of weights hold it.
    """

    def __init__(self) -> None:
        # Each replica has its own, and the first is asked: what another saw, it sees a step later by the sum of gradients.
        first = {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self._step = tf.Variable(0, trainable=False, dtype=tf.int64, **first)

    @property
    def step(self) -> int:
        """Its number, from 1; 0 where there was none."""
        return int(self._step.numpy())

    def clear(self) -> None:
        """Forget it."""
        self._step.assign(0)

    def look(self, step: tf.Tensor, values: Iterable[tf.Tensor]) -> None:
        """Remember the step, counted from 1, if it is the first to have a value that is not finite."""
        finite = tf.reduce_all(tf.math.is_finite(tf.add_n([tf.reduce_sum(value) for value in values])))
        self._step.assign(tf.where(finite | (self._step > 0), self._step, step))
