"""The distribution of push(eps), eps ~ N(0, I): what flows and hierarchies of latents have in common."""

from collections.abc import Callable
from math import log, pi
from typing import Any, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["Map", "Pushforward", "normal_terms"]

tfd = tfp.distributions

#: One direction of a map: values [..., D] -> (values [..., D], log derivative of each coordinate of z by its own eps [..., D])
Map = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

_DRAWS = 64  # and as many mirrored ones


def normal_terms(eps: tf.Tensor, log_scale: tf.Tensor) -> tf.Tensor:
    """Return log N(eps; 0, 1) - log_scale, [..., D] nats: the log density of each coordinate of z, given those before it."""
    return -0.5 * (tf.square(eps) + log(2 * pi)) - log_scale


@final
class Pushforward(tfd.Distribution):
    """z = push(eps), eps ~ N(0, I), for a triangular map: log p(z) = sum_d log N(eps_d; 0, 1) - log dz_d/deps_d.

    Mean and standard deviation have no closed form: they are averages over 128 fixed draws, mirrored in pairs and of mean
    square 1, so that those of the identity, and the mean of any linear map, are exact.

    Args:
        latent_dim: D.
        batch_shape: of the parameters of the map, int vector.
        push: eps [..., *batch_shape, D] -> z and log dz_d/deps_d.
        pull: its inverse, z -> eps and the same log dz_d/deps_d.

    Source: Rezende and Mohamed (2015), equation 6.
    """

    def __init__(self, latent_dim: int, batch_shape: tf.Tensor, push: Map, pull: Map):
        parameters = dict(locals())
        self.latent_dim, self.push, self.pull = latent_dim, push, pull
        self._rows = batch_shape
        super().__init__(tf.float32, tfd.FULLY_REPARAMETERIZED, validate_args=False, allow_nan_stats=True, parameters=parameters)

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {}

    def log_prob_terms(self, z: tf.Tensor) -> tf.Tensor:
        """Return the log density of each coordinate given those before it, [..., D] for z [..., D]."""
        rows = tf.broadcast_dynamic_shape(tf.shape(z)[:-1], self.batch_shape_tensor())
        return normal_terms(*self.pull(tf.broadcast_to(z, tf.concat([rows, [self.latent_dim]], 0))))

    def draw(self, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return z [..., D] and log p(z) [...] for noise [..., *batch_shape, D], in one pass of the map."""
        z, log_scale = self.push(eps)
        return z, tf.reduce_sum(normal_terms(eps, log_scale), -1)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.latent_dim])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self.latent_dim])

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape(tf.get_static_value(self._rows, partial=True))

    def _batch_shape_tensor(self) -> tf.Tensor:
        return self._rows

    def _noise(self, sample_shape: Any, seed: Any) -> tf.Tensor:
        shape = tf.concat([sample_shape, self.batch_shape_tensor(), [self.latent_dim]], 0)
        return tf.random.stateless_normal(shape, tfp.random.sanitize_seed(seed))

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return self.push(self._noise([n], seed))[0]

    def _sample_and_log_prob(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.draw(self._noise(sample_shape, seed))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(self.log_prob_terms(z), -1)

    def _mean(self) -> tf.Tensor:
        return tf.reduce_mean(self._fixed_draws(), 0)

    def _stddev(self) -> tf.Tensor:
        return tf.math.reduce_std(self._fixed_draws(), 0)

    def _fixed_draws(self) -> tf.Tensor:
        half = np.random.default_rng(0).standard_normal((_DRAWS, self.latent_dim), np.float32)
        half /= np.sqrt(np.mean(np.square(half), 0))
        eps = np.concatenate([half, -half])
        rows = self.batch_shape_tensor()
        eps = tf.reshape(eps, tf.concat([[2 * _DRAWS], tf.ones_like(rows), [self.latent_dim]], 0))
        return self.push(tf.broadcast_to(eps, tf.concat([[2 * _DRAWS], rows, [self.latent_dim]], 0)))[0]
