"""Conditions: what a label is, and the vector that encoder, decoder and prior see of it."""

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import tensorflow as tf

from vae_tf.errors import ConfigError, DataError

__all__ = ["CONDITIONS", "Classes", "Condition", "Vector"]

_MOST_CLASSES = 2**16


class Condition(Protocol):
    """p(x | z, y): the kind of the label y."""

    @property
    def size(self) -> int:
        """K, the length of the vector that the networks see."""

    @property
    def label(self) -> tf.TensorSpec:
        """Shape and dtype of a batch of labels: int32 [None] or float32 [None, K]."""

    def __call__(self, label: tf.Tensor) -> tf.Tensor:
        """Return the vectors [..., K] float32 of labels."""

    def check(self, y: np.ndarray) -> None:
        """Refuse labels that are none.

        Raises:
            DataError: a wrong shape, kind or range.
        """


@final
@dataclass(frozen=True)
class Classes:
    """y is one of K classes, seen as a one-hot vector.

    Args:
        label_size: K, the number of classes, at least 2.

    Raises:
        ConfigError: the data have no labels, or one class only.

    Source: Kingma et al. (2014), equation 2; Sohn, Lee and Yan (2015), section 4.
    """

    label_size: int | None

    def __post_init__(self):
        if self.label_size is None or self.label_size < 2:
            found = "images without labels" if self.label_size is None else f"labels of {self.label_size} class"
            raise ConfigError(f"`model.condition` needs images labelled by at least 2 classes, got {found}; leave it out, or add labels.")
        if self.label_size > _MOST_CLASSES:
            raise ConfigError(
                f"`model.condition` takes at most {_MOST_CLASSES} classes, numbered from 0, got {self.label_size}; number the labels anew."
            )

    @property
    def size(self) -> int:
        """The number of classes."""
        return self.label_size or 0

    @property
    def label(self) -> tf.TensorSpec:
        """The class, int32 [None]."""
        return tf.TensorSpec([None], tf.int32, "label")

    def __call__(self, label: tf.Tensor) -> tf.Tensor:
        """Return one-hot vectors [..., K] for classes [...] from 0."""
        return tf.one_hot(tf.cast(label, tf.int32), self.size)

    def check(self, y: np.ndarray) -> None:
        """Refuse what are no class numbers from 0 to K - 1."""
        if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
            raise DataError(
                f"`y` must hold one class number per image, int [N], got {y.dtype} {list(y.shape)}; "
                "take `model.condition=vector` for vectors."
            )
        if len(y) and not 0 <= y.min() <= y.max() < self.size:
            raise DataError(f"`y` must hold classes from 0 to {self.size - 1}, got {y.min()} to {y.max()}.")


@final
@dataclass(frozen=True)
class Vector:
    """y is a vector of K numbers, such as attributes, seen as it is.

    Args:
        label_size: K, at least 1.

    Raises:
        ConfigError: the data have no labels.

    Source: Sohn, Lee and Yan (2015), equation 4.
    """

    label_size: int | None

    def __post_init__(self):
        if self.label_size is None or self.label_size < 1:
            raise ConfigError("`model.condition` needs images labelled by vectors, got images without labels; leave it out, or add labels.")

    @property
    def size(self) -> int:
        """The length of the vector."""
        return self.label_size or 0

    @property
    def label(self) -> tf.TensorSpec:
        """The vector, float32 [None, K]."""
        return tf.TensorSpec([None, self.size], tf.float32, "label")

    def __call__(self, label: tf.Tensor) -> tf.Tensor:
        """Return the labels [..., K] as they are."""
        return tf.cast(label, tf.float32)

    def check(self, y: np.ndarray) -> None:
        """Refuse what are no finite vectors of K numbers."""
        if y.ndim != 2 or y.shape[1] != self.size:
            raise DataError(
                f"`y` must hold one vector of {self.size} numbers per image, [N, {self.size}], got {list(y.shape)}; take "
                "`model.condition=classes` for class numbers."
            )
        if not np.isfinite(y).all():
            raise DataError("`y` must be finite, got NaN or infinity.")


CONDITIONS = {"classes": Classes, "vector": Vector}
