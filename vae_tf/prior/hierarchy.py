"""Priors over several layers of latents, drawn from the top down."""

from collections.abc import Mapping
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.chain import perceptron
from vae_tf.errors import ConfigError
from vae_tf.prior.base import FromNoise, Prior
from vae_tf.pushforward import normal_terms
from vae_tf.topdown import normal_of

__all__ = ["TopDown"]


@final
class TopDown(Prior, keras.layers.Layer):
    """p(z) = p(z_L) prod_l N(z_l; loc(z above), diag(scale(z above)^2)), networks of all layers above.

    Args:
        latent_dims: size of each layer, top first; at least 2 layers.
        top: p(z_L), of `latent_dims[0]` coordinates.
        hidden: widths of the hidden layers of each network.
        activation: a Keras activation name, or "gated".

    Raises:
        ConfigError: there are fewer than 2 layers, `top` is of another size, or an option is out of range.

    Source: Rezende, Mohamed and Wierstra (2014), equations 1 to 4; Sonderby et al. (2016), equations 1 to 3.
    """

    def __init__(self, latent_dims: tuple[int, ...], top: Prior, *, hidden: tuple[int, ...] = (300,), activation: str = "relu"):
        super().__init__(name="prior", dtype="float32")
        if len(latent_dims) < 2:
            raise ConfigError(
                f"a prior of layers needs at least 2 of them, got `latent_dim` {list(latent_dims)}; give one size for each, top first, "
                "such as [20, 40], or choose `model.prior=standard-normal`."
            )
        if top.latent_dim != latent_dims[0]:
            raise ConfigError(f"`top` must have the {latent_dims[0]} latent dimensions of the top layer, got {top.latent_dim}.")
        self.latent_dims, self.latent_dim, self.top = tuple(latent_dims), sum(latent_dims), top
        self.networks = [perceptron(hidden, activation, 2 * size) for size in latent_dims[1:]]

    @property
    def lacks(self) -> Mapping[str, str]:  # type: ignore[override]
        """What the top lacks."""
        return self.top.lacks

    @property
    def noise_layout(self) -> dict[str, int]:
        """The layout of the top, whose z becomes z_L, then each layer: z_(L-1) .. z_1."""
        count = len(self.latent_dims)
        top = {f"z{count}" if name == "z" else name: size for name, size in self.top.noise_layout.items()}
        return top | {f"z{count - index}": size for index, size in enumerate(self.latent_dims[1:], 1)}

    def conditional(self, index: int, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return loc and scale [..., d] of the layer `index` below the top, given all latents above it [..., D']."""
        return normal_of(self.networks[index - 1](above))

    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return the layers side by side, top first: each loc + scale eps."""
        return self._push(self.top.from_noise, eps, condition)

    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return the sum of the layers' log densities, [...] for z [..., D]."""
        top = self.top.log_prob(z[..., : self.latent_dims[0]], condition)
        return top + tf.add_n([tf.reduce_sum(term, -1) for term in self._below(z)])

    def terms(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """Return those of the top, and log N of each dimension below given the layers above."""
        return (*self.top.terms(z[..., : self.latent_dims[0]], condition), *self._below(z))

    def frozen(self) -> FromNoise:
        """Return `from_noise` under the frozen top."""
        top = self.top.frozen()

        def from_noise(eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
            return self._push(top, eps, condition)

        return from_noise

    def _push(self, top: FromNoise, eps: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        first, *below = tf.split(eps, [sum(self.top.noise_layout.values()), *self.latent_dims[1:]], -1)
        z = top(first, condition)
        for index, noise in enumerate(below, 1):
            loc, scale = self.conditional(index, z)
            z = tf.concat([z, loc + scale * noise], -1)
        return z

    def _below(self, z: tf.Tensor) -> list[tf.Tensor]:
        layers, terms = tf.split(z, self.latent_dims, -1), []
        for index in range(1, len(layers)):
            loc, scale = self.conditional(index, tf.concat(layers[:index], -1))
            terms.append(normal_terms((layers[index] - loc) / scale, tf.math.log(scale)))
        return terms
