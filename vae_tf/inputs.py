"""What Keras hands over: images, what the encoder sees in their place, labels and weights."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.condition import Condition
from vae_tf.errors import DataError
from vae_tf.likelihood import Likelihood

__all__ = ["Batch", "check", "labels", "unpack"]


_NOTHING = object()


class Batch(NamedTuple):
    """B examples."""

    x: tf.Tensor  # [B, H, W, C], to be explained
    given: tf.Tensor | None  # [B, H, W, C], what the encoder sees in their place
    label: tf.Tensor | None  # [B] or [B, K]
    weight: tf.Tensor | None  # [B]


def unpack(data: Any, condition: Condition | None) -> Batch:
    """Return the parts of a batch: x, (x, y) or (x, y, sample_weight), with x images or a pair (given, images).

    Args:
        data: what Keras gives to a step.
        condition: of the model; without one, labels are ignored.
    """
    x, label, weight = keras.utils.unpack_x_y_sample_weight(data)
    given, x = x if isinstance(x, tuple | list) else (None, x)
    given, x = (None if images is None else tf.cast(images, tf.float32) for images in (given, x))
    weight = None if weight is None else tf.reshape(tf.cast(weight, tf.float32), [tf.shape(x)[0]])
    return Batch(x, given, None if condition is None else label, weight)


def check(data: Any, likelihood: Likelihood, condition: Condition | None, beside: Any = _NOTHING) -> None:
    """Check arrays, and the first batch of a dataset, against the likelihood's support and the condition; let other data pass.

    Args:
        data: what is given to `fit` or `evaluate`, or a batch or dataset of them: x, (x, y) or (x, y, sample_weight).
        likelihood: of the model.
        condition: of the model, or None.
        beside: where `data` is x alone, the y beside it, or None.

    Raises:
        DataError: images outside the support, or labels that are missing or none of the condition's.
    """
    if data is None:
        return
    if isinstance(data, tf.data.Dataset):
        data = next(iter(data.take(1)), ())
    elif beside is not _NOTHING:
        data = (data,) if beside is None else (data, beside)
    images, label, _ = keras.utils.unpack_x_y_sample_weight(data)
    x = images[-1] if isinstance(images, tuple | list) else images  # what the encoder sees in its place may be anything
    if isinstance(x, np.ndarray | tf.Tensor):
        likelihood.check(np.asarray(x))
    if condition is None or not isinstance(x, np.ndarray | tf.Tensor):
        return
    if label is None:
        raise DataError("`y` must hold the labels of a model with a condition, got none; fit on (x, y).")
    if isinstance(label, np.ndarray | tf.Tensor):
        condition.check(np.asarray(label))


def labels(label: Any, count: int, condition: Condition | None) -> tf.Tensor | None:
    """Return `count` labels as a tensor, int32 [count] or float32 [count, K]; None where there are none to check.

    Args:
        label: one for all, or one for each.
        count: how many are wanted.
        condition: of the model, or None.

    Raises:
        DataError: they are none of the condition's, or of another number.
    """
    if condition is None or label is None:
        return label  # the generator says what is missing, or too much
    label = np.asarray(label)
    if label.ndim < condition.label.shape.rank:
        label = np.broadcast_to(label, (count, *label.shape))
    condition.check(label)
    if len(label) != count:
        raise DataError(f"`label` must be one for all images, or one for each of the {count}, got {len(label)}.")
    return tf.constant(label, condition.label.dtype)
