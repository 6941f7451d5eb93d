"""preview.png: what the generator makes of the first noise."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from vae_tf import Generator
from vae_tf.generator import noise

__all__ = ["PREVIEW", "write_preview"]

PREVIEW = "preview.png"
_SIDE = 8
_PIXELS = 512


def write_preview(generator: Generator, path: Path) -> None:
    """Write an 8x8 grid of means of p(x | z), from the noise of seed 0; small images are enlarged by whole factors.

    Args:
        generator: of a trained model.
        path: the PNG file to write.
    """
    mean = generator(tf.constant(noise(_SIDE**2, generator.noise_dim, seed=0))).mean().numpy()
    height, width, channels = generator.image_shape
    tiles = np.zeros((_SIDE**2, height + 1, width + 1, channels), np.uint8)  # a black line between neighbours
    tiles[:, :height, :width] = np.rint(np.clip(mean, 0, 1) * 255)
    rows = tiles.reshape(_SIDE, _SIDE, height + 1, width + 1, channels).transpose(0, 2, 1, 3, 4)
    sheet = rows.reshape(_SIDE * (height + 1), _SIDE * (width + 1), channels)[:-1, :-1]
    factor = max(1, _PIXELS // max(sheet.shape))
    sheet = sheet.repeat(factor, 0).repeat(factor, 1)
    Image.fromarray(sheet if channels == 3 else sheet[..., 0]).save(path)
