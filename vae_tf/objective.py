"""Objectives: from the log densities of one draw to a bound per example, in nats. Higher is better."""

from dataclasses import dataclass
from math import inf, log
from typing import Literal, NamedTuple, Protocol, final

import tensorflow as tf

from vae_tf.errors import ConfigError

__all__ = ["OBJECTIVES", "Draw", "Elbo", "ImportanceWeighted", "Objective"]

_MOST_SAMPLES = 10_000


class Draw(NamedTuple):
    """What an objective sees: S samples z ~ q(z | x) for each of B images, and their log densities in nats."""

    x: tf.Tensor  # [B, H, W, C]
    z: tf.Tensor  # [S, B, D]
    log_q: tf.Tensor  # [S, B] log q(z | x)
    log_q_path: tf.Tensor  # [S, B] the same value; its gradient reaches the encoder through z alone, not through the parameters of q
    log_prior: tf.Tensor  # [S, B] log p(z)
    log_likelihood: tf.Tensor  # [S, B] log p(x | z)


class Objective(Protocol):
    """A bound on log p(x) to be maximised."""

    @property
    def samples(self) -> int:
        """S, the number of posterior samples per image."""

    @property
    def settled_at(self) -> int:
        """The optimizer step from which on the objective no longer changes; 0 without a schedule."""

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return the bound per example, [B] in nats, at optimizer step `step`."""


@final
@dataclass(frozen=True)
class Elbo:
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
        _at_least("weight", self.weight, 0)
        _at_least("warmup_steps", self.warmup_steps, 0)
        _check_samples(self.samples)
        if self.gradient not in ("path", "total"):
            raise ConfigError(f"`gradient` must be 'path' or 'total', got {self.gradient!r}.")

    @property
    def settled_at(self) -> int:
        """The end of the warm-up."""
        return self.warmup_steps

    def beta(self, step: tf.Tensor) -> tf.Tensor | float:
        """Return the weight of the KL at `step`, scalar."""
        if self.warmup_steps == 0:
            return self.weight
        return self.weight * tf.minimum(1.0, tf.cast(step, tf.float32) / self.warmup_steps)

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s[log p(x | z_s) + beta (log p(z_s) - log q(z_s | x))], [B]."""
        log_q = draw.log_q_path if self.gradient == "path" else draw.log_q
        return tf.reduce_mean(draw.log_likelihood + self.beta(step) * (draw.log_prior - log_q), 0)


@final
@dataclass(frozen=True)
class ImportanceWeighted:
    """log (1/S) sum_s p(x, z_s) / q(z_s | x): at least the ELBO, at most log p(x), tighter with more samples.

    Args:
        samples: S, from 1 to 10,000; with 1 it is the ELBO.

    Raises:
        ConfigError: `samples` is out of range.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """

    samples: int = 5

    def __post_init__(self):
        _check_samples(self.samples)

    @property
    def settled_at(self) -> int:
        """0: there is no schedule."""
        return 0

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return logsumexp_s(log w_s) - log S, [B]."""
        return tf.reduce_logsumexp(draw.log_likelihood + draw.log_prior - draw.log_q, 0) - log(self.samples)


OBJECTIVES = {"elbo": Elbo, "iwae": ImportanceWeighted}


def _at_least(name: str, value: float, lower: float) -> None:
    if not lower <= value < inf:
        raise ConfigError(f"`{name}` must be finite and at least {lower}, got {value}.")


def _check_samples(samples: int) -> None:
    if not 1 <= samples <= _MOST_SAMPLES:
        raise ConfigError(f"`samples` must be from 1 to {_MOST_SAMPLES}, got {samples}; all samples of a batch are in memory at once.")
