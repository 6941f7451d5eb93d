"""Sample quality: how samples of a model differ from images, in features of both.

    Frechet distance      |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)), of means and covariances; biased upwards by few images
    kernel distance       MMD^2 with the kernel (x.y / F + 1)^3, unbiased, so that it may fall below 0
    precision             share of samples within reach of an image: no farther than its 3rd nearest other image
    recall                share of images within reach of a sample
    density               how many images have a sample within reach of their 5th nearest other, averaged over samples, / 5
    coverage              share of images with a sample within their reach of 5

All depend on the numbers of images and samples: compare at equal numbers, and with what other real images reach.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import tensorflow as tf

from vae_tf.errors import DataError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.two_samples import GROUPS, HALVES, LEAST, Measured, frechet, kernel, neighbours
from vae_tf.generator import noise
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["SampleQuality", "draw_samples", "sample_quality"]

_REACH, _DENSITY_REACH = 3, 5  # k, of precision and recall, and of density and coverage
_DRAWN = 100  # images drawn at once


@final
@dataclass(frozen=True)
class SampleQuality:
    """Measures between images and samples, each with its error; Frechet and kernel distance are best at 0, the others at 1.

    Attributes:
        frechet_distance: Heusel et al. (2017), equation 6.
        kernel_distance: Binkowski et al. (2018).
        precision: Kynkaanniemi et al. (2019), equation 2, k = 3.
        recall: the same with images and samples exchanged.
        density: Naeem et al. (2020), section 3, k = 5; above 1 where samples crowd about images.
        coverage: Naeem et al. (2020), section 3, k = 5.
    """

    frechet_distance: Estimate
    kernel_distance: Estimate
    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def sample_quality(real: np.ndarray, samples: np.ndarray, *, seed: int = 0) -> SampleQuality:
    """Compare samples with images by their features.

    Args:
        real: features of images, [N, F]; at least 40.
        samples: features of samples, [M, F]; at least 40.
        seed: of the resampling, which tells the errors.

    Returns:
        The measures, all of them functions of `real` and `samples` alone; `seed` moves their errors a little.

    Raises:
        DataError: there are too few, of different length, or not finite.
    """
    for name, values in (("real", real), ("samples", samples)):
        if values.ndim != 2 or len(values) < LEAST or values.shape[1] != real.shape[-1]:
            raise DataError(f"`{name}` must be features of at least {LEAST} images, [N, F] with one F for both, got {list(values.shape)}.")
        if not np.isfinite(values).all():
            raise DataError(f"`{name}` must be finite, got NaN or infinity.")
    rng = np.random.default_rng(seed)
    x, y = real.astype(np.float64), samples.astype(np.float64)
    sizes = f"{len(samples)} samples against {len(real)} images"

    def estimate(measured: Measured, unit: str, how: str) -> Estimate:
        return Estimate(*measured, len(samples), unit, f"{sizes}, {how}")

    without_groups, over_halves = f"jackknife over {GROUPS} groups", f"standard deviation over {HALVES} halves"
    near = neighbours(x, y, rng, _REACH, _DENSITY_REACH)
    return SampleQuality(
        frechet_distance=estimate(frechet(x, y, rng), "squared", without_groups),
        kernel_distance=estimate(kernel(x, y, rng), "squared", without_groups),
        precision=estimate(near["precision"], "share", f"k = {_REACH}, {over_halves}"),
        recall=estimate(near["recall"], "share", f"k = {_REACH}, {over_halves}"),
        density=estimate(near["density"], "ratio", f"k = {_DENSITY_REACH}, {over_halves}"),
        coverage=estimate(near["coverage"], "share", f"k = {_DENSITY_REACH}, {over_halves}"),
    )


def draw_samples(
    vae: VAE, count: int, label: np.ndarray | None = None, *, levels: int | None = None, seed: int = 0, verbose: bool = False
) -> np.ndarray:
    """Return x ~ p(x | z), z ~ p(z), with values like those of the data, [count, H, W, C] float32.

    Args:
        vae: a trained model.
        count: at least 1.
        label: [M] or [M, K], if the model has a condition: those of test images, repeated or cut to `count`.
        levels: grey levels of the images as the model sees them, None for real values; draws of a density become the nearest level.
        seed: at least 0; equal seeds give equal images.
        verbose: show progress.
    """
    generator = vae.generator.frozen()
    eps = noise(count, generator.noise_dim, seed)
    rng = np.random.default_rng([seed, 1])
    labels = None if label is None else label[np.arange(count) % len(label)]
    parts = []
    with progress(count, "samples", "images", quiet=not verbose) as bar:
        for start in range(0, count, _DRAWN):
            rows = slice(start, start + _DRAWN)
            shape = (len(eps[rows]), *generator.image_shape)
            uniform = np.clip(rng.random(shape, np.float32), 2.0**-24, 1 - 2.0**-24)
            some = None if labels is None else tf.constant(labels[rows])
            parts.append(generator.draw(tf.constant(eps[rows]), tf.constant(uniform), some).numpy())
            bar.update(shape[0])
    x = np.clip(np.concatenate(parts), 0, 1)
    return x if levels is None else (np.rint(x * (levels - 1)) / np.float32(levels - 1)).astype(np.float32)
