"""Convolutional encoders and decoders."""

from functools import partial
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.networks.layers import DoublingConv, MapDecoder, activated, check_widths, dense

__all__ = ["ConvDecoder", "ConvEncoder"]

_halve = partial(keras.layers.Conv2D, kernel_size=3, strides=2, padding="same")


@final
class ConvEncoder(keras.layers.Layer):
    """3x3 convolutions, each halving height and width, then a dense layer.

    Args:
        filters: channels of each convolution; at least one.
        hidden: width of the dense layer.
        activation: a Keras activation name, or "gated", in which case each layer is h = a * sigmoid(b) with a and b linear.

    Source: Radford, Metz and Chintala (2016), section 3; for the gate, Dauphin et al. (2017), equation 1.
    """

    def __init__(self, *, filters: tuple[int, ...] = (32, 64), hidden: int = 256, activation: str = "relu"):
        super().__init__(name="encoder")
        check_widths("filters", filters)
        convolutions = [activated(_halve, n, activation) for n in filters]
        self.body = keras.Sequential([*convolutions, keras.layers.Flatten(), *dense((hidden,), activation)])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return features [B, hidden] of images [B, H, W, C]."""
        return self.body(x)


@final
class ConvDecoder(MapDecoder):
    """Dense layers, then 3x3 convolutions of the map with each pixel repeated 2 x 2, which doubles height and width.

    A transposed convolution with a 3x3 or 4x4 kernel would print a checkerboard.

    Args:
        image_shape: (H, W, C).
        filters: channels as in the encoder, so they are used in reverse; at least one.
        hidden: width of the dense layer.
        activation: as in `ConvEncoder`.
        skips: whether z enters every level: a linear map of z is added to its channels (Dieng et al., 2019).

    Source: Radford, Metz and Chintala (2016), section 3; for the doubling, Odena, Dumoulin and Olah (2016).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        filters: tuple[int, ...] = (32, 64),
        hidden: int = 256,
        activation: str = "relu",
        skips: bool = False,
    ):
        check_widths("filters", filters)
        super().__init__(
            image_shape,
            filters,
            dense((hidden,), activation),
            lambda size: activated(keras.layers.Dense, size, activation),
            [activated(DoublingConv, n, activation) for n in reversed(filters)],
            skips,
        )
