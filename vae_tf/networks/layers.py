"""Blocks that encoders, decoders and other networks share."""

import reprlib
from collections.abc import Callable
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError

__all__ = ["GatedDense", "activation_of", "check_widths", "dense"]

_MOST_LAYERS, _MOST_UNITS = 8, 2**16


@final
class GatedDense(keras.layers.Layer):
    """h = a * sigmoid(b), with a and b linear in the input.

    Args:
        units: size of h.

    Source: Dauphin et al. (2017), equation 1.
    """

    def __init__(self, units: int):
        super().__init__()
        self.both = keras.layers.Dense(2 * units)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return h [..., units] of inputs [..., F]."""
        value, gate = tf.split(self.both(inputs), 2, axis=-1)
        return value * tf.sigmoid(gate)


def dense(widths: tuple[int, ...], activation: str) -> list[keras.layers.Layer]:
    """Return dense layers of the given widths.

    Args:
        widths: of each layer; at least one.
        activation: a Keras activation name, or "gated".

    Raises:
        ConfigError: a width is out of range, or the activation does not exist.
    """
    check_widths("hidden", widths)
    if activation == "gated":
        return [GatedDense(n) for n in widths]
    return [keras.layers.Dense(n, activation_of(activation)) for n in widths]


def activation_of(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the Keras activation of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return keras.activations.get(name)
    except ValueError:
        raise ConfigError(f"`activation` must be a Keras activation such as 'relu', or 'gated' in an mlp, got {name!r}.") from None


def check_widths(name: str, widths: tuple[int, ...]) -> None:
    """Refuse widths of layers that are none, too many or out of range.

    Args:
        name: of the option, for the message.
        widths: its value.

    Raises:
        ConfigError: they are.
    """
    if not 1 <= len(widths) <= _MOST_LAYERS or min(widths) < 1 or max(widths) > _MOST_UNITS:
        raise ConfigError(f"`{name}` must hold 1 to {_MOST_LAYERS} widths, each from 1 to {_MOST_UNITS}, got {reprlib.repr(list(widths))}.")
