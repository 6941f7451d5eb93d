"""The covariance of the aggregated posterior is led to the identity."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import tensorflow as tf

from vae_tf.objective.base import Draw, Objective, check_at_least, check_choice, check_samples

__all__ = ["DipVae"]


@final
@dataclass(frozen=True, kw_only=True)
class DipVae(Objective):
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)) - off_diagonal sum_{i != j} Cov_ij^2 - diagonal sum_i (Cov_ii - 1)^2.

    Cov is a covariance over the batch, divided by its size less one; it is zero for one image alone. The penalty is subtracted from every
    example, so it is never above the evidence lower bound, which it is with both weights 0.

    Args:
        kind: Cov of the posterior means, "i", or of posterior samples, "ii": the covariance of the aggregated posterior.
        off_diagonal: weight of correlations, at least 0.
        diagonal: weight of variances other than 1, at least 0; the source takes 10 times `off_diagonal` for "i", and the same for "ii".
        samples: S, from 1 to 10,000.

    Raises:
        ConfigError: a value is out of range.

    Source: Kumar, Sattigeri and Balakrishnan (2018), equations 5 to 7.
    """

    over_batch: ClassVar[bool] = True
    kind: Literal["i", "ii"] = "ii"
    off_diagonal: float = 10.0
    diagonal: float = 10.0
    samples: int = 1

    def __post_init__(self):
        check_choice("kind", self.kind, ("i", "ii"))
        check_at_least("off_diagonal", self.off_diagonal, 0)
        check_at_least("diagonal", self.diagonal, 0)
        check_samples(self.samples)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s log w_s less the penalty, [B]."""
        z = draw.mean()[None] if self.kind == "i" else draw.z
        covariance = _covariance(z)
        variance = tf.linalg.diag_part(covariance)
        correlation = tf.reduce_sum(tf.linalg.set_diag(covariance, tf.zeros_like(variance)) ** 2)
        penalty = self.off_diagonal * correlation + self.diagonal * tf.reduce_sum((variance - 1) ** 2)
        return tf.reduce_mean(draw.log_weights(), 0) - penalty


def _covariance(z: tf.Tensor) -> tf.Tensor:
    """Return the unbiased covariance over the batch of z [S, B, D], the mean over S, [D, D]."""
    deviation = z - tf.reduce_mean(z, 1, keepdims=True)
    freedom = tf.cast(tf.shape(z)[0] * tf.maximum(tf.shape(z)[1] - 1, 1), z.dtype)
    return tf.einsum("sbi,sbj->ij", deviation, deviation) / freedom
