"""The generator G: eps -> p(x | z), what leaves the building."""

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.condition import Condition
from vae_tf.errors import ConfigError
from vae_tf.likelihood import Likelihood
from vae_tf.prior import FromNoise, Prior

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
        decoder: z, and the condition beside it if there is one [N, D + K] -> features.
        likelihood: features -> p(x | z).
        condition: what a label is; None where images have none.
    """

    def __init__(self, prior: Prior, decoder: keras.layers.Layer, likelihood: Likelihood, condition: Condition | None = None):
        super().__init__(name="generator")
        self.prior, self.decoder, self.likelihood, self.condition = prior, decoder, likelihood, condition
        self.from_noise: FromNoise = prior.from_noise

    @property
    def noise_layout(self) -> dict[str, int]:
        """What the coordinates of eps are for: name -> how many, in their order."""
        return self.prior.noise_layout

    @property
    def noise_dim(self) -> int:
        """Number of coordinates of eps."""
        return sum(self.noise_layout.values())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.likelihood.image_shape

    def frozen(self) -> "Generator":
        """Return the generator as the weights are now, needing nothing of the encoder: what is exported."""
        frozen = Generator(self.prior, self.decoder, self.likelihood, self.condition)
        frozen.from_noise = self.prior.frozen()
        return frozen

    def decode(self, z: tf.Tensor, label: tf.Tensor | None = None, training: bool = False) -> tfd.Distribution:
        """Return p(x | z), batch [...], event [H, W, C].

        Args:
            z: latents [..., D].
            label: one for each z, or one for each of the last batch axis, [B] or [B, K]; None where images have none.
            training: Keras's flag for the decoder's layers.
        """
        if self.condition is not None:
            z = tf.concat([z, self.beside(z, label)], -1)
        if z.shape.rank == 2:
            return self.likelihood(self.decoder(z, training=training))
        flat = tf.reshape(z, [-1, z.shape[-1]])
        return self.likelihood(self.decoder(flat, training=training), batch_shape=tf.shape(z)[:-1])

    def beside(self, values: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor | None:
        """Return the condition [..., K] once for each row of values [..., D]; None where images have no labels.

        Raises:
            ConfigError: a label is missing, or there is one too many.
        """
        if (self.condition is None) != (label is None):
            raise ConfigError(f"`label` must be {'left out: images have none' if self.condition is None else 'given: images have one'}.")
        if self.condition is None:
            return None
        shape = tf.concat([tf.shape(values)[:-1], [self.condition.size]], 0)
        return tf.broadcast_to(self.condition(tf.convert_to_tensor(label)), shape)

    def __call__(self, eps: tf.Tensor, label: tf.Tensor | None = None) -> tfd.Distribution:
        """Return p(x | from_noise(eps)), batch [...], event [H, W, C].

        Args:
            eps: [..., noise_dim] float32.
            label: as in `decode`.
        """
        eps = tf.convert_to_tensor(eps)
        return self.decode(self.from_noise(eps, self.beside(eps, label)), label)

    def draw(self, eps: tf.Tensor, uniform: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        """Return one draw x ~ p(x | z) per row, a function of two noises.

        Args:
            eps: [..., noise_dim] float32, N(0, I).
            uniform: [..., H, W, C] float32, strictly inside (0, 1).
            label: as in `decode`.

        Returns:
            [..., H, W, C] float32.
        """
        return self.likelihood.draw(self(eps, label), uniform)
