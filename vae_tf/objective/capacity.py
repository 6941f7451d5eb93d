"""A KL that is led along a rising capacity."""

from dataclasses import dataclass
from typing import ClassVar, final

import tensorflow as tf

from vae_tf.objective.base import Draw, Objective, check_at_least, check_samples
from vae_tf.schedule import linear_rise

__all__ = ["ControlledCapacity"]


@final
@dataclass(frozen=True, kw_only=True)
class ControlledCapacity(Objective):
    """E_q[log p(x | z)] - gamma |KL(q(z | x) || p(z)) - C(t)|; C rises linearly from 0 to `capacity` nats.

    The KL in |KL - C| is the mean over the batch. Each example counts its own KL, with the sign of the batch, so that the mean of the
    examples is the objective. No bound on log p(x), unless gamma is 1 and `capacity` 0: the evidence lower bound.

    Args:
        gamma: nats lost for each nat between KL and capacity, at least 0.
        capacity: of the latents in the end, in nats, at least 0.
        capacity_steps: optimizer steps until it is reached, at least 0 (`capacity_epochs` in a configuration).
        samples: S, from 1 to 10,000.

    Raises:
        ConfigError: a value is out of range.

    Source: Burgess et al. (2018), equation 8.
    """

    over_batch: ClassVar[bool] = True
    gamma: float = 100.0
    capacity: float = 25.0
    capacity_steps: int = 0
    samples: int = 1

    def __post_init__(self):
        check_at_least("gamma", self.gamma, 0)
        check_at_least("capacity", self.capacity, 0)
        check_at_least("capacity_steps", self.capacity_steps, 0)
        check_samples(self.samples)

    @property
    def settled_at(self) -> int:
        """The step at which the capacity is reached."""
        return self.capacity_steps

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return mean_s log p(x | z_s) - gamma sign(mean KL - C) (KL - C), [B]."""
        kl = tf.reduce_mean(draw.log_q - draw.log_prior, 0)
        capacity = tf.cast(self.capacity * linear_rise(step, self.capacity_steps), kl.dtype)
        # A KL is not negative, only its estimate is: above a capacity of 0, whatever the noise says.
        above = tf.logical_or(capacity <= 0, tf.reduce_mean(kl) >= capacity)
        return tf.reduce_mean(draw.log_likelihood, 0) - self.gamma * tf.where(above, kl - capacity, capacity - kl)
