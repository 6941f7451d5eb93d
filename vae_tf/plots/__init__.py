"""Pictures from arrays: grids of images as PNG, diagrams as SVG whose ink follows the reader's light or dark colours."""

from vae_tf.plots.curves import evidence_curves, learning_curves, settling, sigma_curves, size_curve
from vae_tf.plots.distributions import histograms, kl_bars, spreads
from vae_tf.plots.grids import image_grid, named_rows, pair_grid, png, save_png, sheet, spaced_grid
from vae_tf.plots.plane import Frame, frame, latent_map, manifold, posteriors
from vae_tf.plots.style import MAX_CLASSES, pixels, svg

__all__ = [
    "MAX_CLASSES",
    "Frame",
    "evidence_curves",
    "frame",
    "histograms",
    "image_grid",
    "kl_bars",
    "latent_map",
    "learning_curves",
    "manifold",
    "named_rows",
    "pair_grid",
    "pixels",
    "png",
    "posteriors",
    "save_png",
    "settling",
    "sheet",
    "sigma_curves",
    "size_curve",
    "spaced_grid",
    "spreads",
    "svg",
]
