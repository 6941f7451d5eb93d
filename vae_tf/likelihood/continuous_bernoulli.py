"""Grey values in [0, 1], by a density that has the Bernoulli's form."""

from typing import final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.likelihood.base import Likelihood

__all__ = ["ContinuousBernoulli"]

tfd = tfp.distributions

_LEAST_LOGIT = 1e-6  # closer to 0, the uniform distribution is as good in float32


@final
class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_i C(p_i) p_i^x_i (1 - p_i)^(1 - x_i), p = sigmoid(logits(z)), C(p) = 2 artanh(1 - 2 p) / (1 - 2 p), x_i in [0, 1].

    C makes it a density. The mean is not p: it is 1 / (1 - exp(-logit)) - 1 / logit, nearer to 1/2.

    Args:
        image_shape: (H, W, C).

    Source: Loaiza-Ganem and Cunningham (2019), The continuous Bernoulli.
    """

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits."""
        return tfd.Independent(_ContinuousBernoulli(logits=parameters), 3)


@final
class _ContinuousBernoulli(tfd.ContinuousBernoulli):
    """TFP's, with a mean of operations that ONNX has, and quantiles that stay exact, and in [0, 1], near 1."""

    def _mean(self, logits=None):
        logit = self.logits if logits is None else logits
        # 1 / (1 - exp(-s)) - 1 / s = 1/2 + coth(s / 2) / 2 - 1 / s; near 0 by the series of the difference.
        near = tf.clip_by_value(logit, -1.0, 1.0)
        series = near / 12 * (1 - near**2 / 60 * (1 - near**2 / 42 * (1 - near**2 / 40)))
        far = tf.where(tf.abs(logit) < 1, 1.0, logit)
        return 0.5 + tf.where(tf.abs(logit) < 1, series, 0.5 / tf.tanh(far / 2) - 1 / far)

    def _quantile(self, value, logits=None):
        logit = self.logits if logits is None else logits
        # For s < 0: log(1 + (exp(s) - 1) u) / s; for s > 0 its mirror image, 1 - q(1 - u; -s).
        u, rest = tf.where(logit < 0, value, 1 - value), tf.where(logit < 0, 1 - value, value)
        size = tf.maximum(tf.abs(logit), _LEAST_LOGIT)
        small = -u * tf.math.expm1(-size)
        log_tail = tf.where(small < 0.5, tf.math.log1p(-tf.minimum(small, 0.5)), tf.math.log(rest + u * tf.exp(-size)))
        below = tf.minimum(-log_tail / size, 1.0)
        return tf.where(logit < 0, below, 1 - below)
