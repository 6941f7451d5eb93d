"""Dense encoders and decoders."""

from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.networks.layers import dense

__all__ = ["MLPDecoder", "MLPEncoder"]


@final
class MLPEncoder(keras.layers.Layer):
    """Dense layers on the flattened image.

    Args:
        hidden: width of each layer; at least one.
        activation: a Keras activation name, or "gated": h = a * sigmoid(b) with a and b linear (Dauphin et al., 2017, equation 1).
    """

    def __init__(self, *, hidden: tuple[int, ...] = (300, 300), activation: str = "relu"):
        super().__init__(name="encoder")
        self.body = keras.Sequential([keras.layers.Flatten(), *dense(hidden, activation)])

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
        self.body = keras.Sequential(dense(hidden, activation))

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, F] of latents [N, D]."""
        return self.body(z)
