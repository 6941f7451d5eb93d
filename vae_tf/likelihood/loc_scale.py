"""What families of a location and one scale share: the scale is chosen by hand, or learned."""

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.likelihood.base import Likelihood, positive

__all__ = ["FixedScale", "LearnedScale"]

tfd = tfp.distributions


class FixedScale(Likelihood):
    """p(x | z) = prod_i f(x_i; loc_i(z), scale), with one scale for all values, chosen by hand.

    Args:
        image_shape: (H, W, C).
        scale: of the family, in units of the value range [0, 1], at least 1e-6.

    Raises:
        ConfigError: `scale` is below 1e-6 or not finite.
    """

    family: ClassVar[Any]  # (loc, scale) -> tfd.Distribution

    def __init__(self, image_shape: tuple[int, int, int], *, scale: float = 0.1):
        super().__init__(image_shape)
        self.scale = positive("scale", scale)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as loc."""
        return tfd.Independent(self.family(parameters, self.scale), 3)


class LearnedScale(Likelihood):
    """p(x | z) = prod_i f(x_i; loc_i(z), scale), with one scale for all values, learned with the other weights.

    Args:
        image_shape: (H, W, C).
        initial_scale: of the family at the start, above `min_scale`.
        min_scale: the scale never falls below it; densities stay finite on images that are reconstructed exactly.

    Raises:
        ConfigError: a scale is below 1e-6 or not finite, or `initial_scale` is not above `min_scale`.
    """

    family: ClassVar[Any]  # (loc, scale) -> tfd.Distribution

    def __init__(self, image_shape: tuple[int, int, int], *, initial_scale: float = 0.5, min_scale: float = 0.01):
        super().__init__(image_shape)
        self.min_scale = positive("min_scale", min_scale)
        if not min_scale < initial_scale < np.inf:
            raise ConfigError(f"`initial_scale` must be finite and above `min_scale`={min_scale:g}, got {initial_scale:g}.")
        start = keras.initializers.Constant(np.log(initial_scale - min_scale))
        # Owned by the distribution layer, which Keras wants to know the weights that it uses.
        self.log_excess = self.distribution.add_weight("log_excess", shape=(), initializer=start)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as loc."""
        return tfd.Independent(self.family(parameters, self.min_scale + tf.exp(self.log_excess)), 3)
