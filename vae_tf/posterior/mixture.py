"""Mixture posteriors."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import ConfigError
from vae_tf.mixture import MOST_COMPONENTS, choose
from vae_tf.posterior.base import ParametricPosterior

__all__ = ["MixturePosterior"]

tfd = tfp.distributions

_LEAST_SCALE = 1e-5


@final
class MixturePosterior(ParametricPosterior):
    """q(z | x) = sum_k w_k(x) N(z; loc_k(x), diag(scale_k(x)^2)).

    Draws carry gradients to weights, locs and scales by implicit reparameterization.

    Args:
        latent_dim: D.
        components: number of normals, from 1 to 10,000.

    Raises:
        ConfigError: a number is out of range.

    Source: Figurnov, Mohamed and Mnih (2018), equation 9; Morningstar et al. (2021), equation 3.
    """

    lacks: ClassVar[Mapping[str, str]] = {
        "kl_terms": "the components bind its dimensions together: choose `model.posterior=diagonal-normal`, or `objective.per=layer`",
        "log_q_pairs": "the components bind its dimensions together: choose `model.posterior=diagonal-normal`",
    }

    def __init__(self, latent_dim: int, *, components: int = 5):
        if not 1 <= components <= MOST_COMPONENTS:
            raise ConfigError(f"`components` must be from 1 to {MOST_COMPONENTS}, got {components}.")
        self.components = components
        super().__init__(latent_dim)

    @property
    def params_size(self) -> int:
        """K (1 + 2 D): logits of the weights, locs, unconstrained scales."""
        return self.components * (1 + 2 * self.latent_dim)

    @property
    def noise_dim(self) -> int:
        """1 + D: the first coordinate chooses the component."""
        return 1 + self.latent_dim

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read logits of the weights, then locs, then unconstrained scales."""
        logits, loc, scale = self._split(parameters)
        return _Mixture(tfd.Categorical(logits=logits), tfd.Independent(tfd.Normal(loc, scale), 1), reparameterize=True)

    def from_noise(self, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Choose a component by the first coordinate, then return loc_k + scale_k eps."""
        return _chosen(*self._split(parameters), eps)

    def draw(self, q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return `from_noise` with implicit gradients, and its density."""
        return q.draw(eps)

    def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        size = self.components * self.latent_dim
        logits, loc, scale = tf.split(parameters, [self.components, size, size], -1)
        shape = tf.concat([tf.shape(parameters)[:-1], [self.components, self.latent_dim]], 0)
        return logits, tf.reshape(loc, shape), _LEAST_SCALE + tf.nn.softplus(tf.reshape(scale, shape))


class _Mixture(tfd.MixtureSameFamily):
    """With what distribution layers pass on when a draw and its density are asked for together."""

    def draw(self, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return z [..., D] and log q(z) [...] for eps [..., 1 + D]."""
        normals = self.components_distribution.distribution
        z = _chosen(self.mixture_distribution.logits_parameter(), normals.loc, normals.scale, eps)
        z = self._reparameterize_sample(z, self.event_shape_tensor())
        return z, self.log_prob(z)

    def _sample_and_log_prob(self, sample_shape: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        z = self.sample(sample_shape, seed=seed)
        return z, self.log_prob(z)


def _chosen(logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
    """Return loc_k + scale_k eps_1.., [..., D], for the component k that eps_0 chooses, of locs and scales [..., K, D]."""
    chosen = tf.one_hot(choose(logits, eps[..., 0]), logits.shape[-1])[..., None]
    return tf.reduce_sum(chosen * loc, -2) + tf.reduce_sum(chosen * scale, -2) * eps[..., 1:]
