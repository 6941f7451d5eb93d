"""The VampPrior: the aggregated posterior of learned pseudo-inputs."""

from collections.abc import Callable, Mapping
from math import log
from typing import Any, ClassVar, NamedTuple, final

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.mixture import MOST_COMPONENTS, choose
from vae_tf.prior.base import FromNoise, Prior

__all__ = ["Inference", "VampPrior"]

tfd = tfp.distributions


class Inference(NamedTuple):
    """q(z | x) as functions: what a prior may be made of."""

    parameters: Callable[[tf.Tensor], tf.Tensor]  # images [K, H, W, C] -> parameters [K, P]
    distribution: Callable[[tf.Tensor], tfd.Distribution]  # parameters [..., P] -> batch [...], event [D]
    from_noise: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # parameters [..., P], eps [..., N] -> z [..., D]
    latent_dim: int  # D
    noise_dim: int  # N
    reason: str | None  # why its density at a given z is dear, if it is

    @classmethod
    def of(cls, encoder: Callable[[tf.Tensor], tf.Tensor], posterior: Any) -> "Inference":
        """Return the top layer's posterior, on features of an encoder."""
        top = posterior.top
        return cls(
            lambda x: top.parameters(posterior.top_features(encoder(x))),
            top.make_distribution,
            top.from_noise,
            top.latent_dim,
            top.noise_dim,
            top.lacks.get("log_q_path"),
        )


@final
class VampPrior(Prior, keras.layers.Layer):
    """p(z) = (1/K) sum_k q(z | u_k), pseudo-inputs u_k = sigmoid(.) learned with the other weights.

    Args:
        latent_dim: D.
        image_shape: (H, W, C), of the pseudo-inputs.
        inference: q(z | x).
        condition_size: length of the model's condition, 0 without.
        components: K, from 1 to 10,000.

    Raises:
        ConfigError: a number is out of range; the model has a condition, for a pseudo-input has no label; or the posterior has no density
            at a given z in one pass.

    Source: Tomczak and Welling (2018), equation 9.
    """

    lacks: ClassVar[Mapping[str, str]] = {
        "kl_terms": "its components bind the dimensions together: choose `model.prior=standard-normal`, or `objective.per=layer`"
    }

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        inference: Inference,
        condition_size: int = 0,
        *,
        components: int = 500,
    ):
        super().__init__(name="prior", dtype="float32")
        if not 1 <= components <= MOST_COMPONENTS:
            raise ConfigError(f"`components` must be from 1 to {MOST_COMPONENTS}, got {components}.")
        if condition_size:
            raise ConfigError(
                "a VampPrior takes no condition, since a pseudo-input has no label; choose `model.prior=mixture`, "
                "or a prior that uses the label, `model.prior=conditional-normal`."
            )
        if inference.latent_dim != latent_dim:
            remedy = (
                "choose `model.prior={name: top-down, top: vampprior}`"
                if inference.latent_dim < latent_dim
                else f"the posterior has one layer of {inference.latent_dim}; choose `model.posterior=hierarchical`"
            )
            raise ConfigError(
                f"a VampPrior is a mixture of posteriors of its own size, {latent_dim}, got posteriors of {inference.latent_dim}: {remedy}."
            )
        if inference.reason:
            raise ConfigError(f"a VampPrior needs the density of q(z | x) at any z; {inference.reason}")
        self.latent_dim, self.inference = latent_dim, inference
        # Mostly dark at first, with some grey: near enough to images for their posteriors to differ.
        start = keras.initializers.RandomNormal(mean=-2.0, stddev=1.0)
        self.pseudo_logits = self.add_weight("pseudo_logits", [components, *image_shape], initializer=start)

    @property
    def noise_layout(self) -> dict[str, int]:
        """One coordinate that chooses the component, one more where components are mixtures themselves, then D."""
        inner = self.inference.noise_dim - self.latent_dim
        return {"component": 1} | ({"inner component": inner} if inner else {}) | {"z": self.latent_dim}

    def pseudo_inputs(self) -> tf.Tensor:
        """Return u, [K, H, W, C] in (0, 1)."""
        return tf.sigmoid(self.pseudo_logits)

    def from_noise(self, eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return a draw of q(z | u_k), k chosen by Phi(eps_0)."""
        return _from_noise(self.inference, self._parameters(), eps)

    def log_prob(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return logsumexp_k log q(z | u_k) - log K, [...] for z [..., D]."""
        q = self.inference.distribution(self._parameters())
        return tf.reduce_logsumexp(q.log_prob(z[..., None, :]), -1) - log(self.pseudo_logits.shape[0])

    def frozen(self) -> FromNoise:
        """Return `from_noise` with the parameters of the components as constants."""
        parameters = tf.constant(self._parameters().numpy())

        def from_noise(eps: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
            return _from_noise(self.inference, parameters, eps)

        return from_noise

    def _parameters(self) -> tf.Tensor:
        return self.inference.parameters(self.pseudo_inputs())


def _from_noise(inference: Inference, parameters: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
    chosen = choose(tf.zeros(parameters.shape[0]), eps[..., 0])
    return inference.from_noise(tf.gather(parameters, chosen), eps[..., 1:])
