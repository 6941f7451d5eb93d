"""Posteriors by normalizing flows: a diagonal normal, pushed through invertible maps that see the encoder's features."""

from collections.abc import Mapping
from typing import ClassVar, final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.flows import CouplingFlow, Flow, InverseAutoregressiveFlow
from vae_tf.posterior.base import ParametricPosterior
from vae_tf.pushforward import Pushforward

__all__ = ["CouplingFlowPosterior", "InverseAutoregressivePosterior"]

tfd = tfp.distributions

_LEAST_SCALE = 1e-5
_BOUND = "its dimensions depend on each other: choose `model.posterior=diagonal-normal`"


class _FlowPosterior(ParametricPosterior):
    """z = f(loc(x) + scale(x) eps; h(x)), with f a flow and h(x) its context."""

    def __init__(self, latent_dim: int, flow: Flow, context: int):
        self.context = context
        super().__init__(latent_dim)
        # Owned by the distribution layer, which Keras wants to know the weights that it uses.
        self.distribution.flow = flow

    @property
    def params_size(self) -> int:
        """2 D + context: loc, unconstrained scale, and what the flow sees of x."""
        return 2 * self.latent_dim + self.context

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read loc, unconstrained scale and context."""
        loc, scale, context = self._split(parameters)
        flow, log_scale = self.distribution.flow, tf.math.log(scale)

        def push(eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            z, moved = flow.push(loc + scale * eps, context)
            return z, moved + log_scale  # their order differs, their sum is what counts

        def pull(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            base, moved = flow.pull(z, context)
            return (base - loc) / scale, moved + log_scale

        return Pushforward(self.latent_dim, tf.shape(loc)[:-1], push, pull)

    def from_noise(self, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Return f(loc + scale eps; context)."""
        loc, scale, context = self._split(parameters)
        return self.distribution.flow.push(loc + scale * eps, context)[0]

    def draw(self, q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Push eps once, for both."""
        return q.draw(eps)

    def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        loc, scale, context = tf.split(parameters, [self.latent_dim, self.latent_dim, self.context], -1)
        return loc, _LEAST_SCALE + tf.nn.softplus(scale), context


@final
class CouplingFlowPosterior(_FlowPosterior):
    """z = f_T(.. f_1(loc(x) + scale(x) eps)), each f_t an affine coupling that moves one half of the coordinates by the other and h(x).

    Args:
        latent_dim: D, at least 2.
        layers: T, from 1 to 32.
        hidden: width of the networks in the couplings.
        context: number of values h(x) that the couplings see of x.

    Raises:
        ConfigError: a number is out of range.

    Source: Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8; as a posterior, Rezende and Mohamed (2015), section 4.
    """

    lacks: ClassVar[Mapping[str, str]] = {"kl_terms": f"{_BOUND}, or `objective.per=layer`", "log_q_pairs": _BOUND}

    def __init__(self, latent_dim: int, *, layers: int = 4, hidden: int = 100, context: int = 32):
        super().__init__(latent_dim, CouplingFlow(latent_dim, layers, hidden, context), context)


@final
class InverseAutoregressivePosterior(_FlowPosterior):
    """z = f_T(.. f_1(loc(x) + scale(x) eps)), each f_t an inverse autoregressive layer that also sees h(x).

    Args:
        latent_dim: D.
        layers: T, from 1 to 32.
        hidden: width of the masked networks.
        context: number of values h(x) that the layers see of x.

    Raises:
        ConfigError: a number is out of range.

    Source: Kingma et al. (2016), algorithm 1.
    """

    lacks: ClassVar[Mapping[str, str]] = {
        "kl_terms": f"{_BOUND}, or `objective.per=layer`",
        "log_q_pairs": _BOUND,
        "log_q_path": "its density at a given z takes D passes of the network: choose `objective.gradient=total` (`plain` for importance "
        "weights), or `model.posterior=coupling-flow`",
    }

    def __init__(self, latent_dim: int, *, layers: int = 4, hidden: int = 320, context: int = 32):
        super().__init__(latent_dim, InverseAutoregressiveFlow(latent_dim, layers, hidden, context), context)
