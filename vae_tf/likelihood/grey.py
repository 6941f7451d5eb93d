"""What likelihoods of grey levels share: the check of levels, and draws by a search over them."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import ConfigError, DataError
from vae_tf.likelihood.base import Likelihood

__all__ = ["GreyDistribution", "GreyLikelihood", "chosen_level", "least_level", "softmax"]

tfd = tfp.distributions


class GreyLikelihood(Likelihood):
    """p(x | z) over images of grey levels, x_i = k_i / (levels - 1), k_i = 0 .. levels - 1.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2.

    Raises:
        ConfigError: `levels` is missing or below 2.
    """

    discrete = True

    def __init__(self, image_shape: tuple[int, int, int], levels: int | None):
        super().__init__(image_shape)
        if levels is None or levels < 2:
            raise ConfigError(
                f"`levels` must be at least 2 for a likelihood of grey levels, got {levels}; images of real values need one of densities, "
                "such as `model.likelihood=normal`."
            )
        self.levels = levels

    def check(self, x: np.ndarray) -> None:
        """Refuse values that are no multiple of 1 / (levels - 1)."""
        super().check(x)
        top = self.levels - 1
        if not np.allclose(x * top, np.round(x * top), atol=1e-3):
            raise DataError(
                f"`x` must hold multiples of 1/{top} for a likelihood of {self.levels} grey levels, got values between; "
                "choose `model.likelihood=normal`, or quantize the images."
            )


class GreyDistribution(tfd.Distribution):
    """A distribution over grey levels k / top, k = 0 .. top, that is drawn by its quantile function."""

    def __init__(self, top: int, **parameters: Any):
        self.top = top
        super().__init__(
            tf.float32,
            tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"top": top, **parameters},
        )

    @abstractmethod
    def _quantile(self, value: tf.Tensor) -> tf.Tensor: ...

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant(self.event_shape.as_list(), tf.int32)

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor(), self.event_shape_tensor()], 0)
        # The generator's values are multiples of 2^-23: half a step up keeps them off 0.
        return self._quantile(tf.random.stateless_uniform(shape, tfp.random.sanitize_seed(seed), minval=2.0**-24))


def least_level(reached: Callable[[tf.Tensor], tf.Tensor], top: int, like: tf.Tensor) -> tf.Tensor:
    """Return the least level k of 0 .. top with `reached(k)`, by bisection; `top` where none is.

    Args:
        reached: levels [...] float32 -> bool [...], never true and then false as the level grows.
        top: the largest level.
        like: float32 [...], of the shape of the answer.
    """
    low, high = tf.zeros_like(like), tf.fill(tf.shape(like), float(top))
    for _ in range(top.bit_length()):
        middle = tf.floor((low + high) / 2)
        yes = reached(middle)
        low, high = tf.where(yes, low, middle + 1), tf.where(yes, middle, high)
    return high


def chosen_level(probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Return the least level whose distribution function reaches the noise, by halving; never one of probability zero.

    Args:
        probabilities: [..., levels] float32, sum 1.
        uniform: [...] float32, inside (0, 1).

    Returns:
        [...] float32, whole numbers.
    """
    levels = probabilities.shape[-1]
    half = 2 ** (levels - 1).bit_length()
    mass = tf.pad(probabilities, [[0, 0]] * (probabilities.shape.rank - 1) + [[0, half - levels]])
    level = tf.zeros_like(uniform)
    while half > 1:
        half //= 2
        lower, upper = mass[..., :half], mass[..., half:]
        below, above = tf.reduce_sum(lower, -1), tf.reduce_sum(upper, -1)
        target = uniform * (below + above)
        right = target > below
        # Where in its half the noise falls is the noise of the next choice.
        inside = tf.math.divide_no_nan(target - tf.where(right, below, 0.0), tf.where(right, above, below))
        uniform, level = tf.minimum(inside, 1.0), level + tf.where(right, float(half), 0.0)
        mass = tf.where(right[..., None], upper, lower)
    return level


def softmax(logits: tf.Tensor) -> tf.Tensor:
    """Return probabilities along the last axis; `tf.nn.softmax` refuses tensors of more than five axes on some processors."""
    ratios = tf.exp(logits - tf.reduce_max(logits, -1, keepdims=True))
    return ratios / tf.reduce_sum(ratios, -1, keepdims=True)
