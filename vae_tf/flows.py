"""Normalizing flows: chains of invertible maps between noise eps and latents z, both [..., D], given a context [..., C].

`push` and `pull` return, beside the value, log dz_d/deps_d for each coordinate: every map here is triangular in some order.
"""

from abc import abstractmethod
from typing import final

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.chain import perceptron
from vae_tf.errors import ConfigError

__all__ = ["CouplingFlow", "Flow", "InverseAutoregressiveFlow"]

_MOST_LAYERS, _MOST_UNITS = 32, 2**13
_WIDEST = 2.0  # log scales of a coupling lie in (-2, 2)
# A gate starts at sigmoid(2) = 0.88, near the identity, and stays above sigmoid(-2) = 0.12: a density far out is small, never NaN.
_OPEN, _REACH = 2.0, 4.0


class Flow(keras.layers.Layer):
    """A chain of layers, with the order of coordinates reversed between them.

    Args:
        latent_dim: D.
        layers: their number, from 1 to 32.
        hidden: width of the hidden layers of each network, at least 1.
        context_size: C; 0 without a context.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(self, latent_dim: int, layers: int, hidden: int, context_size: int):
        super().__init__(name="flow", dtype="float32")
        if not 1 <= layers <= _MOST_LAYERS:
            raise ConfigError(f"`layers` of a flow must be from 1 to {_MOST_LAYERS}, got {layers}.")
        for name, value, least in (("hidden", hidden, 1), ("context", context_size, 0)):
            if not least <= value <= _MOST_UNITS:
                raise ConfigError(f"`{name}` of a flow must be from {least} to {_MOST_UNITS}, got {value}.")
        self.latent_dim = latent_dim
        self.networks = [self.make_network(latent_dim, hidden, context_size) for _ in range(layers)]

    @abstractmethod
    def make_network(self, latent_dim: int, hidden: int, context_size: int) -> keras.layers.Layer:
        """Return the network of one layer, with its weights."""

    @abstractmethod
    def push_layer(self, network: keras.layers.Layer, eps: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what one layer makes of eps, and the log derivative of each coordinate."""

    @abstractmethod
    def pull_layer(self, network: keras.layers.Layer, z: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the inverse of `push_layer`, with the same log derivative."""

    def push(self, eps: tf.Tensor, context: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Return z [..., D] for eps [..., D], and log |dz/deps| by coordinate [..., D]; context [..., C] or None."""
        total = tf.zeros_like(eps)
        for network in self.networks:
            eps, log_scale = self.push_layer(network, eps, context)
            eps, total = eps[..., ::-1], (total + log_scale)[..., ::-1]
        return eps, total

    def pull(self, z: tf.Tensor, context: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Return eps [..., D] for z [..., D], and the log |dz/deps| of `push` [..., D]; context [..., C] or None."""
        total = tf.zeros_like(z)
        for network in reversed(self.networks):
            z, total = z[..., ::-1], total[..., ::-1]
            z, log_scale = self.pull_layer(network, z, context)
            total += log_scale
        return z, total


@final
class CouplingFlow(Flow):
    """z_a = eps_a, z_b = eps_b exp(s(eps_a)) + t(eps_a), halves a and b of the coordinates, which change places in each layer.

    Fast in both directions.

    Source: Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8.
    """

    def __init__(self, latent_dim: int, layers: int, hidden: int, context_size: int):
        if latent_dim < 2:
            raise ConfigError(f"a coupling flow needs at least 2 coordinates, one half to move the other, got `latent_dim` {latent_dim}.")
        super().__init__(latent_dim, layers, hidden, context_size)

    def make_network(self, latent_dim: int, hidden: int, context_size: int) -> keras.layers.Layer:
        """Return two hidden layers, and shift and log scale of the second half: zero at first, so that the flow starts as the identity."""
        kept = latent_dim // 2
        network = perceptron((hidden, hidden), "relu", 2 * (latent_dim - kept), kernel_initializer="zeros")
        network(tf.zeros([1, kept + context_size]))  # makes the weights
        return network

    def push_layer(self, network: keras.layers.Layer, eps: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Move the second half."""
        kept, moved, shift, log_scale = self._halves(network, eps, context)
        return tf.concat([kept, moved * tf.exp(log_scale) + shift], -1), tf.concat([tf.zeros_like(kept), log_scale], -1)

    def pull_layer(self, network: keras.layers.Layer, z: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Move the second half back."""
        kept, moved, shift, log_scale = self._halves(network, z, context)
        return tf.concat([kept, (moved - shift) * tf.exp(-log_scale)], -1), tf.concat([tf.zeros_like(kept), log_scale], -1)

    def _halves(self, network: keras.layers.Layer, values: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        kept, moved = tf.split(values, [self.latent_dim // 2, self.latent_dim - self.latent_dim // 2], -1)
        inputs = kept if context is None else tf.concat([kept, _beside(context, kept)], -1)
        shift, raw = tf.split(network(inputs), 2, -1)
        return kept, moved, shift, _WIDEST * tf.tanh(raw / _WIDEST)


@final
class InverseAutoregressiveFlow(Flow):
    """z_d = g_d eps_d + (1 - g_d) m_d, gate g = sigmoid(s + 2), |s| < 4, and m functions of eps_1 .. eps_(d-1).

    `push` takes one pass of the network, `pull` takes D.

    Source: Kingma et al. (2016), equations 10 to 14, and 15 for the gate.
    """

    def make_network(self, latent_dim: int, hidden: int, context_size: int) -> keras.layers.Layer:
        """Return a masked network, MADE, of two hidden layers."""
        return _Masked(latent_dim, hidden, context_size)

    def push_layer(self, network: keras.layers.Layer, eps: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Gate all coordinates at once."""
        target, gate = network(eps, context)
        return target + tf.sigmoid(gate) * (eps - target), tf.math.log_sigmoid(gate)

    def pull_layer(self, network: keras.layers.Layer, z: tf.Tensor, context: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Find one more coordinate of eps in each of D passes."""

        def one_more(eps: tf.Tensor) -> tf.Tensor:
            target, gate = network(eps, context)
            return target + (z - target) * tf.exp(-tf.math.log_sigmoid(gate))

        # eps is right up to coordinate d after d passes, since what stands later does not enter.
        (eps,) = tf.while_loop(
            lambda eps: True, lambda eps: (one_more(eps),), (tf.zeros_like(z),), maximum_iterations=self.latent_dim, parallel_iterations=1
        )
        return eps, tf.math.log_sigmoid(network(eps, context)[1])


@final
class _Masked(keras.layers.Layer):
    """Two numbers for each coordinate, functions of the coordinates before it and of the context.

    Source: Germain et al. (2015), equations 8 to 13.
    """

    def __init__(self, latent_dim: int, hidden: int, context_size: int):
        super().__init__(dtype="float32")
        coordinate = np.arange(1, latent_dim + 1)
        unit = np.arange(hidden) % max(latent_dim - 1, 1) + 1  # the last coordinate that a hidden unit may see
        sees = [coordinate[:, None] <= unit, unit[:, None] <= unit, np.tile(unit[:, None] < coordinate, 2)]
        self.masks = [mask.astype(np.float32) for mask in sees]
        self.kernels = [self.add_weight(f"kernel_{i}", mask.shape) for i, mask in enumerate(self.masks)]
        self.biases = [self.add_weight(f"bias_{i}", mask.shape[1:], initializer="zeros") for i, mask in enumerate(self.masks)]
        self.views = [self.add_weight(f"view_{i}", [context_size, hidden]) for i in range(2)] if context_size else []

    def call(self, eps: tf.Tensor, context: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        values = eps
        for i, (mask, kernel, bias) in enumerate(zip(self.masks, self.kernels, self.biases)):
            values = tf.tensordot(values, mask * kernel, 1) + bias
            if context is not None and i < len(self.views):
                values += tf.tensordot(context, self.views[i], 1)
            if i < len(self.kernels) - 1:
                # TensorFlow fuses ReLU or ELU with this sum into a node that it then can not run; swish it leaves alone.
                values = tf.nn.silu(values)
        target, gate = tf.split(values, 2, -1)
        return target, _OPEN + _REACH * tf.tanh(gate / _REACH)


def _beside(context: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Return the context [..., C] once for each row of values [..., D]."""
    return tf.broadcast_to(context, tf.concat([tf.shape(values)[:-1], [context.shape[-1]]], 0))
