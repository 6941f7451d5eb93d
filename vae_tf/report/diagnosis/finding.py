"""What a diagnosis consists of."""

from dataclasses import dataclass
from typing import final

__all__ = ["Finding"]


@final
@dataclass(frozen=True)
class Finding:
    """Something that a reader should know before trusting, or improving, the model.

    Attributes:
        title: its name.
        seen: what was seen, with numbers.
        means: what that means.
        advice: what to try.
    """

    title: str
    seen: str
    means: str
    advice: str
