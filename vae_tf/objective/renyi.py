"""Bounds by Renyi's divergence."""

from dataclasses import dataclass
from math import isfinite, log
from typing import final

import tensorflow as tf

from vae_tf.errors import ConfigError
from vae_tf.objective.base import Draw, Objective, check_samples

__all__ = ["Renyi"]

_NEAREST = 0.001


@final
@dataclass(frozen=True, kw_only=True)
class Renyi(Objective):
    """1 / (1 - alpha) log (1/S) sum_s (p(x, z_s) / q(z_s | x))^(1 - alpha).

    The smaller alpha, the larger the value for the same samples: it goes to the ELBO as alpha goes to 1, is the importance-weighted bound
    at alpha = 0, and goes to the largest log weight as alpha goes to minus infinity. With infinitely many samples it is
    log p(x) - D_alpha(q(z | x) || p(z | x)): at most log p(x) for alpha above 0, at least log p(x) for alpha below 0. With S samples and
    alpha below 0 the mean is smaller than that, and may lie on either side of log p(x): no bound.

    Args:
        alpha: order of the divergence, at least 0.001 away from 1, where rounding takes over; negative too.
        samples: S, from 1 to 10,000; with 1 it is the ELBO.

    Raises:
        ConfigError: a value is out of range.

    Source: Li and Turner (2016), equations 5 and 8.
    """

    alpha: float = 0.5
    samples: int = 5

    def __post_init__(self):
        if not isfinite(self.alpha) or abs(self.alpha - 1) < _NEAREST:
            raise ConfigError(f"`alpha` must be finite and {_NEAREST} or more away from 1, got {self.alpha}; its limit at 1 is the ELBO.")
        check_samples(self.samples)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return (logsumexp_s((1 - alpha) log w_s) - log S) / (1 - alpha), [B]."""
        power = 1 - self.alpha
        return (tf.reduce_logsumexp(power * draw.log_weights(), 0) - log(self.samples)) / power
