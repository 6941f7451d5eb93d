"""Dense encoders and decoders."""

from collections.abc import Sequence
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
        activation: a Keras activation name, or "gated", in which case each layer is h = a * sigmoid(b) with a and b linear.

    Source: Kingma and Welling (2014), appendix C; for the gate, Dauphin et al. (2017), equation 1.
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
        skips: whether z enters every level: it is appended to what each layer returns (Dieng et al., 2019).

    Source: Kingma and Welling (2014), appendix C; for the gate, Dauphin et al. (2017), equation 1.
    """

    def __init__(self, *, hidden: tuple[int, ...] = (300, 300), activation: str = "relu", skips: bool = False):
        super().__init__(name="decoder")
        layers = dense(hidden, activation)
        self.body = _Skipping(layers) if skips else keras.Sequential(layers)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return features [N, F] of latents [N, D]."""
        return self.body(z)


@final
class _Skipping(keras.layers.Layer):
    def __init__(self, layers: Sequence[keras.layers.Layer]):
        super().__init__()
        self.layers = list(layers)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        h = z
        for layer in self.layers:
            h = tf.concat([layer(h), z], -1)
        return h
