"""Normal posteriors."""

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.posterior.base import ParametricPosterior

__all__ = ["DiagonalNormal", "FullNormal"]

tfd, tfpl = tfp.distributions, tfp.layers

_LEAST_SCALE = 1e-5


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

    def draw(self, q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return loc + scale eps and its density."""
        z = q.distribution.loc + q.distribution.scale * eps
        return z, q.log_prob(z)

    def terms(self, q: tfd.Distribution, z: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return log q of each dimension, one [..., D]."""
        return (q.distribution.log_prob(z),)


@final
class FullNormal(ParametricPosterior):
    """q(z | x) = N(z; loc(x), L(x) L(x)^T), L lower triangular with diagonal softplus(.) + 1e-5.

    Source: Kingma and Welling (2019), section 2.5.1, equations 2.34 to 2.36.
    """

    lacks: ClassVar[Mapping[str, str]] = {
        "kl_terms": "its dimensions depend on each other: choose `model.posterior=diagonal-normal`, or `objective.per=layer`",
        "log_q_pairs": "its dimensions depend on each other: choose `model.posterior=diagonal-normal`",
    }

    @property
    def params_size(self) -> int:
        """D + D (D + 1) / 2: loc and unconstrained L."""
        return tfpl.MultivariateNormalTriL.params_size(self.latent_dim)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read loc, then unconstrained L, in the order of `tfpl.MultivariateNormalTriL`."""
        return tfd.MultivariateNormalTriL(*self._split(parameters))

    def from_noise(self, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Return loc + L eps."""
        loc, scale_tril = self._split(parameters)
        return loc + tf.linalg.matvec(scale_tril, eps)

    def draw(self, q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return loc + L eps and its density."""
        z = q.loc + q.scale.matvec(eps)
        return z, q.log_prob(z)

    def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # As `tfpl.MultivariateNormalTriL` has them, without its log1p and its band, which have no ONNX counterpart.
        size, loc, free = self.latent_dim, parameters[..., : self.latent_dim], parameters[..., self.latent_dim :]
        index = np.arange(free.shape[-1])
        square = tf.gather(free, np.concatenate([index[size:], index[::-1]]).reshape(size, size), axis=-1)
        return loc, np.tri(size, k=-1, dtype=np.float32) * square + np.eye(size, dtype=np.float32) * (_LEAST_SCALE + tf.nn.softplus(square))
