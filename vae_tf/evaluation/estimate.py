"""A number with its error."""

from dataclasses import dataclass
from math import sqrt
from typing import final

import numpy as np

__all__ = ["Estimate"]


@final
@dataclass(frozen=True)
class Estimate:
    """A mean over images with its standard error.

    Attributes:
        value: the mean over images.
        standard_error: sample standard deviation over images / sqrt(images).
        images: how many.
        unit: of the value.
        method: how it was estimated.
    """

    value: float
    standard_error: float
    images: int
    unit: str
    method: str

    @classmethod
    def over(cls, per_image: np.ndarray, method: str, unit: str = "nats") -> "Estimate":
        """Average values [N], N at least 2, each image with the same weight."""
        error = float(np.std(per_image, ddof=1)) / sqrt(len(per_image))
        return cls(float(np.mean(per_image)), error, len(per_image), unit, method)

    def __str__(self) -> str:
        return f"{self.value:.2f} +- {self.standard_error:.2f} {self.unit} ({self.images} images, {self.method})"
