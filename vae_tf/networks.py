"""Bodies of encoders and decoders: features in, features out, no probability.

An encoder maps images [B, H, W, C] to features [B, F]; a decoder maps latents [N, D] to features [N, F] or [N, H, W, F]. The last,
linear map to the parameters of a distribution belongs to the posterior and the likelihood.
"""

import reprlib
from collections.abc import Callable
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError

__all__ = ["DECODERS", "ENCODERS", "ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]

_MOST_LAYERS, _MOST_UNITS = 8, 2**16


@final
class MLPEncoder(keras.layers.Layer):
    """Dense layers on the flattened image.

    Args:
        hidden: width of each layer; at least one.
        activation: a Keras activation name, or "gated": h = a * sigmoid(b) with a and b linear (Dauphin et al., 2017, equation 1).
    """

    def __init__(self, *, hidden: tuple[int, ...] = (300, 300), activation: str = "relu"):
        super().__init__(name="encoder")
        self.body = keras.Sequential([keras.layers.Flatten(), *_dense(hidden, activation)])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return features [B, F] of images [B, H, W, C]."""
        return self.body(x)


@final
class MLPDecoder(keras.layers.Layer):
    """Dense layers on the latent.

    Args:
        hidden: width of each layer; at least one.
        activation: as in `MLPEncoder`.
    """

    def __init__(self, *, hidden: tuple[int, ...] = (300, 300), activation: str = "relu"):
        super().__init__(name="decoder")
        self.body = keras.Sequential(_dense(hidden, activation))

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, F] of latents [N, D]."""
        return self.body(z)


@final
class ConvEncoder(keras.layers.Layer):
    """3x3 convolutions, each halving height and width, then a dense layer.

    Args:
        filters: channels of each convolution; at least one.
        hidden: width of the dense layer.
        activation: a Keras activation name.
    """

    def __init__(self, *, filters: tuple[int, ...] = (32, 64), hidden: int = 256, activation: str = "relu"):
        super().__init__(name="encoder")
        _check_widths("filters", filters)
        convolutions = [keras.layers.Conv2D(n, 3, 2, "same", activation=_activation(activation)) for n in filters]
        self.body = keras.Sequential([*convolutions, keras.layers.Flatten(), *_dense((hidden,), activation)])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return features [B, hidden] of images [B, H, W, C]."""
        return self.body(x)


@final
class ConvDecoder(keras.layers.Layer):
    """The mirror of `ConvEncoder`: dense layers, then 3x3 transposed convolutions that double height and width.

    Any image size works: the map starts at ceil(size / 2^n), and what n doublings make too large is cropped.

    Args:
        image_shape: (H, W, C).
        filters: channels as in the encoder, so they are used in reverse; at least one.
        hidden: width of the dense layer.
        activation: a Keras activation name.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], *, filters: tuple[int, ...] = (32, 64), hidden: int = 256, activation: str = "relu"
    ):
        super().__init__(name="decoder")
        _check_widths("filters", filters)
        self.height, self.width, _ = image_shape
        factor = 2 ** len(filters)
        start = (-(-self.height // factor), -(-self.width // factor), filters[-1])
        self.body = keras.Sequential(
            [
                *_dense((hidden, start[0] * start[1] * start[2]), activation),
                keras.layers.Reshape(start),
                *(
                    keras.layers.Conv2DTranspose(n, 3, strides=2, padding="same", activation=_activation(activation))
                    for n in reversed(filters)
                ),
            ]
        )

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, H, W, F] of latents [N, D]."""
        return self.body(z)[:, : self.height, : self.width]


ENCODERS = {"mlp": MLPEncoder, "conv": ConvEncoder}
DECODERS = {"mlp": MLPDecoder, "conv": ConvDecoder}


@final
class _GatedDense(keras.layers.Layer):
    def __init__(self, units: int):
        super().__init__()
        self.both = keras.layers.Dense(2 * units)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        value, gate = tf.split(self.both(inputs), 2, axis=-1)
        return value * tf.sigmoid(gate)


def _dense(widths: tuple[int, ...], activation: str) -> list[keras.layers.Layer]:
    _check_widths("hidden", widths)
    if activation == "gated":
        return [_GatedDense(n) for n in widths]
    return [keras.layers.Dense(n, _activation(activation)) for n in widths]


def _activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    try:
        return keras.activations.get(name)
    except ValueError:
        raise ConfigError(f"`activation` must be a Keras activation such as 'relu', or 'gated' in an mlp, got {name!r}.") from None


def _check_widths(name: str, widths: tuple[int, ...]) -> None:
    if not 1 <= len(widths) <= _MOST_LAYERS or min(widths) < 1 or max(widths) > _MOST_UNITS:
        raise ConfigError(f"`{name}` must hold 1 to {_MOST_LAYERS} widths, each from 1 to {_MOST_UNITS}, got {reprlib.repr(list(widths))}.")
