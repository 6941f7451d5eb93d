"""Layers one after the other, for values with any number of leading axes."""

from collections.abc import Sequence
from typing import Any, final

import tensorflow as tf
import tf_keras as keras

from vae_tf.networks.layers import dense

__all__ = ["Chain", "perceptron"]


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


def perceptron(hidden: tuple[int, ...], activation: str, units: int, **last: Any) -> Chain:
    """Return hidden layers and a linear one, float32 whatever Keras's policy: log densities are made of what it returns.

    Args:
        hidden: widths of the hidden layers; none for a linear map.
        activation: a Keras activation name, or "gated".
        units: size of the output.
        **last: further arguments of the linear layer.

    Raises:
        ConfigError: a width is out of range, or the activation does not exist.
    """
    body = dense(hidden, activation, "float32") if hidden else []
    return Chain([*body, keras.layers.Dense(units, dtype="float32", **last)])
