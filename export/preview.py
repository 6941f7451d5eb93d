"""preview.png: what the generator makes of the first noise."""

from pathlib import Path

import tensorflow as tf

from vae_tf import Generator, plots
from vae_tf.generator import noise

__all__ = ["PREVIEW", "write_preview"]

PREVIEW = "preview.png"
_SIDE = 8


def write_preview(generator: Generator, path: Path) -> None:
    """Write an 8x8 grid of means of p(x | z), from the noise of seed 0; small images are enlarged by a whole factor.

    Args:
        generator: of a trained model.
        path: the PNG file to write.
    """
    mean = generator(tf.constant(noise(_SIDE**2, generator.noise_dim, seed=0))).mean().numpy()
    plots.save_png(path, plots.image_grid(mean, columns=_SIDE))
