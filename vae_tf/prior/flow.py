"""Priors by normalizing flows."""

from collections.abc import Mapping
from typing import ClassVar, final

import tensorflow as tf
import tf_keras as keras

from vae_tf.flows import CouplingFlow, Flow, InverseAutoregressiveFlow
from vae_tf.prior.base import Prior
from vae_tf.pushforward import normal_terms

__all__ = ["CouplingFlowPrior", "InverseAutoregressivePrior"]


class _FlowPrior(Prior, keras.layers.Layer):
    """z = f(eps), eps ~ N(0, I), with f a flow that sees the condition, if there is one."""

    lacks: ClassVar[Mapping[str, str]] = {
        "kl_terms": "the flow binds the dimensions together: choose `model.prior=standard-normal`, or `objective.per=layer`"
    }

    def __init__(self, flow: Flow):
        super().__init__(name="prior", dtype="float32")
        self.latent_dim, self.flow = flow.latent_dim, flow

    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return f(eps; c), [..., D]."""
        return self.flow.push(eps, condition)[0]

    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return log N(eps; 0, I) - log |dz/deps| at eps = f^-1(z; c), [...] for z [..., D]."""
        return tf.reduce_sum(normal_terms(*self.flow.pull(z, condition)), -1)


@final
class CouplingFlowPrior(_FlowPrior):
    """z = f_T(.. f_1(eps)), each f_t an affine coupling that moves one half of the coordinates by the other.

    Args:
        latent_dim: D, at least 2.
        condition_size: length of the condition, which the networks see; 0 without.
        layers: T, from 1 to 32.
        hidden: width of the networks in the couplings.

    Raises:
        ConfigError: a number is out of range.

    Source: Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8; as a prior, Xu et al. (2019).
    """

    def __init__(self, latent_dim: int, condition_size: int = 0, *, layers: int = 8, hidden: int = 128):
        super().__init__(CouplingFlow(latent_dim, layers, hidden, condition_size))


@final
class InverseAutoregressivePrior(_FlowPrior):
    """z = f_T(.. f_1(eps)), each f_t an inverse autoregressive layer: one pass to draw, D passes for a density.

    Training needs densities, so it takes D times as long in the prior as a coupling flow; generation is as fast.

    Args:
        latent_dim: D.
        condition_size: length of the condition, which the networks see; 0 without.
        layers: T, from 1 to 32.
        hidden: width of the masked networks.

    Raises:
        ConfigError: a number is out of range.

    Source: Kingma et al. (2016), equations 10 to 15.
    """

    def __init__(self, latent_dim: int, condition_size: int = 0, *, layers: int = 2, hidden: int = 64):
        super().__init__(InverseAutoregressiveFlow(latent_dim, layers, hidden, condition_size))
