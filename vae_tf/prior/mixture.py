"""Mixture priors."""

from collections.abc import Mapping
from typing import ClassVar, final

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.mixture import MOST_COMPONENTS, choose
from vae_tf.prior.base import Prior
from vae_tf.topdown import LEAST_SCALE

__all__ = ["MixturePrior"]

tfd = tfp.distributions


@final
class MixturePrior(Prior, keras.layers.Layer):
    """p(z) = sum_k w_k N(z; loc_k, diag(scale_k^2)), all learned.

    Args:
        latent_dim: D.
        components: number of normals, from 1 to 10,000.

    Raises:
        ConfigError: `components` is out of range.

    Source: Dilokthanakul et al. (2016); Tomczak and Welling (2018), section 5.1, "MoG".
    """

    lacks: ClassVar[Mapping[str, str]] = {
        "kl_terms": "its components bind the dimensions together: choose `model.prior=standard-normal`, or `objective.per=layer`"
    }

    def __init__(self, latent_dim: int, *, components: int = 100):
        super().__init__(name="prior", dtype="float32")
        if not 1 <= components <= MOST_COMPONENTS:
            raise ConfigError(f"`components` must be from 1 to {MOST_COMPONENTS}, got {components}.")
        self.latent_dim = latent_dim
        shape = [components, latent_dim]
        self.logits = self.add_weight("logits", [components], initializer="zeros")
        self.loc = self.add_weight("loc", shape, initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.raw_scale = self.add_weight("raw_scale", shape, initializer=keras.initializers.Constant(0.5413))  # softplus^-1(1)

    @property
    def noise_layout(self) -> dict[str, int]:
        """One coordinate that chooses the component, then D."""
        return {"component": 1, "z": self.latent_dim}

    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return loc_k + scale_k eps_(1 ..), k chosen by Phi(eps_0)."""
        chosen = choose(self.logits, eps[..., 0])
        return tf.gather(self.loc, chosen) + tf.gather(self._scale(), chosen) * eps[..., 1:]

    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return logsumexp_k(log w_k + log N_k(z)), [...] for z [..., D]."""
        by_component = tfd.MultivariateNormalDiag(self.loc, self._scale()).log_prob(z[..., None, :])
        return tf.reduce_logsumexp(tf.nn.log_softmax(self.logits) + by_component, -1)

    def _scale(self) -> tf.Tensor:
        return LEAST_SCALE + tf.nn.softplus(self.raw_scale)
