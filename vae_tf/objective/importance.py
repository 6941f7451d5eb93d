"""Bounds by importance weighting."""

from dataclasses import dataclass
from math import log
from typing import Literal, final

import tensorflow as tf

from vae_tf.errors import ConfigError
from vae_tf.objective.base import Draw, Objective, check_at_least, check_choice, check_samples
from vae_tf.schedule import linear_rise

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
        warmup_steps: optimizer steps, at least 0, over which the factor p(z) / q(z | x) of the weights comes in, its exponent rising
            linearly from 0 to 1 (`warmup_epochs` in a configuration); before its end the objective is no bound. Not with "dreg".

    Raises:
        ConfigError: a value is out of range.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8; "stl": Roeder, Wu and Duvenaud (2017), section 4; "dreg": Tucker et al.
    (2019), equation 8.
    """

    samples: int = 5
    gradient: Literal["plain", "stl", "dreg"] = "plain"
    warmup_steps: int = 0

    def __post_init__(self):
        check_samples(self.samples)
        check_choice("gradient", self.gradient, ("plain", "stl", "dreg"))
        check_at_least("warmup_steps", self.warmup_steps, 0)
        if self.warmup_steps and self.gradient == "dreg":
            raise ConfigError(
                f"`warmup_steps` must be 0 with `gradient` 'dreg', which is derived for the bound itself, got {self.warmup_steps}; "
                "choose 'plain' or 'stl', or leave the warm-up out."
            )

    @property
    def settled_at(self) -> int:
        """The end of the warm-up."""
        return self.warmup_steps

    @property
    def needs(self) -> frozenset[str]:
        """The path gradient, where it is used."""
        return frozenset() if self.gradient == "plain" else frozenset({"log_q_path"})

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return logsumexp_s(log p(x | z_s) + beta (log p(z_s) - log q(z_s | x))) - log S, [B], beta = 1 after the warm-up."""
        log_weights = draw.log_weights() if self.gradient == "plain" else draw.log_weights_path()
        if self.warmup_steps:
            beta = tf.cast(linear_rise(step, self.warmup_steps), log_weights.dtype)
            log_weights = draw.log_likelihood + beta * (log_weights - draw.log_likelihood)
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
