"""Squared error, with its scale: chosen, learned, or of each value."""

from typing import final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.likelihood.base import Likelihood, positive
from vae_tf.likelihood.loc_scale import FixedScale, LearnedScale

__all__ = ["Normal", "NormalLearnedScale", "NormalPixelScale"]

tfd = tfp.distributions


@final
class Normal(FixedScale):
    """p(x | z) = prod_i N(x_i; loc_i(z), scale^2), with one scale for all values, chosen by hand.

    -log p(x | z) = |x - loc|^2 / (2 scale^2) + const: mean squared error is the special case in which only this scale decides how
    much reconstruction weighs against the KL.

    Args:
        image_shape: (H, W, C).
        scale: standard deviation, in units of the value range [0, 1], at least 1e-6.

    Raises:
        ConfigError: `scale` is below 1e-6 or not finite.

    Source: Kingma and Welling (2014), equation 12.
    """

    family = tfd.Normal


@final
class NormalLearnedScale(LearnedScale):
    """p(x | z) = prod_i N(x_i; loc_i(z), scale^2), with one scale for all values, learned with the other weights.

    Args:
        image_shape: (H, W, C).
        initial_scale: standard deviation at the start, above `min_scale`.
        min_scale: the scale never falls below it; densities stay finite on images that are reconstructed exactly.

    Raises:
        ConfigError: a scale is below 1e-6 or not finite, or `initial_scale` is not above `min_scale`.

    Source: Rybkin, Daniilidis and Levine (2021), section 3.
    """

    family = tfd.Normal


@final
class NormalPixelScale(Likelihood):
    """p(x | z) = prod_i N(x_i; f_mu(z)_i, f_sigma(z)_i^2), both from the network.

    Args:
        image_shape: (H, W, C).
        min_scale: f_sigma = min_scale + softplus(.); without it the density of a pixel that never changes grows without bound.

    Raises:
        ConfigError: `min_scale` is below 1e-6 or not finite.

    Source: Kingma and Welling (2014), equation 12; for the bound on scale, Mattei and Frellsen (2018), proposition 1.
    """

    def __init__(self, image_shape: tuple[int, int, int], *, min_scale: float = 0.01):
        super().__init__(image_shape)
        self.min_scale = positive("min_scale", min_scale)

    @property
    def params_per_pixel(self) -> int:
        """Loc and scale of each channel."""
        return 2 * self.image_shape[-1]

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the first half of the channels as loc, the second as unconstrained scale."""
        loc, scale = tf.split(parameters, 2, axis=-1)
        return tfd.Independent(tfd.Normal(loc, self.min_scale + tf.nn.softplus(scale)), 3)
