"""What every posterior is."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError

__all__ = ["ParametricPosterior", "Posterior"]

tfd, tfpl = tfp.distributions, tfp.layers


class Posterior(keras.layers.Layer):
    """q(z | x) given features of x. Everything stays float32 under mixed precision.

    Attributes:
        latent_dim: D, over all layers.
        noise_dim: the number of coordinates of eps in `draw`.
        lacks: what an objective may ask about a draw (`log_q_path`, `kl_terms`, `log_q_pairs`) and this posterior can not answer, each
            with the reason and what works instead.

    Args:
        latent_dim: D, the number of latent coordinates, at least 1.

    Raises:
        ConfigError: `latent_dim` is below 1.
    """

    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, latent_dim: int):
        super().__init__(name="posterior", dtype="float32")
        if latent_dim < 1:
            raise ConfigError(f"`latent_dim` must be at least 1, got {latent_dim}; 2 can be drawn on paper, 40 suits MNIST.")
        self.latent_dim = latent_dim

    @abstractmethod
    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """Return q(z | x), batch [B], event [D].

        Args:
            features: [B, F] float.
        """

    @property
    def noise_dim(self) -> int:
        """The number of normal coordinates that make one draw."""
        return self.latent_dim

    @abstractmethod
    def draw(self, q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return z [S, B, D] ~ q, whose gradient reaches the parameters of q, and log q(z | x) [S, B].

        Args:
            q: what this layer returned.
            eps: [S, B, noise_dim] ~ N(0, I).
        """

    @abstractmethod
    def terms(self, q: tfd.Distribution, z: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return log q(z | x) in parts, one [..., d] per stochastic layer, top first: by dimension, or as a whole (d = 1).

        Args:
            q: what this layer returned.
            z: [..., D].
        """

    @property
    @abstractmethod
    def top(self) -> "ParametricPosterior":
        """The posterior of the top layer of latents."""

    @abstractmethod
    def top_features(self, features: tf.Tensor) -> tf.Tensor:
        """Return what `top` takes, [B, G], for the encoder's features [B, F]."""


class ParametricPosterior(Posterior):
    """One layer of latents: parameters of x make a distribution, a function of noise.

    A subclass says how many parameters there are and what distribution they make; the linear map from features to parameters is owned
    here. A distribution used as a tensor is its mean: draws are explicit and seeded.

    Args:
        latent_dim: D, at least 1.
    """

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)
        self.distribution = tfpl.DistributionLambda(
            self.make_distribution, convert_to_tensor_fn=tfd.Distribution.mean, dtype="float32", name="distribution"
        )
        self.parameters = keras.layers.Dense(self.params_size, dtype="float32", name="parameters")

    @property
    @abstractmethod
    def params_size(self) -> int:
        """P, the number of parameters of one distribution."""

    @abstractmethod
    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Return the distribution with batch [...] and event [D] of parameters [..., P]."""

    @abstractmethod
    def from_noise(self, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Return z [..., D] ~ q for parameters [..., P] and eps [..., noise_dim] ~ N(0, I): a part of a generator."""

    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """Return q(z | x), batch [B], event [D], for features [B, F]."""
        return self.distribution(self.parameters(features))

    def terms(self, q: tfd.Distribution, z: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return log q(z | x) as a whole, one [..., 1]."""
        return (q.log_prob(z)[..., None],)

    @property
    def top(self) -> "ParametricPosterior":
        """This one: there is one layer."""
        return self

    def top_features(self, features: tf.Tensor) -> tf.Tensor:
        """Return the features as they are."""
        return features
