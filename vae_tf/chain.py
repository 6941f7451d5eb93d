"""Layers one after the other, for values with any number of leading axes."""

from collections.abc import Sequence
from typing import final

import tensorflow as tf
import tf_keras as keras

__all__ = ["Chain"]


@final
class Chain(keras.layers.Layer):
    """What `keras.Sequential` is, except that it takes values as they are.

    Keras's own adds or drops an axis when a last axis of 1 comes with another number of axes than at first: it takes a single
    coordinate [S, B, 1] for a batch [S, B].

    Args:
        layers: at least one, each on the last axis.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer]):
        super().__init__(dtype="float32")
        self.layers = list(layers)

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Return what the last layer makes of values [..., F]."""
        for layer in self.layers:
            values = layer(values)
        return values
