"""Posteriors over several layers of latents, drawn from the top down."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, final

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.chain import Chain, perceptron
from vae_tf.errors import ConfigError
from vae_tf.networks.layers import dense
from vae_tf.posterior.base import ParametricPosterior, Posterior
from vae_tf.posterior.normal import DiagonalNormal
from vae_tf.pushforward import Pushforward
from vae_tf.topdown import normal_of, pull_layers, push_layers

__all__ = ["Conditional", "Hierarchical", "Ladder"]

tfd = tfp.distributions

#: (layer below the top, from 1; latents of all layers above [..., D']) -> loc and scale [..., d] of p(z | what is above)
Conditional = Callable[[int, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class _TopDown(Posterior):
    """q(z_L | x) q(z_(L-1) | x, z_L) .. , each a diagonal normal."""

    lacks: ClassVar[Mapping[str, str]] = {
        "log_q_pairs": "the layers bind its dimensions together: choose `model.posterior=diagonal-normal`"
    }

    def __init__(self, latent_dims: tuple[int, ...]):
        if len(latent_dims) < 2:
            raise ConfigError(
                f"a posterior of layers needs at least 2 of them, got `latent_dim` {list(latent_dims)}; give one size for each, top first, "
                "such as [20, 40], or choose `model.posterior=diagonal-normal`."
            )
        super().__init__(sum(latent_dims))
        self.latent_dims = tuple(latent_dims)
        self.top_posterior = DiagonalNormal(latent_dims[0])

    @property
    def top(self) -> ParametricPosterior:
        """q(z_L | x)."""
        return self.top_posterior

    @abstractmethod
    def levels(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Return what each layer sees of x, top first, [B, F] each."""

    @abstractmethod
    def level(self, index: int, seen: tf.Tensor, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return loc and scale [..., d] of the layer `index` below the top, from what it sees [..., F] and what is above [..., D']."""

    def top_features(self, features: tf.Tensor) -> tf.Tensor:
        """Return what the top layer sees of x."""
        return self.levels(features)[0]

    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """Return q(z | x), batch [B], event [D] with the layers side by side, top first."""
        seen = self.levels(features)
        q_top = self.top_posterior(seen[0])
        top = q_top.distribution.loc, q_top.distribution.scale

        def layer(index: int, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if index == 0:
                return top
            shape = tf.concat([tf.shape(above)[:-1], [seen[index].shape[-1]]], 0)
            return self.level(index, tf.broadcast_to(seen[index], shape), above)

        def push(eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return push_layers(layer, tf.split(eps, self.latent_dims, -1))

        def pull(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return pull_layers(layer, tf.split(z, self.latent_dims, -1))

        return Pushforward(self.latent_dim, tf.shape(features)[:-1], push, pull)

    def draw(self, q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Push eps once, for both."""
        return q.draw(eps)

    def terms(self, q: tfd.Distribution, z: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return log q of each dimension given the layers above, one [..., d] per layer."""
        return tuple(tf.split(q.log_prob_terms(z), self.latent_dims, -1))


@final
class Hierarchical(_TopDown):
    """q(z | x) = q(z_L | x) prod_l q(z_l | x, z above l), normals whose parameters are networks of features of x and of what is above.

    Args:
        latent_dims: size of each layer, top first; at least 2 layers.
        hidden: widths of the hidden layers of each network below the top.
        activation: a Keras activation name, or "gated".

    Raises:
        ConfigError: there are fewer than 2 layers, or an option is out of range.

    Source: Tomczak and Welling (2018), section 4, equations 15 and 16.
    """

    def __init__(self, latent_dims: tuple[int, ...], *, hidden: tuple[int, ...] = (300,), activation: str = "relu"):
        super().__init__(latent_dims)
        self.networks = [perceptron(hidden, activation, 2 * size) for size in latent_dims[1:]]

    def levels(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Return the same features for each layer."""
        return [features] * len(self.latent_dims)

    def level(self, index: int, seen: tf.Tensor, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what the network makes of features and of the latents above, side by side."""
        return normal_of(self.networks[index - 1](tf.concat([seen, above], -1)))


@final
class Ladder(_TopDown):
    """q(z_l | x, z above) = N, the product of what x says, N(loc_x, scale_x^2), and of what the prior says, p(z_l | z above).

    Each layer sees x through one more step of a deterministic path from the bottom up.

    Args:
        latent_dims: size of each layer, top first; at least 2 layers.
        conditional: loc and scale of the prior's p(z_l | z above), or None where the prior has none.
        hidden: widths of the deterministic steps from one layer to the next.
        activation: a Keras activation name, or "gated".

    Raises:
        ConfigError: there are fewer than 2 layers, the prior has none, or an option is out of range.

    Source: Sonderby et al. (2016), equations 8 to 13 and 17 to 19.
    """

    def __init__(
        self, latent_dims: tuple[int, ...], conditional: Conditional | None, *, hidden: tuple[int, ...] = (300,), activation: str = "relu"
    ):
        super().__init__(latent_dims)
        if conditional is None:
            raise ConfigError(
                "a ladder combines what x says with what the prior says of each layer, and this prior has no layers; "
                "choose `model.prior=top-down`, or `model.posterior=hierarchical`."
            )
        self.conditional = conditional
        self.steps = [Chain(dense(hidden, activation, "float32")) for _ in latent_dims[1:]]
        self.heads = [keras.layers.Dense(2 * size, dtype="float32") for size in latent_dims[1:]]

    def levels(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Return features after all steps for the top layer, and as they are for the bottom layer."""
        path = [features]
        for step in self.steps:
            path.append(step(path[-1]))
        return path[::-1]

    def level(self, index: int, seen: tf.Tensor, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the normal with the precisions of both added, and the mean of both weighted by them."""
        loc_x, scale_x = normal_of(self.heads[index - 1](seen))
        loc_p, scale_p = self.conditional(index, above)
        share = tf.square(scale_p) / (tf.square(scale_x) + tf.square(scale_p))  # of the precision, what x brings
        return loc_p + share * (loc_x - loc_p), scale_x * tf.sqrt(share)
