"""A probability for each grey level, whatever their order."""

from typing import final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import ConfigError
from vae_tf.likelihood.grey import GreyDistribution, GreyLikelihood, chosen_level, softmax

__all__ = ["Categorical"]

tfd = tfp.distributions

_MOST_LOGITS = 2**20  # per image: 4 MB of float32; 32 x 32 RGB images of 256 levels have three quarters of it


@final
class Categorical(GreyLikelihood):
    """p(x | z) = prod_i softmax(logits_i(z))_{k_i}, k = (levels - 1) x.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2.

    Raises:
        ConfigError: `levels` is missing or below 2, or H * W * C * levels is above 2^20.

    Source: van den Oord, Kalchbrenner and Kavukcuoglu (2016), Pixel recurrent neural networks.
    """

    def __init__(self, image_shape: tuple[int, int, int], levels: int | None):
        super().__init__(image_shape, levels)
        height, width, _ = self.image_shape
        size = height * width * self.params_per_pixel
        if size > _MOST_LOGITS:
            raise ConfigError(
                f"`levels` * height * width * channels must be at most {_MOST_LOGITS:,} for a categorical likelihood, got {size:,}; "
                "choose `model.likelihood=discretized-logistic-mixture`, or smaller images."
            )

    @property
    def params_per_pixel(self) -> int:
        """A logit for each level of each channel."""
        return self.image_shape[-1] * self.levels

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits, the levels innermost."""
        shape = tf.concat([tf.shape(parameters)[:-1], [self.image_shape[-1], self.levels]], 0)
        return tfd.Independent(_Levels(self.levels - 1, tf.reshape(parameters, shape)), 3)


@final
class _Levels(GreyDistribution):
    def __init__(self, top: int, logits: tf.Tensor):
        self.logits = logits
        super().__init__(top, logits=logits)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"top": tfp.util.ParameterProperties(), "logits": tfp.util.ParameterProperties(event_ndims=1)}

    def _values(self):
        return tf.range(self.top + 1, dtype=tf.float32) / self.top

    def _mean(self):
        return tf.reduce_sum(softmax(self.logits) * self._values(), -1)

    def _variance(self):
        return tf.reduce_sum(softmax(self.logits) * (self._values() - self._mean()[..., None]) ** 2, -1)

    def _log_prob(self, x):
        return tfd.Categorical(self.logits).log_prob(tf.cast(tf.round(x * self.top), tf.int32))

    def _quantile(self, uniform):
        return chosen_level(softmax(self.logits), uniform) / self.top
