"""The evidence lower bound, with a weight on its KL."""

from dataclasses import dataclass
from typing import Literal, final

import tensorflow as tf

from vae_tf.errors import ConfigError
from vae_tf.objective.base import Draw, Objective, check_at_least, check_samples

__all__ = ["Elbo"]


@final
@dataclass(frozen=True)
class Elbo(Objective):
    """E_q[log p(x | z)] - beta KL(q(z | x) || p(z)), by S samples; beta rises linearly from 0 to `weight`.

    Args:
        weight: beta after the warm-up, at least 0; 1 is the evidence lower bound, others are no bound on log p(x).
        warmup_steps: optimizer steps until beta reaches `weight`, at least 0 (`warmup_epochs` in a configuration).
        samples: S, from 1 to 10,000.
        gradient: of log q with respect to the encoder: "path", through z alone, or "total". Both are unbiased, since the part that "path"
            leaves out has mean zero; its noise vanishes where q is the exact posterior, and it keeps more latent dimensions in use.

    Raises:
        ConfigError: a value is out of range.

    Source: Kingma and Welling (2014), equation 2; weight: Higgins et al. (2017), equation 4; warm-up: Bowman et al. (2016), section 3.1;
    path gradient: Roeder, Wu and Duvenaud (2017), equation 8.
    """

    weight: float = 1.0
    warmup_steps: int = 0
    samples: int = 1
    gradient: Literal["path", "total"] = "path"

    def __post_init__(self):
        check_at_least("weight", self.weight, 0)
        check_at_least("warmup_steps", self.warmup_steps, 0)
        check_samples(self.samples)
        if self.gradient not in ("path", "total"):
            raise ConfigError(f"`gradient` must be 'path' or 'total', got {self.gradient!r}.")

    @property
    def settled_at(self) -> int:
        """The end of the warm-up."""
        return self.warmup_steps

    @property
    def needs(self) -> frozenset[str]:
        """The path gradient, where it is used."""
        return frozenset({"log_q_path"} if self.gradient == "path" else ())

    def beta(self, step: tf.Tensor) -> tf.Tensor | float:
        """Return the weight of the KL at `step`, scalar."""
        if self.warmup_steps == 0:
            return self.weight
        return self.weight * tf.minimum(1.0, tf.cast(step, tf.float32) / self.warmup_steps)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s[log p(x | z_s) + beta (log p(z_s) - log q(z_s | x))], [B]."""
        log_q = draw.log_q_path() if self.gradient == "path" else draw.log_q
        return tf.reduce_mean(draw.log_likelihood + self.beta(step) * (draw.log_prior - log_q), 0)
