"""Convolutional encoders and decoders."""

from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.networks.layers import activation_of, check_widths, dense

__all__ = ["ConvDecoder", "ConvEncoder"]


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
        check_widths("filters", filters)
        convolutions = [keras.layers.Conv2D(n, 3, 2, "same", activation=activation_of(activation)) for n in filters]
        self.body = keras.Sequential([*convolutions, keras.layers.Flatten(), *dense((hidden,), activation)])

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
        check_widths("filters", filters)
        self.height, self.width, _ = image_shape
        factor = 2 ** len(filters)
        start = (-(-self.height // factor), -(-self.width // factor), filters[-1])
        self.body = keras.Sequential(
            [
                *dense((hidden, start[0] * start[1] * start[2]), activation),
                keras.layers.Reshape(start),
                *(
                    keras.layers.Conv2DTranspose(n, 3, strides=2, padding="same", activation=activation_of(activation))
                    for n in reversed(filters)
                ),
            ]
        )

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, H, W, F] of latents [N, D]."""
        return self.body(z)[:, : self.height, : self.width]
