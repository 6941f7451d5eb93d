"""The evidence lower bound, with a weight on its KL."""

from dataclasses import dataclass
from typing import Literal, final

import tensorflow as tf

from vae_tf.errors import ConfigError
from vae_tf.objective.base import Draw, Objective, check_at_least, check_choice, check_samples
from vae_tf.schedule import linear_rise

__all__ = ["Elbo"]


@final
@dataclass(frozen=True, kw_only=True)
class Elbo(Objective):
    """E_q[log p(x | z)] - beta KL(q(z | x) || p(z)), by S samples; beta rises linearly from 0 to `weight`.

    Args:
        weight: beta after the warm-up, at least 0; 1 is the evidence lower bound, others are no bound on log p(x).
        warmup_steps: optimizer steps until beta reaches `weight`, at least 0 (`warmup_epochs` in a configuration).
        cycles: how often beta rises, at least 1; between two rises it stays at `weight` for another `warmup_steps`.
        samples: S, from 1 to 10,000.
        gradient: of log q with respect to the encoder: "path", through z alone, or "total". Both are unbiased, since the part that "path"
            leaves out has mean zero; its noise vanishes where q is the exact posterior, and it keeps more latent dimensions in use.

    Raises:
        ConfigError: a value is out of range.

    Source: Kingma and Welling (2014), equation 2; weight: Higgins et al. (2017), equation 4; warm-up: Bowman et al. (2016), section 3.1;
    cycles: Fu et al. (2019); path gradient: Roeder, Wu and Duvenaud (2017), equation 8.
    """

    weight: float = 1.0
    warmup_steps: int = 0
    cycles: int = 1
    samples: int = 1
    gradient: Literal["path", "total"] = "path"

    def __post_init__(self):
        check_at_least("weight", self.weight, 0)
        check_at_least("warmup_steps", self.warmup_steps, 0)
        check_at_least("cycles", self.cycles, 1)
        if self.cycles > 1 and self.warmup_steps == 0:
            raise ConfigError(f"`cycles` above 1 need a warm-up to repeat, got {self.cycles} with `warmup_steps` 0; set `warmup_epochs`.")
        check_samples(self.samples)
        check_choice("gradient", self.gradient, ("path", "total"))

    @property
    def settled_at(self) -> int:
        """The end of the last rise."""
        return (2 * self.cycles - 1) * self.warmup_steps

    @property
    def needs(self) -> frozenset[str]:
        """The path gradient, where it is used."""
        return frozenset({"log_q_path"} if self.gradient == "path" else ())

    def beta(self, step: tf.Tensor) -> tf.Tensor | float:
        """Return the weight of the KL at `step`, scalar float32."""
        return self.weight * linear_rise(step, self.warmup_steps, self.cycles)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s[log p(x | z_s) + beta (log p(z_s) - log q(z_s | x))], [B]."""
        log_q = draw.log_q_path() if self.gradient == "path" else draw.log_q
        beta = tf.cast(self.beta(step), log_q.dtype)
        return tf.reduce_mean(draw.log_likelihood + beta * (draw.log_prior - log_q), 0)
