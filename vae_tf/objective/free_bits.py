"""A KL that costs nothing up to a number of nats."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import tensorflow as tf

from vae_tf.objective.base import Draw, Objective, check_at_least, check_choice, check_samples
from vae_tf.schedule import linear_rise

__all__ = ["FreeBits"]


@final
@dataclass(frozen=True, kw_only=True)
class FreeBits(Objective):
    """E_q[log p(x | z)] - beta sum_g max(free_nats, KL_g), by groups g of latent dimensions; beta rises linearly from 0 to 1.

    KL_g is the mean over the batch, as in the source: a group at or below `free_nats` has no gradient for any example. Each example counts
    its own KL of the groups above and `free_nats` of the others, so that the mean of the examples is the objective: after the warm-up,
    never above the evidence lower bound of the batch.

    Args:
        free_nats: of each group, at least 0; with 0 it is the evidence lower bound.
        per: what a group is: one "dimension" of the latents, one stochastic "layer", or the "whole".
        warmup_steps: optimizer steps until beta is 1, at least 0 (`warmup_epochs` in a configuration).
        samples: S, from 1 to 10,000.

    Raises:
        ConfigError: a value is out of range.

    Source: Kingma et al. (2016), equation 15.
    """

    over_batch: ClassVar[bool] = True
    free_nats: float = 0.5
    per: Literal["dimension", "layer", "whole"] = "dimension"
    warmup_steps: int = 0
    samples: int = 1

    def __post_init__(self):
        check_at_least("free_nats", self.free_nats, 0)
        check_choice("per", self.per, ("dimension", "layer", "whole"))
        check_at_least("warmup_steps", self.warmup_steps, 0)
        check_samples(self.samples)

    @property
    def settled_at(self) -> int:
        """The end of the warm-up."""
        return self.warmup_steps

    @property
    def needs(self) -> frozenset[str]:
        """The KL of each dimension, where it is counted by dimension."""
        return frozenset({"kl_terms"} if self.per == "dimension" else ())

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s log p(x | z_s) - beta sum_g (KL_g where its mean is above `free_nats`, else `free_nats`), [B]."""
        kl = tf.reduce_mean(self._groups(draw), 0)
        beta = tf.cast(linear_rise(step, self.warmup_steps), kl.dtype)
        # A KL is not negative, only its estimate is: where nothing is free, noise must not be clamped.
        counted = tf.where(tf.reduce_mean(kl, 0) > self.free_nats, kl, self.free_nats) if self.free_nats else kl
        return tf.reduce_mean(draw.log_likelihood, 0) - beta * tf.reduce_sum(counted, -1)

    def _groups(self, draw: Draw) -> tf.Tensor:
        """Return log q - log p of each group, [S, B, G]."""
        if self.per == "whole":
            return (draw.log_q - draw.log_prior)[..., None]
        if self.per == "layer":
            return tf.stack([tf.reduce_sum(terms, -1) for terms in draw.kl_terms()], -1)
        return tf.concat(draw.kl_terms(), -1)
