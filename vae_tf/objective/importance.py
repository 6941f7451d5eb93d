"""Bounds by importance weighting."""

from dataclasses import dataclass
from math import log
from typing import final

import tensorflow as tf

from vae_tf.objective.base import Draw, Objective, check_samples

__all__ = ["ImportanceWeighted"]


@final
@dataclass(frozen=True)
class ImportanceWeighted(Objective):
    """log (1/S) sum_s p(x, z_s) / q(z_s | x): at least the ELBO, at most log p(x), tighter with more samples.

    Args:
        samples: S, from 1 to 10,000; with 1 it is the ELBO.

    Raises:
        ConfigError: `samples` is out of range.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """

    samples: int = 5

    def __post_init__(self):
        check_samples(self.samples)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return logsumexp_s(log w_s) - log S, [B]."""
        return tf.reduce_logsumexp(draw.log_weights(), 0) - log(self.samples)
