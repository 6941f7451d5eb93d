"""Schedules: functions of `optimizer.iterations`, so that a resumed run follows the same curve."""

from typing import final

import tensorflow as tf
import tf_keras as keras

__all__ = ["LinearAnneal", "linear_rise"]


@final
class LinearAnneal(keras.optimizers.schedules.LearningRateSchedule):
    """A constant learning rate that falls linearly to zero over the last part of the training.

    Args:
        learning_rate: at the start, above 0.
        steps: optimizer steps of the whole training.
        anneal: share of them, in [0, 1], at the end, over which it falls; 0 for a constant rate.
    """

    def __init__(self, learning_rate: float, steps: int, anneal: float):
        self.learning_rate, self.steps, self.anneal = learning_rate, steps, anneal

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return learning_rate * min(1, (steps - step) / (anneal * steps)), scalar."""
        if self.anneal == 0:
            return tf.constant(self.learning_rate, tf.float32)
        left = (self.steps - tf.cast(step, tf.float32)) / (self.anneal * self.steps)
        return self.learning_rate * tf.clip_by_value(left, 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        """Return the arguments."""
        return {"learning_rate": self.learning_rate, "steps": self.steps, "anneal": self.anneal}


def linear_rise(step: tf.Tensor, steps: int, cycles: int = 1) -> tf.Tensor | float:
    """Return min(1, step / steps), scalar float32: it rises from 0 and stays at 1.

    Args:
        step: the optimizer step, scalar.
        steps: until 1 is reached; 0 to be there at once.
        cycles: how often it rises; between two rises it stays at 1 for another `steps`.
    """
    if steps == 0:
        return 1.0
    step = tf.cast(step, tf.float32)
    begun = tf.minimum(step // (2 * steps), cycles - 1)
    return tf.minimum(1.0, (step - 2 * steps * begun) / steps)
