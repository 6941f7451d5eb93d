"""Whether images leave the range of values that a model was trained on: asked of its likelihood."""

import numpy as np
import tensorflow as tf

from export.manifest import BOUNDED, BOUNDED_MEANS, UNBOUNDED, VALUE_RANGE
from vae_tf.likelihood import Likelihood

__all__ = ["image_values"]

_FAR = 10.0  # in unconstrained parameters, far outside the range of values
_TAIL = 1e-6  # below and above which hardly a draw falls
_ROUNDING = 1e-6


def image_values(likelihood: Likelihood) -> str:
    """Return in words what images hold: whether means and draws stay in [0, 1] where parameters and draws are extreme.

    Args:
        likelihood: p(x | z); its map from features does not matter.
    """
    height, width, channels = likelihood.image_shape
    means, draws = [], []
    for parameter in (-_FAR, _FAR):
        px = likelihood.make_distribution(tf.fill([1, height, width, likelihood.params_per_pixel], parameter))
        means += [px.mean()]
        draws += [likelihood.draw(px, tf.fill([1, height, width, channels], uniform)) for uniform in (_TAIL, 1 - _TAIL)]
    if not _stays(means):
        return UNBOUNDED
    return BOUNDED if _stays(draws) else BOUNDED_MEANS


def _stays(values: list[tf.Tensor]) -> bool:
    least, largest = VALUE_RANGE
    return bool(np.min(values) >= least - _ROUNDING and np.max(values) <= largest + _ROUNDING)
