"""What every objective sees, and what it answers."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import ClassVar, final

import tensorflow as tf

from vae_tf.errors import ConfigError

__all__ = ["Draw", "Objective", "check_at_least", "check_choice", "check_samples"]

_MOST_SAMPLES = 10_000


def _untold() -> tf.Tensor:
    raise ConfigError("`draw` does not tell this; a draw of a model does.")


@final
@dataclass(frozen=True)
class Draw:
    """S samples z ~ q(z | x) for each of B images, their log densities in nats, and what else may be asked about them.

    The first five are there; the others are computed when an objective calls them, so nobody pays for what is not used.

    Attributes:
        x: [B, H, W, C], the images that are to be explained.
        z: [S, B, D].
        log_q: [S, B], log q(z | x).
        log_prior: [S, B], log p(z).
        log_likelihood: [S, B], log p(x | z).
        log_q_path: () -> [S, B], the values of `log_q`; its gradient reaches the encoder through z alone, not through the parameters of q.
        kl_terms: () -> one [S, B, d] per stochastic layer, top first: log q - log p of each latent dimension given the layers above, or of
            the layer as a whole (d = 1) where it has no independent dimensions. Their sum is log_q - log_prior.
        log_q_pairs: () -> [B, B, D], log q(z_id | x_j) of each latent dimension d: the first sample of image i under the posterior of j.
        mean: () -> [B, D], E_q[z | x].
        prior_sample: () -> [B, D], z ~ p(z), other noise at each step.
        slope: () -> [S, B, D], the derivative of log w = log p(x | z) + log p(z) - log q(z | x) by z, with the parameters of q held.
    """

    x: tf.Tensor
    z: tf.Tensor
    log_q: tf.Tensor
    log_prior: tf.Tensor
    log_likelihood: tf.Tensor
    log_q_path: Callable[[], tf.Tensor] = _untold
    kl_terms: Callable[[], tuple[tf.Tensor, ...]] = _untold
    log_q_pairs: Callable[[], tf.Tensor] = _untold
    mean: Callable[[], tf.Tensor] = _untold
    prior_sample: Callable[[], tf.Tensor] = _untold
    slope: Callable[[], tf.Tensor] = _untold

    def log_weights(self) -> tf.Tensor:
        """Return log w = log p(x | z) + log p(z) - log q(z | x), [S, B]."""
        return self.log_likelihood + self.log_prior - self.log_q

    def log_weights_path(self) -> tf.Tensor:
        """Return log w [S, B] with the gradient of `log_q_path`."""
        return self.log_likelihood + self.log_prior - self.log_q_path()


class Objective:
    """A bound on log p(x), or what stands in its place, to be maximised. Subclasses are frozen dataclasses.

    Attributes:
        samples: S, the number of posterior samples per image.
        over_batch: whether the bound of an image depends on the other images of its batch.
    """

    samples: int
    over_batch: ClassVar[bool] = False

    @property
    def settled_at(self) -> int:
        """The optimizer step from which on the objective no longer changes; 0 without a schedule."""
        return 0

    @property
    def needs(self) -> frozenset[str]:
        """Those of a draw's questions (`log_q_path`, `kl_terms` by dimension, `log_q_pairs`) that not every piece can answer."""
        return frozenset()

    @abstractmethod
    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return the bound per example, [B] in nats, at optimizer step `step`."""


def check_at_least(name: str, value: float, lower: float) -> None:
    """Refuse a number that is not finite or below `lower`.

    Raises:
        ConfigError: it is.
    """
    if not lower <= value < inf:
        raise ConfigError(f"`{name}` must be finite and at least {lower}, got {value}.")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is none of `choices`.

    Raises:
        ConfigError: it is not.
    """
    if value not in choices:
        raise ConfigError(f"`{name}` must be {' or '.join(map(repr, choices))}, got {value!r}.")


def check_samples(samples: int) -> None:
    """Refuse an impossible number of samples.

    Raises:
        ConfigError: it is below 1 or above 10,000.
    """
    if not 1 <= samples <= _MOST_SAMPLES:
        raise ConfigError(f"`samples` must be from 1 to {_MOST_SAMPLES}, got {samples}; all samples of a batch are in memory at once.")
