"""Posteriors q(z | x): TFP distribution layers that turn encoder features into a distribution over latents."""

from abc import abstractmethod
from typing import final

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError

__all__ = ["POSTERIORS", "DiagonalNormal", "FullNormal", "Posterior"]

tfd, tfpl = tfp.distributions, tfp.layers


class Posterior(keras.layers.Layer):
    """q(z | x) given features of x.

    A subclass names a TFP distribution layer; the linear map from features to its parameters is owned here. Everything
    stays float32 under mixed precision, and a distribution used as a tensor is its mean: draws are explicit and seeded.

    Args:
        latent_dim: D, the number of latent coordinates, at least 1.

    Raises:
        ConfigError: `latent_dim` is below 1.
    """

    def __init__(self, latent_dim: int):
        super().__init__(name="posterior", dtype="float32")
        if latent_dim < 1:
            raise ConfigError(f"`latent_dim` must be at least 1, got {latent_dim}; 2 can be drawn on paper, 40 suits MNIST.")
        self.latent_dim = latent_dim
        self.distribution = self.distribution_layer(latent_dim)
        self.parameters = keras.layers.Dense(self.distribution.params_size(latent_dim), dtype="float32", name="parameters")

    @abstractmethod
    def distribution_layer(self, latent_dim: int) -> tfpl.DistributionLambda:
        """Return the TFP layer that turns parameters [B, P] into a distribution with batch [B] and event [D]."""

    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """Return q(z | x), batch [B], event [D].

        Args:
            features: [B, F] float.
        """
        return self.distribution(self.parameters(features))

    def held(self, features: tf.Tensor) -> tfd.Distribution:
        """Return q(z | x) with its parameters as constants: a log density whose gradient flows through z alone."""
        return self.distribution(tf.stop_gradient(self.parameters(features)))


@final
class DiagonalNormal(Posterior):
    """q(z | x) = N(z; loc(x), diag(scale(x)^2)), scale = softplus(.) + 1e-5.

    Source: Kingma and Welling (2014), equation 9.
    """

    def distribution_layer(self, latent_dim: int) -> tfpl.DistributionLambda:
        """Return `tfpl.IndependentNormal`."""
        return tfpl.IndependentNormal(latent_dim, convert_to_tensor_fn=tfd.Distribution.mean, dtype="float32")


@final
class FullNormal(Posterior):
    """q(z | x) = N(z; loc(x), L(x) L(x)^T), L lower triangular with diagonal softplus(.) + 1e-5.

    Source: Kingma and Welling (2019), section 2.5.1, equations 2.34 to 2.36.
    """

    def distribution_layer(self, latent_dim: int) -> tfpl.DistributionLambda:
        """Return `tfpl.MultivariateNormalTriL`."""
        return tfpl.MultivariateNormalTriL(latent_dim, convert_to_tensor_fn=tfd.Distribution.mean, dtype="float32")


POSTERIORS = {"diagonal-normal": DiagonalNormal, "full-normal": FullNormal}
