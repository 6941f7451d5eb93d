"""Images of few grey levels, as numbers of successes."""

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import gammaln

from vae_tf.errors import ConfigError, DataError
from vae_tf.likelihood.base import Likelihood

__all__ = ["Binomial"]

tfd = tfp.distributions


@final
class Binomial(Likelihood):
    """p(x | z) = prod_i Binomial(k_i; n, p_i), k = n x, n = levels - 1, p = sigmoid(logits(z)).

    Suits images of few grey levels; one level above black is exactly `Bernoulli`.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2; x is a multiple of 1 / (levels - 1).

    Raises:
        ConfigError: `levels` is missing or below 2.
    """

    discrete = True

    def __init__(self, image_shape: tuple[int, int, int], levels: int | None):
        super().__init__(image_shape)
        if levels is None or levels < 2:
            raise ConfigError(f"`levels` must be at least 2 for a binomial likelihood, got {levels}; images of real values need `normal`.")
        self.levels = levels

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits."""
        return tfd.Independent(_BinomialShare(self.levels - 1, parameters), 3)

    def check(self, x: np.ndarray) -> None:
        """Refuse values that are no multiple of 1 / (levels - 1)."""
        super().check(x)
        if not np.allclose(x * (self.levels - 1), np.round(x * (self.levels - 1)), atol=1e-3):
            raise DataError(
                f"`x` must hold multiples of 1/{self.levels - 1} for a binomial likelihood of {self.levels} levels, got values between; "
                "choose `model.likelihood=normal`, or quantize the images."
            )


class _BinomialShare(tfd.Distribution):
    """k / n for k ~ Binomial(n, sigmoid(logits)); a scaled `tfd.Binomial`, since TFP scales densities only."""

    def __init__(self, total_count: int, logits: tf.Tensor):
        parameters = dict(locals())
        self.total_count, self.logits = total_count, logits
        # log(n over k) for all k, in float64: float32 lgamma near n = 255 is off by 1e-4 nats a pixel.
        k = np.arange(total_count + 1)
        self._log_choose = (gammaln(total_count + 1) - gammaln(k + 1) - gammaln(total_count - k + 1)).astype(np.float32)
        super().__init__(
            tf.float32, tfp.distributions.NOT_REPARAMETERIZED, validate_args=False, allow_nan_stats=True, parameters=parameters
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"total_count": tfp.util.ParameterProperties(), "logits": tfp.util.ParameterProperties()}

    def _event_shape(self):
        return tf.TensorShape([])

    def _mean(self):
        return tf.sigmoid(self.logits)

    def _log_prob(self, x):
        return self._log_pmf(x * self.total_count, self.logits)

    def _log_pmf(self, k, logits):
        # k log p + (n - k) log(1 - p) = k logits - n softplus(logits)
        return k * logits - self.total_count * tf.nn.softplus(logits) + tf.gather(self._log_choose, tf.cast(tf.round(k), tf.int32))

    def _quantile(self, uniform):
        # min {k : F(k) >= u}, by counting the levels with F(k) < u
        pmf = tf.exp(self._log_pmf(tf.range(self.total_count, dtype=tf.float32), self.logits[..., None]))
        return tf.reduce_sum(tf.cast(tf.cumsum(pmf, axis=-1) < uniform[..., None], tf.float32), -1) / self.total_count

    def _sample_n(self, n, seed=None):
        uniform = tf.random.stateless_uniform(tf.concat([[n], tf.shape(self.logits)], 0), tfp.random.sanitize_seed(seed))
        return self._quantile(uniform)
