"""Pixels that are on or off."""

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import DataError
from vae_tf.likelihood.base import Likelihood

__all__ = ["Bernoulli"]

tfd = tfp.distributions


@final
class Bernoulli(Likelihood):
    """p(x | z) = prod_i p_i^x_i (1 - p_i)^(1 - x_i), p = sigmoid(logits(z)), x_i in {0, 1}.

    Source: Kingma and Welling (2014), equation 11.
    """

    discrete = True

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits."""
        return tfd.Independent(_Bernoulli(logits=parameters, dtype=tf.float32), 3)

    def draw(self, px: tfd.Distribution, uniform: tf.Tensor) -> tf.Tensor:
        """Return 1 where uniform > 1 - p."""
        return tf.cast(uniform > 1 - px.mean(), tf.float32)

    def check(self, x: np.ndarray) -> None:
        """Refuse grey values: their 'Bernoulli log-likelihood' is not the logarithm of any probability."""
        super().check(x)
        if not ((x == 0) | (x == 1)).all():
            raise DataError(
                "`x` must hold only 0 and 1 for a Bernoulli likelihood, got grey values; binarize the images "
                "(`data.binarize=dynamic`), or choose a likelihood of grey values (`model.likelihood=normal`)."
            )


class _Bernoulli(tfd.Bernoulli):
    """TFP's own, whose log density takes two softplus where one will do. All pixels are one axis: loops run along the last."""

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self._logits_parameter_no_checks()
        x, flat = (_joined(tf.cast(values, logits.dtype), logits.shape[-3:]) for values in (event, logits))
        found = x * flat - tf.nn.softplus(flat)
        return tf.reshape(found, tf.concat([tf.shape(found)[:-1], logits.shape[-3:]], 0))


def _joined(images: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Return [..., H W C] of images [..., H, W, C]."""
    return tf.reshape(images, tf.concat([tf.shape(images)[:-3], [shape.num_elements()]], 0))
