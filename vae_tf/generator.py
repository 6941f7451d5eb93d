"""The generator G: eps -> p(x | z), what leaves the building."""

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.likelihood import Likelihood
from vae_tf.prior import Prior

__all__ = ["Generator", "noise"]

tfd = tfp.distributions


def noise(count: int, noise_dim: int, seed: int) -> np.ndarray:
    """Return eps ~ N(0, I), [count, noise_dim] float32: the same on every machine, and in every client, for the same seed.

    Args:
        count: number of rows, at least 1.
        noise_dim: coordinates per row.
        seed: at least 0.

    Raises:
        ConfigError: `count` is below 1 or `seed` below 0.
    """
    if count < 1:
        raise ConfigError(f"`count` must be at least 1, got {count}.")
    if seed < 0:
        raise ConfigError(f"`seed` must be at least 0, got {seed}.")
    return np.random.default_rng(seed).standard_normal((count, noise_dim), dtype=np.float32)


@final
class Generator(tf.Module):
    """p(x | z) with z = from_noise(eps), eps ~ N(0, I): prior, decoder and likelihood, and nothing of the encoder.

    Args:
        prior: p(z).
        decoder: z [N, D] -> features.
        likelihood: features -> p(x | z).
    """

    def __init__(self, prior: Prior, decoder: keras.layers.Layer, likelihood: Likelihood):
        super().__init__(name="generator")
        self.prior, self.decoder, self.likelihood = prior, decoder, likelihood

    @property
    def noise_dim(self) -> int:
        """Number of coordinates of eps."""
        return self.prior.noise_dim

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.likelihood.image_shape

    def decode(self, z: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Return p(x | z), batch [...], event [H, W, C], for latents z [..., D]; `training` is Keras's flag for the decoder's layers."""
        if z.shape.rank == 2:
            return self.likelihood(self.decoder(z, training=training))
        flat = tf.reshape(z, [-1, z.shape[-1]])
        return self.likelihood(self.decoder(flat, training=training), batch_shape=tf.shape(z)[:-1])

    def __call__(self, eps: tf.Tensor) -> tfd.Distribution:
        """Return p(x | from_noise(eps)), batch [...], event [H, W, C], for eps [..., noise_dim]."""
        return self.decode(self.prior.from_noise(eps))

    def draw(self, eps: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Return one draw x ~ p(x | z) per row, a function of two noises.

        Args:
            eps: [..., noise_dim] float32, N(0, I).
            uniform: [..., H, W, C] float32, strictly inside (0, 1).

        Returns:
            [..., H, W, C] float32.
        """
        return self.likelihood.draw(self(eps), uniform)
