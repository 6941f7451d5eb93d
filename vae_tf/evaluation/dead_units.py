"""log p(x) again, by a decoder that no longer sees the dead latent dimensions.

A dead dimension is held at its mean under the prior wherever the decoder would see it. What the decoder does not see integrates out,

    p'(x) = int p(z) p(x | z_alive, mean of z_dead) dz = int p(z_alive) p(x | z_alive, mean of z_dead) dz_alive

so this is the likelihood of the smaller model that does not have those dimensions at all. It is estimated with the noise of the whole
model, image by image, which makes the difference of the two exact to far less than their own errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.importance import log_weights
from vae_tf.latents import layer_sizes, prior_moments
from vae_tf.model import VAE

__all__ = ["WithoutDeadUnits", "without_dead_units"]


@final
@dataclass(frozen=True)
class WithoutDeadUnits:
    """What is left of log p(x) without the dead latent dimensions.

    Attributes:
        log_likelihood: log p'(x).
        loss: log p(x) - log p'(x), image by image: what the dead dimensions are worth.
    """

    log_likelihood: Estimate
    loss: Estimate


def without_dead_units(
    vae: VAE,
    x: np.ndarray,
    label: np.ndarray | None = None,
    *,
    active: np.ndarray,
    log_likelihood: np.ndarray,
    samples: int,
    seed: int = 0,
    verbose: bool = False,
) -> WithoutDeadUnits | str:
    """Estimate log p(x) with the dead latent dimensions removed.

    Args:
        vae: a trained model.
        x: [N, H, W, C] float32, N at least 2.
        label: [N] or [N, K], if the model has a condition.
        active: [D] bool, as `active_units` gives it; the others are dead.
        log_likelihood: [N], what `log_weights` found for the whole model with the same images, samples and seed.
        samples: S per image, at least 1.
        seed: of the noise.
        verbose: show progress.

    Returns:
        The estimate and the loss; or, in a sentence, why there is none.

    Raises:
        ConfigError: `active` does not have one value per latent dimension, or `log_likelihood` one per image.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    active = np.asarray(active, bool)
    if active.shape != (vae.prior.latent_dim,):
        raise ConfigError(
            f"`active` must hold one value for each of the {vae.prior.latent_dim} latent dimensions, got {list(active.shape)}."
        )
    if np.shape(log_likelihood) != (len(x),):
        raise ConfigError(f"`log_likelihood` must hold one value for each of the {len(x)} images, got {list(np.shape(log_likelihood))}.")
    if active.all():
        return f"all {len(active)} latent dimensions are active, so there is nothing to remove"
    if len(layer_sizes(vae)) > 1:
        return "there are several layers of latents, and what the decoder does not see of one may still steer the layers below"
    if vae.condition is not None and "kl_terms" in vae.prior.lacks:
        return "the prior may be another for each label, and its mean has no closed form"
    values = log_weights(_smaller(vae, active), x, label, samples=samples, seed=seed, verbose=verbose).log_likelihood
    dead = int(np.sum(~active))
    method = f"importance sampling, {samples} posterior samples per image, without the {dead} dead of {len(active)} latent dimensions"
    return WithoutDeadUnits(
        Estimate.over(values, method),
        Estimate.over(log_likelihood - values, "the whole model less that without dead dimensions, same noise"),
    )


def _smaller(vae: VAE, active: np.ndarray) -> VAE:
    """Return a model of the same pieces and weights, except that the decoder no longer sees the dead dimensions."""
    if "kl_terms" in vae.prior.lacks:
        mean = tf.constant(prior_moments(vae.generator)[0], tf.float32)
        decoder = _Blind(vae.decoder, active, lambda z, condition: mean)
    else:  # independent normals, whose noise 0 is their mean
        decoder = _Blind(vae.decoder, active, lambda z, condition: vae.prior.from_noise(tf.zeros_like(z), condition))
    smaller = VAE(vae.encoder, decoder, vae.posterior, vae.likelihood, vae.prior, vae.condition, vae.seed)
    if vae.condition is not None:
        smaller.label_map = vae.label_map
    smaller.compile(objective=vae.objective, jit_compile=vae.jit_compile)
    return smaller


class _Blind(keras.layers.Layer):
    """A decoder to which latents are shown with the dead ones at their mean.

    Args:
        decoder: latents, with the condition beside them if there is one, [N, D + K] -> features.
        active: [D] bool.
        mean: latents [N, D] and condition [N, K] or None -> prior means, that broadcast to [N, D].
    """

    def __init__(self, decoder: keras.layers.Layer, active: np.ndarray, mean: Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]):
        super().__init__(dtype="float32")
        self.decoder, self.active, self.mean = decoder, active, mean

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the decoder's features."""
        z, condition = inputs[:, : len(self.active)], inputs[:, len(self.active) :]
        held = tf.where(self.active, z, self.mean(z, condition if condition.shape[-1] else None))
        return self.decoder(tf.concat([held, condition], -1), training=training)
