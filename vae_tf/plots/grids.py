"""Grids of images, enlarged without smoothing."""

import io
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from vae_tf.files import replacing
from vae_tf.plots.style import plain, styled

__all__ = ["image_grid", "named_rows", "pair_grid", "png", "save_png", "sheet", "spaced_grid"]

_VISIBLE = 56  # pixels: smaller images are enlarged until one side has them
_GAP, _PAIR_GAP = 2, 14  # pixels between images, and between pairs
_MID_GREY = 128
_FONT_ROOM = 0.1  # inches at the sides, for readers whose font is wider than ours


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Lay images out row by row; small ones are enlarged by a whole factor, without smoothing.

    Args:
        images: [N, H, W, C] float, N at least 1, C 1 or 3; values are clipped to [0, 1].
        columns: images per row; None for as many as there are rows.

    Returns:
        uint8 [height, width, C].
    """
    return _lay_out(_visible(images), columns or ceil(sqrt(len(images))), _GAP, _MID_GREY)


def pair_grid(left: np.ndarray, right: np.ndarray, columns: int) -> np.ndarray:
    """Lay pairs of images out row by row, on a transparent ground.

    Args:
        left: [N, H, W, C] float, N at least 1, C 1 or 3; values are clipped to [0, 1].
        right: like `left`.
        columns: pairs per row.

    Returns:
        uint8 [height, width, 4], RGBA.
    """
    pairs = np.stack([_lay_out(pair, 2, _GAP, _MID_GREY) for pair in np.stack([_visible(left), _visible(right)], axis=1)])
    return _lay_out(_opaque(pairs), columns, _PAIR_GAP, 0)


def spaced_grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay images out row by row, each by itself, on a transparent ground, as `named_rows` takes them.

    Args:
        images: [N, H, W, C] float, N at least 1, C 1 or 3; values are clipped to [0, 1].
        columns: images per row.

    Returns:
        uint8 [height, width, 4], RGBA.
    """
    return _lay_out(_opaque(_visible(images)), columns, _PAIR_GAP, 0)


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay images out row by row as they are, without gaps.

    Args:
        images: [N, H, W, C] float; values are clipped to [0, 1].
        columns: images per row.

    Returns:
        uint8 [height, width, C].
    """
    return _lay_out(_bytes(images), columns, 0, 0)


def png(image: np.ndarray, *, small: bool = True) -> bytes:
    """Return an image, uint8 [height, width, C] with C 1, 3 or 4, as a PNG file.

    Args:
        image: the pixels.
        small: take more time for a smaller file of the same pixels.
    """
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=small, compress_level=9 if small else 1)
    return buffer.getvalue()


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Write an image, uint8 [height, width, C] with C 1, 3 or 4, as a PNG file; its folder is created if missing."""
    with replacing(path) as temporary:
        temporary.write_bytes(png(image))


@styled
def named_rows(grid: np.ndarray, names: Sequence[str], columns: Sequence[str] = ()) -> Figure:
    """Draw a grid of images, uint8 [height, width, C], whose rows have names, and its columns where names are given."""
    height, width = grid.shape[:2]
    figure = Figure(figsize=(8.6, 0.2 + 0.25 * bool(columns) + 7.6 * height / width), layout=ConstrainedLayoutEngine(w_pad=_FONT_ROOM))
    axes = figure.subplots()
    rgba = np.broadcast_to(grid, (height, width, 3)) if grid.shape[-1] == 1 else grid
    axes.imshow(rgba, interpolation="none", extent=(0, width, height, 0))
    axes.set_yticks(_middles(height, len(names)), [plain(name) for name in names])
    axes.set_xticks(_middles(width, len(columns)), [plain(name) for name in columns])
    axes.tick_params(length=0, labelbottom=False, labeltop=True)
    axes.spines[:].set_visible(False)
    return figure


def _middles(length: int, count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * (length + _PAIR_GAP) / max(count, 1) - 0.5 * _PAIR_GAP


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _visible(images: np.ndarray) -> np.ndarray:
    factor = max(1, ceil(_VISIBLE / max(images.shape[1:3])))
    return _bytes(images).repeat(factor, axis=1).repeat(factor, axis=2)


def _opaque(tiles: np.ndarray) -> np.ndarray:
    opaque = np.full((*tiles.shape[:3], 4), 255, np.uint8)
    opaque[..., :3] = tiles
    return opaque


def _lay_out(tiles: np.ndarray, columns: int, gap: int, ground: int) -> np.ndarray:
    """Place tiles, uint8 [N, H, W, C], row by row on a canvas of the grey level `ground`."""
    count, height, width, channels = tiles.shape
    columns = min(columns, count)
    down, right = height + gap, width + gap
    canvas = np.full((ceil(count / columns) * down - gap, columns * right - gap, channels), ground, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        canvas[row * down :, column * right :][:height, :width] = tile
    return canvas
