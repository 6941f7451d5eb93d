"""Absolute error, with its scale: chosen, or learned."""

from typing import final

import tensorflow_probability as tfp

from vae_tf.likelihood.loc_scale import FixedScale, LearnedScale

__all__ = ["Laplace", "LaplaceLearnedScale"]

tfd = tfp.distributions


@final
class _Laplace(tfd.Laplace):
    """TFP's, for a scale that has the shape of loc or none; TFP broadcasts the mean by an operation that ONNX lacks."""

    def _mean(self):
        return self.loc


@final
class Laplace(FixedScale):
    """p(x | z) = prod_i exp(-|x_i - loc_i(z)| / scale) / (2 scale), with one scale for all values, chosen by hand.

    Mean absolute error, with its weight against the KL: the mean is the median too, and single values far away pull less than they
    do on `Normal`.

    Args:
        image_shape: (H, W, C).
        scale: mean absolute deviation, in units of the value range [0, 1], at least 1e-6.

    Raises:
        ConfigError: `scale` is below 1e-6 or not finite.

    Source: Laplace (1774).
    """

    family = _Laplace


@final
class LaplaceLearnedScale(LearnedScale):
    """p(x | z) = prod_i exp(-|x_i - loc_i(z)| / scale) / (2 scale), with one scale for all values, learned with the other weights.

    Args:
        image_shape: (H, W, C).
        initial_scale: mean absolute deviation at the start, above `min_scale`.
        min_scale: the scale never falls below it; densities stay finite on images that are reconstructed exactly.

    Raises:
        ConfigError: a scale is below 1e-6 or not finite, or `initial_scale` is not above `min_scale`.

    Source: Laplace (1774); for the learned scale, Rybkin, Daniilidis and Levine (2021), section 3.
    """

    family = _Laplace
