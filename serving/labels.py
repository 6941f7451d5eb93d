"""What a client says of labels: one per row, or one for all."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from serving.description import Metadata
from serving.errors import InvalidArgumentError
from serving.manifest import TensorSpec

__all__ = ["for_each", "label_spec", "rows_of"]


def label_spec(model: str, metadata: Metadata, label: ArrayLike | None) -> TensorSpec | None:
    """Return the input of a model that takes a label, None if there is none.

    Args:
        model: Name of the model.
        metadata: Of the model.
        label: What is to be sent.

    Raises:
        InvalidArgumentError: The label is missing, or the model takes none.
    """
    signature = metadata.signatures.get("serving_default")
    spec = signature.inputs.get("label") if signature else None
    if spec is None and label is not None:
        raise InvalidArgumentError(f"`label` must be left out: {model} takes none")
    if spec is not None and label is None:
        raise InvalidArgumentError(f"`label` must be given: {model} takes {_kind(spec)} for each image, for example {_example(spec)}")
    return spec


def for_each(count: int, label: ArrayLike | None, spec: TensorSpec | None) -> np.ndarray | None:
    """Return the labels of `count` images, [count] or [count, K]; None where the model takes none.

    Args:
        count: Number of images.
        label: One for all images, or one for each.
        spec: From `label_spec`.

    Raises:
        InvalidArgumentError: The label has another shape, or is no whole number where it is a class.
    """
    if label is None or spec is None:
        return None
    label, shape = np.asarray(label), spec.shape[1:]
    if spec.dtype == "int32" and not np.issubdtype(label.dtype, np.integer):
        raise InvalidArgumentError(f"`label` must be {_kind(spec)} for each image, a whole number, got {label.dtype}")
    if label.size == math.prod(shape):
        return np.broadcast_to(label.reshape(shape), (count, *shape))
    if label.shape != (count, *shape):
        raise InvalidArgumentError(
            f"`label` must be {_kind(spec)} for all images, or an array {[count, *shape]} for each, got {list(label.shape)}"
        )
    return label


def rows_of(z: np.ndarray, label: ArrayLike | None) -> list[Any]:
    """Return one JSON value per row of a request.

    Args:
        z: [B, D].
        label: [B] or [B, K], or one class for all; None without.

    Raises:
        InvalidArgumentError: The label is no array of numbers with one row per row of `z`.
    """
    if label is None:
        return z.tolist()
    label = np.asarray(label)
    if not np.issubdtype(label.dtype, np.number):
        raise InvalidArgumentError(f"`label` must hold numbers, got {label.dtype}")
    if not label.ndim:
        label = np.broadcast_to(label, len(z))
    if len(label) != len(z):
        raise InvalidArgumentError(f"`label` must have one row per row of `z`, {len(z)}, got {list(label.shape)}")
    return [{"z": row, "label": of_row} for row, of_row in zip(z.tolist(), label.tolist())]


def _example(spec: TensorSpec) -> str:
    if len(spec.shape) == 1:
        return "`--label 0`; MODEL_CARD.md of the model lists the classes"
    zeros = ",".join(["0"] * min(spec.shape[1], 4))
    return f"`--label {zeros}{',...' if spec.shape[1] > 4 else ''}`"


def _kind(spec: TensorSpec) -> str:
    return "the number of a class" if len(spec.shape) == 1 else f"{spec.shape[1]} numbers"
