"""Blocks that encoders, decoders and other networks share."""

import reprlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError

__all__ = ["DoublingConv", "Gated", "MapDecoder", "activated", "activation_of", "check_widths", "dense"]

_MOST_LAYERS, _MOST_UNITS = 8, 2**16


@final
class Gated(keras.layers.Layer):
    """h = a * sigmoid(b), with a and b linear in the input.

    Args:
        both: the linear layer that returns a and b, one after the other in the last axis.

    Source: Dauphin et al. (2017), equation 1.
    """

    def __init__(self, both: keras.layers.Layer):
        super().__init__(dtype=both.dtype_policy)
        self.both = both

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return h [..., F] of inputs for which `both` returns [..., 2 F]."""
        value, gate = tf.split(self.both(inputs), 2, axis=-1)
        return value * tf.sigmoid(gate)


@final
class DoublingConv(keras.layers.Layer):
    """A 3x3 convolution of the map in which each pixel is repeated 2 x 2: height and width double, and no checkerboard appears.

    Computed as one transposed convolution of stride 2 whose 4x4 kernel is the sum of the four shifts of the 3x3 kernel within 4x4: the
    same numbers with 16 products per pixel of the smaller map in place of 36.

    Args:
        units: channels of the output.
        activation: applied to the output.

    Source: Odena, Dumoulin and Olah (2016), Deconvolution and checkerboard artifacts.
    """

    def __init__(self, units: int, activation: Callable[[tf.Tensor], tf.Tensor] = tf.identity):
        super().__init__()
        self.units, self.activation = units, activation

    def build(self, shape: tf.TensorShape) -> None:
        """Create the 3x3 kernel, as that of `keras.layers.Conv2D`."""
        self.kernel = self.add_weight("kernel", (3, 3, shape[-1], self.units), initializer="glorot_uniform")
        self.bias = self.add_weight("bias", (self.units,), initializer="zeros")

    def call(self, h: tf.Tensor) -> tf.Tensor:
        """Return [N, 2 H, 2 W, units] of maps [N, H, W, F]."""
        flipped = tf.transpose(tf.reverse(self.kernel, [0, 1]), [0, 1, 3, 2])
        kernel = tf.add_n([tf.pad(flipped, [[i, 1 - i], [j, 1 - j], [0, 0], [0, 0]]) for i in (0, 1) for j in (0, 1)])
        shape = [tf.shape(h)[0], 2 * h.shape[1], 2 * h.shape[2], self.units]
        return self.activation(tf.nn.conv2d_transpose(h, kernel, shape, strides=2) + self.bias)


class MapDecoder(keras.layers.Layer):
    """A decoder from latents to maps: dense layers, then levels that each double height and width.

    Any image size works: the map starts at ceil(size / 2^n), and what n doublings make too large is cropped.

    Args:
        image_shape: (H, W, C).
        filters: channels of each level's output, as in the encoder, so they are used in reverse.
        stem: layers from the latent to features.
        to_map: returns the layer from features to as many values as it is told: the first map, which has filters[-1] channels.
        levels: layers, smallest maps first.
        skips: whether a linear map of z is added to each channel of what every level returns.

    Raises:
        ConfigError: the first map would have too many values.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        filters: tuple[int, ...],
        stem: Sequence[keras.layers.Layer],
        to_map: Callable[[int], keras.layers.Layer],
        levels: Sequence[keras.layers.Layer],
        skips: bool,
    ):
        super().__init__(name="decoder")
        self.height, self.width, _ = image_shape
        factor = 2 ** len(filters)
        height, width, channels = -(-self.height // factor), -(-self.width // factor), filters[-1]
        size = height * width * channels
        if size > _MOST_UNITS:
            raise ConfigError(
                f"`filters` of a decoder starts from a map of {height} x {width} x {channels} = {size} values, more than {_MOST_UNITS}; "
                f"add a level or make the last one narrower, got {reprlib.repr(list(filters))}."
            )
        self.stem = keras.Sequential([*stem, to_map(size), keras.layers.Reshape((height, width, channels))])
        self.levels = list(levels)
        self.skips = [_skip(n) for n in reversed(filters)] if skips else []

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, H, W, F] of latents [N, D]."""
        h = self.stem(z)
        for index, level in enumerate(self.levels):
            h = level(h)
            if self.skips:
                h += self.skips[index](z)[:, None, None]
        return h[:, : self.height, : self.width]


def _skip(units: int) -> keras.layers.Layer:
    # At the usual weights z would drown what the levels return at the start.
    return keras.layers.Dense(units, use_bias=False, kernel_initializer=keras.initializers.VarianceScaling(0.01))


def activated(make: Callable[..., keras.layers.Layer], units: int, activation: str) -> keras.layers.Layer:
    """Return a layer followed by its activation.

    Args:
        make: returns a linear layer of the given number of units, or one with the given `activation`.
        units: size of the output's last axis.
        activation: a Keras activation name, or "gated".

    Raises:
        ConfigError: the activation does not exist.
    """
    if activation == "gated":
        return Gated(make(2 * units))
    return make(units, activation=activation_of(activation))


def dense(widths: tuple[int, ...], activation: str, dtype: str | None = None) -> list[keras.layers.Layer]:
    """Return dense layers of the given widths.

    Args:
        widths: of each layer; at least one.
        activation: a Keras activation name, or "gated".
        dtype: of the layers; Keras's policy when None.

    Raises:
        ConfigError: a width is out of range, or the activation does not exist.
    """
    check_widths("hidden", widths)
    return [activated(partial(keras.layers.Dense, dtype=dtype), n, activation) for n in widths]


def activation_of(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the Keras activation of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return keras.activations.get(name)
    except ValueError:
        raise ConfigError(
            f"`activation` must be a Keras activation such as 'relu', or 'gated' in mlp and conv networks, got {name!r}."
        ) from None


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
