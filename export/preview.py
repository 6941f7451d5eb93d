"""preview.png: what the generator makes of the first noise."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vae_tf import Generator, plots
from vae_tf.generator import noise

__all__ = ["PREVIEW", "write_preview"]

PREVIEW = "preview.png"
_SIDE = 8
_MOST_COLUMNS = 20  # of classes


def write_preview(generator: Generator, path: Path) -> None:
    """Write 8 rows of means of p(x | z), from the noise of seed 0; small images are enlarged by a whole factor.

    A row holds 8 images, or one of each class where there are at most 20 of them; more classes come in turn. Where labels are vectors,
    they are 0.

    Args:
        generator: of a trained model.
        path: the PNG file to write.
    """
    condition, columns, label = generator.condition, _SIDE, None
    if condition is not None and condition.label.dtype.is_integer and condition.size <= _MOST_COLUMNS:
        columns = condition.size
    count = _SIDE * columns
    if condition is not None:
        zeros = np.zeros([count, *condition.label.shape[1:]], condition.label.dtype.as_numpy_dtype)
        label = tf.constant(np.arange(count, dtype=np.int32) % condition.size if condition.label.dtype.is_integer else zeros)
    mean = generator(tf.constant(noise(count, generator.noise_dim, seed=0)), label).mean().numpy()
    plots.save_png(path, plots.image_grid(mean, columns=columns))
