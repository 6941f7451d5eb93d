"""Normal posteriors."""

from typing import final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.posterior.base import ParametricPosterior

__all__ = ["DiagonalNormal", "FullNormal"]

tfd, tfpl = tfp.distributions, tfp.layers


@final
class DiagonalNormal(ParametricPosterior):
    """q(z | x) = N(z; loc(x), diag(scale(x)^2)), scale = softplus(.) + 1e-5.

    Source: Kingma and Welling (2014), equation 9.
    """

    @property
    def params_size(self) -> int:
        """2 D: loc and unconstrained scale."""
        return tfpl.IndependentNormal.params_size(self.latent_dim)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Return what `tfpl.IndependentNormal` makes of the parameters."""
        return tfpl.IndependentNormal.new(parameters, self.latent_dim)

    def from_noise(self, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Return loc + scale eps."""
        q = self.make_distribution(parameters)
        return q.mean() + q.stddev() * eps

    def terms(self, q: tfd.Distribution, z: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return log q of each dimension, one [..., D]."""
        return (q.distribution.log_prob(z),)


@final
class FullNormal(ParametricPosterior):
    """q(z | x) = N(z; loc(x), L(x) L(x)^T), L lower triangular with diagonal softplus(.) + 1e-5.

    Source: Kingma and Welling (2019), section 2.5.1, equations 2.34 to 2.36.
    """

    lacks = {
        "kl_terms": "its dimensions depend on each other: choose `model.posterior=diagonal-normal`, or count by layer",
        "log_q_pairs": "its dimensions depend on each other: choose `model.posterior=diagonal-normal`",
    }

    @property
    def params_size(self) -> int:
        """D + D (D + 1) / 2: loc and unconstrained L."""
        return tfpl.MultivariateNormalTriL.params_size(self.latent_dim)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Return what `tfpl.MultivariateNormalTriL` makes of the parameters."""
        return tfpl.MultivariateNormalTriL.new(parameters, self.latent_dim)

    def from_noise(self, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Return loc + L eps."""
        q = self.make_distribution(parameters)
        return q.loc + tf.linalg.matvec(q.scale_tril, eps)
