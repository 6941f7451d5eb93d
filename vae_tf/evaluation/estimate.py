"""A number with its error."""

from dataclasses import dataclass
from math import floor, inf, log10, sqrt
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
        value, error = (f"{number:.{self.digits}f}" for number in (self.value, self.standard_error))
        return f"{value} +- {error} {self.unit} ({self.images} images, {self.method})"

    @property
    def digits(self) -> int:
        """How many places behind the point are worth printing: two of the error, at least 2, at most 6."""
        if not 0 < self.standard_error < inf:
            return 2
        return min(6, max(2, 1 - floor(log10(self.standard_error))))
