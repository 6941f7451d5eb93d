"""What every likelihood shares: the map from decoder features to parameters, and the check of images."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError, DataError

__all__ = ["Likelihood", "positive"]

tfd, tfpl = tfp.distributions, tfp.layers

_LEAST_SCALE = 1e-6  # below it, squared deviations in units of the scale overflow float32


class Likelihood(keras.layers.Layer):
    """p(x | z) given decoder features of z; the pixels of one image are independent given z.

    Owns the linear map from features to parameters: dense for flat features [N, F], a 1x1 convolution for maps [N, H, W, F].

    Args:
        image_shape: (H, W, C).

    Raises:
        ConfigError: `image_shape` is no such triple.
    """

    discrete: ClassVar[bool] = False  # whether `log_prob` is the logarithm of a probability (else of a density)

    def __init__(self, image_shape: tuple[int, int, int]):
        super().__init__(name="likelihood", dtype="float32")
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ConfigError(f"`image_shape` must be (height, width, channels), each at least 1, got {image_shape}.")
        height, width, channels = image_shape
        self.image_shape = (height, width, channels)
        self.distribution = tfpl.DistributionLambda(self.make_distribution, convert_to_tensor_fn=tfd.Distribution.mean, dtype="float32")

    @property
    def params_per_pixel(self) -> int:
        """How many parameters describe one pixel, all its channels; one per channel if not overridden."""
        return self.image_shape[-1]

    def build(self, features_shape: tf.TensorShape) -> None:
        """Create the map from features to parameters."""
        height, width, _ = self.image_shape
        size = self.params_per_pixel
        if len(features_shape) == 2:
            self.parameters = keras.layers.Dense(height * width * size, dtype="float32", name="parameters")
        else:
            self.parameters = keras.layers.Conv2D(size, 1, dtype="float32", name="parameters")
        super().build(features_shape)

    def call(self, features: tf.Tensor, batch_shape: tf.Tensor | None = None) -> tfd.Distribution:
        """Return p(x | z), batch `batch_shape`, event [H, W, C].

        Args:
            features: [N, F] or [N, H, W, F] float.
            batch_shape: int vector whose product is N; [N] when None.
        """
        height, width, _ = self.image_shape
        event = [height, width, self.params_per_pixel]
        shape = [-1, *event] if batch_shape is None else tf.concat([batch_shape, event], 0)
        return self.distribution(tf.reshape(self.parameters(features), shape))

    @abstractmethod
    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Return the distribution over images [..., H, W, C].

        Args:
            parameters: [..., H, W, params_per_pixel] float32, unconstrained.
        """

    def draw(self, px: tfd.Distribution, uniform: tf.Tensor) -> tf.Tensor:
        """Return one draw x ~ p(x | z) as a deterministic function of noise, by the inverse distribution function.

        Args:
            px: what this layer returned, batch [...].
            uniform: [..., H, W, C] float32, independent uniform draws strictly inside (0, 1).

        Returns:
            [..., H, W, C] float32.
        """
        return px.distribution.quantile(uniform)

    def check(self, x: np.ndarray) -> None:
        """Refuse images that this likelihood gives no probability.

        Args:
            x: [N, H, W, C] float.

        Raises:
            DataError: a wrong shape, or values outside the support.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image_shape:
            raise DataError(f"`x` must have the shape [N, {', '.join(map(str, self.image_shape))}], got {list(x.shape)}.")
        if len(x) == 0:
            raise DataError("`x` must hold at least one image, got none.")
        if not np.isfinite(x).all():
            raise DataError("`x` must be finite, got NaN or infinity; clean the images first.")
        if x.min() < 0 or x.max() > 1:
            raise DataError(f"`x` must lie in [0, 1], got [{x.min():g}, {x.max():g}]; divide by the largest grey level.")


def positive(name: str, value: float) -> float:
    """Return `value` if it can be a scale of images.

    Raises:
        ConfigError: it is below 1e-6 or not finite.
    """
    if not _LEAST_SCALE <= value < np.inf:
        raise ConfigError(f"`{name}` must be finite and at least {_LEAST_SCALE:g}, got {value:g}; images span [0, 1], so try 0.1.")
    return value
