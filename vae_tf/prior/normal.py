"""Normal priors."""

from dataclasses import dataclass
from typing import final

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.chain import perceptron
from vae_tf.errors import ConfigError
from vae_tf.prior.base import Prior
from vae_tf.pushforward import normal_terms
from vae_tf.topdown import normal_of

__all__ = ["ConditionalNormal", "StandardNormal"]

tfd = tfp.distributions


@final
@dataclass(frozen=True)
class StandardNormal(Prior):
    """p(z) = N(z; 0, I).

    Args:
        latent_dim: D, at least 1.

    Source: Kingma and Welling (2014), section 3.
    """

    latent_dim: int

    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return eps [..., D] as it is."""
        return eps

    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return -|z|^2 / 2 - D log(2 pi) / 2, [...] for z [..., D]."""
        return tfd.MultivariateNormalDiag(tf.zeros(self.latent_dim)).log_prob(z)

    def terms(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """Return log N(z_d; 0, 1), one [..., D]."""
        return (normal_terms(z, tf.zeros_like(z)),)


@final
class ConditionalNormal(Prior, keras.layers.Layer):
    """p(z | c) = N(z; loc(c), diag(scale(c)^2)), networks of the condition c.

    Args:
        latent_dim: D.
        condition_size: K, the length of the condition, at least 1.
        hidden: widths of the hidden layers; none for a linear map.

    Raises:
        ConfigError: the model has no condition, or a width is out of range.

    Source: Sohn, Lee and Yan (2015), equation 4.
    """

    def __init__(self, latent_dim: int, condition_size: int, *, hidden: tuple[int, ...] = ()):
        super().__init__(name="prior", dtype="float32")
        if not condition_size:
            raise ConfigError(
                "a conditional prior needs a condition, and the model has none; set `model.condition=classes`, "
                "or choose `model.prior=standard-normal`."
            )
        self.latent_dim = latent_dim
        self.network = perceptron(hidden, "relu", 2 * latent_dim)

    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return loc(c) + scale(c) eps."""
        loc, scale = normal_of(self.network(condition))
        return loc + scale * eps

    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return sum_d log N(z_d; loc_d(c), scale_d(c)^2), [...] for z [..., D]."""
        return tf.reduce_sum(self.terms(z, condition)[0], -1)

    def terms(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """Return log N of each dimension, one [..., D]."""
        loc, scale = normal_of(self.network(condition))
        return (normal_terms((z - loc) / scale, tf.math.log(scale)),)
