"""Images as numpy arrays to PNG, one by one or as a grid."""

import io
import math

import numpy as np
from PIL import Image

from serving.errors import InvalidArgumentError

__all__ = ["encode_png", "enlarge", "grid"]


def encode_png(image: np.ndarray) -> bytes:
    """Encode one image as PNG: uint8 = round(255 * clip(image, 0, 1)).

    Args:
        image: float [H, W, C], C = 1 (grey) or 3 (RGB).

    Returns:
        The bytes of the PNG file.

    Raises:
        InvalidArgumentError: The shape is another.
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise InvalidArgumentError(f"`image` must have shape [H, W, 1] or [H, W, 3], got {list(image.shape)}")
    levels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels[..., 0] if image.shape[-1] == 1 else levels).save(buffer, format="PNG")
    return buffer.getvalue()


def enlarge(images: np.ndarray, side: int = 56) -> np.ndarray:
    """Repeat the pixels of small images by the least whole factor that gives their longer side `side` pixels.

    Args:
        images: [B, H, W, C].
        side: Pixels that a person can see well.

    Returns:
        [B, factor * H, factor * W, C] of the same dtype; larger images as they are.
    """
    factor = max(1, math.ceil(side / max(images.shape[1:3])))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def grid(images: np.ndarray, gap: int = 2, ground: float = 128 / 255) -> np.ndarray:
    """Lay images out row by row on a nearly square grid.

    Args:
        images: [B, H, W, C], B >= 1.
        gap: Pixels between neighbours.
        ground: Value between the images.

    Returns:
        One image [rows * (H + gap) - gap, columns * (W + gap) - gap, C] of the same dtype.
    """
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = np.full((rows * columns, height + gap, width + gap, channels), ground, images.dtype)
    tiles[:count, :height, :width] = images
    sheet = tiles.reshape(rows, columns, height + gap, width + gap, channels).transpose(0, 2, 1, 3, 4)
    return sheet.reshape(rows * (height + gap), columns * (width + gap), channels)[: -gap or None, : -gap or None]
