"""Bounds by importance weighting."""

from dataclasses import dataclass
from math import log
from typing import Literal, final

import tensorflow as tf

from vae_tf.objective.base import Draw, Objective, check_choice, check_samples

__all__ = ["ImportanceWeighted"]


@final
@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted(Objective):
    """log (1/S) sum_s p(x, z_s) / q(z_s | x): at least the ELBO, at most log p(x) on average, tighter with more samples.

    Args:
        samples: S, from 1 to 10,000; with 1 it is the ELBO.
        gradient: with respect to the encoder; the value is the bound in any case. "plain" is unbiased, but the more samples, the more of it
            is noise. "dreg" (doubly reparameterized) is unbiased too, and gains from more samples; it costs one more pass back through
            the decoder. "stl" (sticking the landing) leaves log q's own parameters out, which is unbiased with one sample only. The noise
            of "dreg" and "stl" vanishes where q is the exact posterior.

    Raises:
        ConfigError: a value is out of range.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8; "stl": Roeder, Wu and Duvenaud (2017), section 4; "dreg": Tucker et al.
    (2019), equation 8.
    """

    samples: int = 5
    gradient: Literal["plain", "stl", "dreg"] = "plain"

    def __post_init__(self):
        check_samples(self.samples)
        check_choice("gradient", self.gradient, ("plain", "stl", "dreg"))

    @property
    def needs(self) -> frozenset[str]:
        """The path gradient, where it is used."""
        return frozenset() if self.gradient == "plain" else frozenset({"log_q_path"})

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return logsumexp_s(log w_s) - log S, [B]."""
        log_weights = draw.log_weights() if self.gradient == "plain" else draw.log_weights_path()
        bound = tf.reduce_logsumexp(log_weights, 0) - log(self.samples)
        return bound + _second_reparameterization(draw, log_weights) if self.gradient == "dreg" else bound


def _second_reparameterization(draw: Draw, log_weights: tf.Tensor) -> tf.Tensor:
    """Return zeros [B] whose gradient turns the factor v of each sample's path into v^2, v its share of the weights.

    The gradient of the bound by paths alone is sum_s v_s (d log w_s / d z_s) (d z_s / d encoder). What it lacks is the score of q times
    v_s, whose mean is, once more reparameterized, that of (v_s^2 - v_s) along the same path.
    """
    share = tf.nn.softmax(log_weights, 0)[..., None]
    # z - stop(z) is zero, so the factor's own gradient would be too: not to compute it is cheaper.
    slope = tf.stop_gradient((share**2 - share) * draw.slope())
    return tf.reduce_sum(slope * (draw.z - tf.stop_gradient(draw.z)), [0, 2])
