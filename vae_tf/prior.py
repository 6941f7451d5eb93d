"""Priors p(z), each a deterministic function of standard normal noise: z = from_noise(eps)."""

from dataclasses import dataclass
from typing import Protocol, final

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["PRIORS", "Prior", "StandardNormal"]

tfd = tfp.distributions


class Prior(Protocol):
    """p(z), with the map that makes it from noise."""

    @property
    def latent_dim(self) -> int:
        """D, the number of coordinates of z."""

    @property
    def noise_dim(self) -> int:
        """The number of coordinates of eps."""

    def from_noise(self, eps: tf.Tensor) -> tf.Tensor:
        """Return z [..., D] ~ p(z) for eps [..., noise_dim] ~ N(0, I)."""

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Return log p(z) [...] in nats for z [..., D]."""


@final
@dataclass(frozen=True)
class StandardNormal:
    """p(z) = N(z; 0, I).

    Args:
        latent_dim: D, at least 1.

    Source: Kingma and Welling (2014), section 3.
    """

    latent_dim: int

    @property
    def noise_dim(self) -> int:
        """D: the noise is the latent itself."""
        return self.latent_dim

    def from_noise(self, eps: tf.Tensor) -> tf.Tensor:
        """Return eps [..., D] as it is."""
        return eps

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Return -|z|^2 / 2 - D log(2 pi) / 2, [...] for z [..., D]."""
        return tfd.MultivariateNormalDiag(tf.zeros(self.latent_dim)).log_prob(z)


PRIORS = {"standard-normal": StandardNormal}
