"""What the report is made of: pictures that answer a question each."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from vae_tf.plots import Frame

__all__ = ["Chapter", "Explorer", "Maker", "Picture", "data_uri"]


@final
@dataclass(frozen=True)
class Explorer:
    """Decoded images of a plane, for a pointer on it.

    Attributes:
        sprite: PNG file with side x side images, rows from the largest z_2 down, evenly spaced over `frame`.
        side: images in a row.
        tile: (height, width) of one of them, pixels.
        frame: where the plane is in the picture.
    """

    sprite: bytes
    side: int
    tile: tuple[int, int]
    frame: Frame

    def settings(self) -> dict[str, Any]:
        """Return what the script of the page needs, as plain values."""
        return {"sprite": data_uri("png", self.sprite), "side": self.side, "tile": self.tile, **self.frame._asdict()}


@final
@dataclass(frozen=True)
class Picture:
    """One picture of the report.

    Attributes:
        title: its heading.
        question: what a reader may ask, which the picture answers.
        caption: a few plain sentences with the numbers of this model.
        alt: what a reader who cannot see it should know.
        kind: `png` or `svg+xml`.
        content: the image file.
        explorer: what a pointer on it shows, if anything.
    """

    title: str
    question: str
    caption: str
    alt: str
    kind: str
    content: bytes
    explorer: Explorer | None = None

    @property
    def source(self) -> str:
        """The image as a data URI."""
        return data_uri(self.kind, self.content)


#: What makes a picture when it is its turn, or finds that there is nothing to show.
Maker = Callable[[], Picture | None]


@final
@dataclass(frozen=True)
class Chapter:
    """Pictures that belong together, in their order."""

    title: str
    makers: list[Maker]


def data_uri(kind: str, content: bytes) -> str:
    """Return an image file as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
