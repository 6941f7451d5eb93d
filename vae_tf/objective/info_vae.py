"""The aggregated posterior is led to the prior by samples of both."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal, final

import tensorflow as tf

from vae_tf.errors import ConfigError
from vae_tf.objective.base import Draw, Objective, check_choice, check_samples

__all__ = ["InfoVae"]


@final
@dataclass(frozen=True, kw_only=True)
class InfoVae(Objective):
    """E_q[log p(x | z)] - (1 - alpha) KL(q(z | x) || p(z)) - (alpha + weight - 1) MMD^2(q(z), p(z)).

    MMD^2 = E k(z, z') + E k(u, u') - 2 E k(z, u), z from the batch and u from the prior: the mean of k over all pairs, those of a sample
    with itself too (the V-statistic). So it is never negative, and for B images too large by something of the order 1 / B. It is
    subtracted from every example. With alpha 0 and weight 1 it drops out: the evidence lower bound; others are no bound.

    Args:
        alpha: weight of the information between image and latents, at most 1; with 1 the KL drops out.
        weight: lambda of the source, at least 1 - alpha.
        kernel: k(z, u) with squared distance r and C = 2 D bandwidth^2: "imq", C / (C + r), or "rbf", exp(-r / C).
        bandwidth: above 0; at 1, C is the mean squared distance of two samples of a standard normal prior.
        samples: S, from 1 to 10,000.

    Raises:
        ConfigError: a value is out of range.

    Source: Zhao, Song and Ermon (2019), with MMD as divergence; MMD: Gretton et al. (2012), equation 5; "imq": Tolstikhin et al. (2018),
    section 4.
    """

    over_batch: ClassVar[bool] = True
    alpha: float = 0.0
    weight: float = 1000.0
    kernel: Literal["imq", "rbf"] = "imq"
    bandwidth: float = 1.0
    samples: int = 1

    def __post_init__(self):
        if not -inf < self.alpha <= 1:
            raise ConfigError(
                f"`alpha` must be finite and at most 1, got {self.alpha}; above it, distance from the prior would be rewarded."
            )
        if not 1 <= self.alpha + self.weight < inf:
            raise ConfigError(f"`weight` must be finite and at least 1 - alpha = {1 - self.alpha:g}, got {self.weight}.")
        check_choice("kernel", self.kernel, ("imq", "rbf"))
        if not 0 < self.bandwidth < inf:
            raise ConfigError(f"`bandwidth` must be finite and above 0, got {self.bandwidth}.")
        check_samples(self.samples)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s[log p(x | z_s) - (1 - alpha) (log q(z_s | x) - log p(z_s))] - (alpha + weight - 1) MMD^2, [B]."""
        kl = draw.log_q - draw.log_prior
        bound = tf.reduce_mean(draw.log_likelihood - (1 - self.alpha) * kl, 0)
        return bound - (self.alpha + self.weight - 1) * self.discrepancy(draw.z, draw.prior_sample())

    def discrepancy(self, z: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
        """Return MMD^2, scalar, of z [S, B, D], each s on its own and averaged, and u [B, D]."""
        means = [tf.reduce_mean(self._kernel(*pair)) for pair in ((z, z), (u, u), (z, u))]
        return means[0] + means[1] - 2 * means[2]

    def _kernel(self, z: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
        """Return k of all pairs, [..., B, B]."""
        distance = tf.reduce_sum(z**2, -1)[..., :, None] + tf.reduce_sum(u**2, -1)[..., None, :] - 2 * tf.matmul(z, u, transpose_b=True)
        width = 2 * z.shape[-1] * self.bandwidth**2
        return width / (width + distance) if self.kernel == "imq" else tf.exp(-distance / width)
