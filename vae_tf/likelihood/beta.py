"""Grey values in [0, 1], by a density that can lean on either end, or on both."""

from math import log
from typing import final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import ConfigError
from vae_tf.likelihood.base import Likelihood

__all__ = ["Beta"]

tfd, tfb = tfp.distributions, tfp.bijectors

_MOST_CONCENTRATION = 1e4  # above it, differences of logarithms of the gamma function lose a thousandth of a nat per value in float32


@final
class Beta(Likelihood):
    """p(x | z) = prod_i Beta(y_i; m_i c_i, (1 - m_i) c_i) / (1 + 2 margin), y = (x + margin) / (1 + 2 margin); m(z), c(z) > 1.

    A beta density is zero or infinite at its end points, and images hold many of them. So it is stretched: a density on
    [-margin, 1 + margin], finite on all of [0, 1]. A draw may leave [0, 1] by the margin; the mean, sigmoid(logits(z)), does not.

    Args:
        image_shape: (H, W, C).
        margin: how far the density reaches beyond black and white, in units of the value range, from 1e-6 to 0.5; half a grey level of 256
            by default.
        max_concentration: c lies between 1 and it; without it the density of a pixel that never changes grows without bound. The
            standard deviation is at least sqrt(m (1 - m) / (1 + c)). From 2 to 10,000.

    Raises:
        ConfigError: `margin` or `max_concentration` is out of range.

    Source: Ferrari and Cribari-Neto (2004), for the mean and concentration; Smithson and Verkuilen (2006), for the end points.
    """

    def __init__(self, image_shape: tuple[int, int, int], *, margin: float = 0.5 / 255, max_concentration: float = 1000.0):
        super().__init__(image_shape)
        if not 1e-6 <= margin <= 0.5:
            raise ConfigError(f"`margin` must be from 1e-6 to 0.5, got {margin:g}; half a grey level of 256 is 0.002.")
        if not 2 <= max_concentration <= _MOST_CONCENTRATION:
            raise ConfigError(f"`max_concentration` must be from 2 to {_MOST_CONCENTRATION:,.0f}, got {max_concentration:g}; try 1000.")
        self.margin, self.max_concentration = margin, max_concentration

    @property
    def params_per_pixel(self) -> int:
        """Mean and concentration of each channel."""
        return 2 * self.image_shape[-1]

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the first half of the channels as logits of the mean, the second as unconstrained concentration."""
        logits, concentration = tf.split(parameters, 2, axis=-1)
        width, most = 1 + 2 * self.margin, self.max_concentration - 1
        mean = (tf.sigmoid(logits) + self.margin) / width
        concentration = 1 + most * tf.sigmoid(concentration - log(most))  # 1 + exp(.) far below the maximum
        stretch = tfb.Chain([tfb.Shift(-self.margin), tfb.Scale(width)])
        return tfd.Independent(stretch(_Beta(mean * concentration, (1 - mean) * concentration)), 3)


@final
class _Beta(tfd.Beta):
    """TFP's, with quantiles that are right at 1/2 and near 1."""

    def _quantile(self, value):
        # F^-1(u; a, b) = 1 - F^-1(1 - u; b, a) keeps to the lower half, where 1 - u loses nothing. TFP's search fails at 1/2 and one
        # rounding below it (0.66 for a = b = 0.9), so it is asked a little lower.
        upper = value > 0.5
        a, b = self.concentration1, self.concentration0
        tail = tf.minimum(tf.where(upper, 1 - value, value), 0.4999999)
        below = tfp.math.betaincinv(tf.where(upper, b, a), tf.where(upper, a, b), tail)
        return tf.where(upper, 1 - below, below)
