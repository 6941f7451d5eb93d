"""What every prior is."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import tensorflow as tf

__all__ = ["FromNoise", "Prior"]

#: (eps [..., noise_dim], condition [..., K] or None) -> z [..., D]
FromNoise = Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]


class Prior:
    """p(z), or p(z | c) given a condition c, with the map that makes it from noise.

    With weights it is a Keras layer, else a frozen dataclass.

    Attributes:
        latent_dim: D, the number of coordinates of z.
        lacks: what an objective may ask about a draw and this prior can not answer, each with the reason and what works instead.
    """

    latent_dim: int
    lacks: ClassVar[Mapping[str, str]] = {}

    @property
    def noise_layout(self) -> dict[str, int]:
        """What the coordinates of eps are for: name -> how many, in their order."""
        return {"z": self.latent_dim}

    @abstractmethod
    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return z [..., D] ~ p(z) for eps [..., sum of the layout] ~ N(0, I) and a condition [..., K] or None."""

    @abstractmethod
    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return log p(z) [...] in nats for z [..., D] and a condition [..., K] or None."""

    def terms(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """Return log p(z) in parts, one [..., d] per stochastic layer, top first: by dimension, or as a whole (d = 1)."""
        return (self.log_prob(z, condition)[..., None],)

    def frozen(self) -> FromNoise:
        """Return `from_noise` as the weights are now, needing nothing of the encoder: what leaves the building."""
        return self.from_noise
