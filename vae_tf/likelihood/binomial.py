"""Images of few grey levels, as numbers of successes."""

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import gammaln

from vae_tf.likelihood.grey import GreyDistribution, GreyLikelihood, chosen_level

__all__ = ["Binomial"]

tfd = tfp.distributions


@final
class Binomial(GreyLikelihood):
    """p(x | z) = prod_i Binomial(k_i; n, p_i), k = n x, n = levels - 1, p = sigmoid(logits(z)).

    Suits images of few grey levels; one level above black is exactly `Bernoulli`.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2; x is a multiple of 1 / (levels - 1).

    Raises:
        ConfigError: `levels` is missing or below 2.
    """

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits."""
        return tfd.Independent(_BinomialShare(self.levels - 1, parameters), 3)


@final
class _BinomialShare(GreyDistribution):
    """k / n for k ~ Binomial(n, sigmoid(logits)); a scaled `tfd.Binomial`, since TFP scales densities only."""

    def __init__(self, top: int, logits: tf.Tensor):
        self.logits = logits
        # log(n over k) for all k, in float64: float32 lgamma near n = 255 is off by 1e-4 nats a pixel.
        k = np.arange(top + 1)
        self._log_choose = (gammaln(top + 1) - gammaln(k + 1) - gammaln(top - k + 1)).astype(np.float32)
        super().__init__(top, logits=logits)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"top": tfp.util.ParameterProperties(), "logits": tfp.util.ParameterProperties()}

    def _mean(self):
        return tf.sigmoid(self.logits)

    def _log_prob(self, x):
        return self._log_pmf(x * self.top, self.logits)

    def _log_pmf(self, k, logits):
        # k log p + (n - k) log(1 - p) = k logits - n softplus(logits)
        return k * logits - self.top * tf.nn.softplus(logits) + tf.gather(self._log_choose, tf.cast(tf.round(k), tf.int32))

    def _quantile(self, uniform):
        pmf = tf.exp(self._log_pmf(tf.range(self.top + 1, dtype=tf.float32), self.logits[..., None]))
        return chosen_level(pmf, uniform) / self.top
