"""Residual convolutional encoders and decoders, normalized in groups of channels: no statistics of a batch."""

from itertools import pairwise
from typing import final

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.networks.layers import DoublingConv, MapDecoder, activation_of, check_widths, dense

__all__ = ["Residual", "ResidualDecoder", "ResidualEncoder"]

_MOST_BLOCKS, _MOST_GROUPS, _LEAST_GROUP = 16, 8, 4
_EPSILON = 1e-5


@final
class ResidualEncoder(keras.layers.Layer):
    """Levels of a 3x3 convolution that halves height and width and residual blocks h + f(h), then a dense layer.

    A block starts near the identity, so that every depth trains from the first step. The normalization looks at one example at a
    time and is the same in training and after it.

    Args:
        filters: channels of each level; at least one.
        blocks: residual blocks of each level.
        hidden: width of the dense layer.
        activation: a Keras activation name.

    Source: He et al. (2016), Identity mappings in deep residual networks, figure 4(e); Wu and He (2018), section 3.
    """

    def __init__(self, *, filters: tuple[int, ...] = (32, 64, 64), blocks: int = 1, hidden: int = 256, activation: str = "swish"):
        super().__init__(name="encoder")
        _check(filters, blocks)
        levels = [layer for n in filters for layer in (keras.layers.Conv2D(n, 3, 2, "same"), *_blocks(n, blocks, activation))]
        top = [*_normalized(activation), keras.layers.Flatten(), *dense((hidden,), activation)]
        self.body = keras.Sequential([*levels, *top])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return features [B, hidden] of images [B, H, W, C]."""
        return self.body(x)


@final
class ResidualDecoder(MapDecoder):
    """Dense layers, then levels of residual blocks and of a 3x3 convolution of the map with each pixel repeated 2 x 2.

    Args:
        image_shape: (H, W, C).
        filters: channels as in the encoder, so they are used in reverse; at least one.
        blocks: residual blocks of each level.
        hidden: width of the dense layer.
        activation: a Keras activation name.
        skips: whether z enters every level: a linear map of z is added to its channels (Dieng et al., 2019).

    Source: He et al. (2016), Identity mappings in deep residual networks, figure 4(e); for the doubling, Odena, Dumoulin and Olah (2016).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        filters: tuple[int, ...] = (32, 64, 64),
        blocks: int = 1,
        hidden: int = 256,
        activation: str = "swish",
        skips: bool = False,
    ):
        _check(filters, blocks)
        widths = (filters[-1], *reversed(filters))
        levels = [keras.Sequential([*_blocks(n, blocks, activation), DoublingConv(out)]) for n, out in pairwise(widths)]
        super().__init__(image_shape, filters, dense((hidden,), activation), keras.layers.Dense, levels, skips)
        self.last = keras.Sequential(_normalized(activation))

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, H, W, F] of latents [N, D]."""
        return self.last(super().call(z))


@final
class Residual(keras.layers.Layer):
    """h + f(h), f twice: group normalization, activation, 3x3 convolution, the last one with a tenth of the usual weights at the start.

    Args:
        filters: channels of h.
        activation: a Keras activation name.

    Source: He et al. (2016), Identity mappings in deep residual networks, figure 4(e); Wu and He (2018), section 3.
    """

    def __init__(self, filters: int, activation: str):
        super().__init__()
        small = keras.initializers.VarianceScaling(0.01)
        self.branch = keras.Sequential(
            [
                *_normalized(activation),
                keras.layers.Conv2D(filters, 3, padding="same"),
                *_normalized(activation),
                keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=small),
            ]
        )

    def call(self, h: tf.Tensor) -> tf.Tensor:
        """Return maps of the shape of h [N, H, W, filters]."""
        return h + self.branch(h)


@final
class _GroupNorm(keras.layers.Layer):
    """Zero mean and unit variance over a group of channels of one example, then a scale and an offset of each channel.

    `keras.layers.GroupNormalization` computes the same more slowly and in 3 times as many ONNX nodes.
    """

    def build(self, shape: tf.TensorShape) -> None:
        channels = shape[-1]
        groups = max(n for n in range(1, _MOST_GROUPS + 1) if channels % n == 0 and (n == 1 or channels // n >= _LEAST_GROUP))
        self.member = np.repeat(np.eye(groups, dtype=np.float32), channels // groups, axis=0)  # [C, groups]
        self.scale = self.add_weight("scale", (channels,), initializer="ones")
        self.offset = self.add_weight("offset", (channels,), initializer="zeros")

    def call(self, h: tf.Tensor) -> tf.Tensor:
        deviation = h - self._mean(h)
        return deviation * (self.scale * tf.math.rsqrt(self._mean(deviation**2) + _EPSILON)) + self.offset

    def _mean(self, h: tf.Tensor) -> tf.Tensor:
        """Mean of each channel's group, [N, 1, 1, C]: first over the map, so that only a vector is averaged over channels."""
        groups = tf.reduce_mean(h, [1, 2]) @ (self.member / self.member.sum(0))
        return tf.matmul(groups, self.member, transpose_b=True)[:, None, None]


def _blocks(filters: int, blocks: int, activation: str) -> list[keras.layers.Layer]:
    return [Residual(filters, activation) for _ in range(blocks)]


def _normalized(activation: str) -> list[keras.layers.Layer]:
    return [_GroupNorm(), keras.layers.Activation(activation_of(activation))]


def _check(filters: tuple[int, ...], blocks: int) -> None:
    check_widths("filters", filters)
    if not 0 <= blocks <= _MOST_BLOCKS:
        raise ConfigError(f"`blocks` must be from 0 to {_MOST_BLOCKS}, got {blocks}.")
