"""The plane of a model of two latents: the manifold, the map of test images, and what is decoded under a pointer on it."""

from functools import partial
from statistics import NormalDist

import numpy as np
import tensorflow as tf

from vae_tf import plots
from vae_tf.latents import posterior_moments, prior_draws, standard_prior
from vae_tf.model import VAE
from vae_tf.plots import Frame
from vae_tf.report.picture import Explorer, Maker, Picture
from vae_tf.report.subject import Subject

__all__ = ["manifold", "plane"]

_SIDE, _EDGE = 20, 0.02  # of the manifold: images per side, and probability beyond it on each side
_MAP_DRAWS, _LABELS = 2000, 100  # points of the prior, and labels that they are drawn for
_FEWEST, _MOST, _PIXELS = 12, 40, 1120  # of the explorer: images per side, and pixels of the whole


def plane(subject: Subject) -> list[Maker]:
    """Return the pictures of a model of two latents."""
    return [partial(_manifold, subject), partial(_latent_map, subject)]


def manifold(vae: VAE, label: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid over a two-dimensional latent space, where the prior is.

    For a standard normal prior z = Phi^-1(p) in each coordinate, for evenly spaced p from 0.02 to 0.98, with Phi the distribution function
    of N(0, 1): each image stands for about the same probability. For others evenly spaced z between those shares of prior draws.

    Args:
        vae: a model of two latent dimensions.
        label: [1] or [1, K], if the model has a condition.

    Returns:
        The means of p(x | z), [side, side, H, W, C], rows from the largest z_2 down, columns from the smallest z_1 up; and the
        coordinates [2, side], ascending: of z_1 and of z_2.

    Source: Kingma and Welling (2014), figure 4.
    """
    if standard_prior(vae.generator):
        coordinates = np.array([[NormalDist().inv_cdf(p) for p in np.linspace(_EDGE, 1 - _EDGE, _SIDE)]] * 2, np.float32)
    else:
        low, high = np.quantile(prior_draws(vae.generator, label).reshape(-1, 2), [_EDGE, 1 - _EDGE], 0)
        coordinates = np.linspace(low, high, _SIDE, axis=1, dtype=np.float32)
    return _decoded(vae, coordinates, label), coordinates


def _decoded(vae: VAE, coordinates: np.ndarray, label: np.ndarray | None) -> np.ndarray:
    z1, z2 = np.meshgrid(coordinates[0], coordinates[1][::-1])
    return np.stack([vae.decode(tf.constant(row), label).mean().numpy() for row in np.stack([z1, z2], axis=-1)])


def _one_label(subject: Subject) -> np.ndarray | None:
    """Return the label that the plane is decoded with, [1] or [1, K]; None where the model has no condition."""
    if subject.y is None:
        return None
    return np.zeros(1, np.int32) if subject.y.ndim == 1 else subject.y[:1]


def _given(subject: Subject) -> str:
    label = _one_label(subject)
    return "" if label is None else f", given the label {subject.named(label[0])}"


def _manifold(subject: Subject) -> Picture:
    spacing = (
        "The grid is spaced by the prior: every image stands for about the same share of all samples, and the outermost "
        f"{_EDGE:.0%} on each side are left out."
        if subject.standard_prior
        else f"The grid is even over the range of prior draws in each coordinate, but for the outermost {_EDGE:.0%} on each side; what "
        "lies where the prior draws nothing is shown too, and no sample looks like it."
    )
    return Picture(
        "The manifold",
        "What does the decoder make of each point of the plane?",
        f"The mean of p(x | {subject.z}) over the plane of latents{_given(subject)}. {spacing}",
        f"A square of {_SIDE} by {_SIDE} decoded images that change gradually with the two latent coordinates.",
        "svg+xml",
        plots.svg(plots.manifold(*manifold(subject.vae, _one_label(subject)))),
    )


def _latent_map(subject: Subject) -> Picture:
    means, _ = posterior_moments(subject.vae, subject.x, subject.y)
    classes = subject.classes
    coloured = classes is not None and len(np.unique(classes)) <= plots.MAX_CLASSES
    if subject.standard_prior:
        prior, ground = None, "The dotted circles are one and two standard deviations of the prior, where samples come from."
    else:
        y = subject.y
        rows = None if y is None else y[subject.random(4).integers(len(y), size=_LABELS)]
        prior = prior_draws(subject.vae.generator, rows, _MAP_DRAWS // (1 if rows is None else _LABELS)).reshape(-1, 2)
        ground = "The grey points are draws from the prior, where samples come from."
    decoded = "" if subject.y is None else f" What a pointer shows is decoded{_given(subject)}."
    figure = plots.latent_map(means, classes if coloured else None, subject.names, prior)
    return Picture(
        "The map of test images",
        "Where on the plane are the images, and what is decoded there?",
        f"Each point is the posterior mean of one of {len(means):,} test images{', coloured by its label' if coloured else ''}. "
        f"{ground}{decoded}",
        f"{len(means):,} points in the plane{', in clusters by label, each with its name at its median' if coloured else ''}.",
        "svg+xml",
        plots.svg(figure),
        _explorer(subject, plots.frame(figure)),
    )


def _explorer(subject: Subject, frame: Frame) -> Explorer:
    height, width, _ = subject.vae.generator.image_shape
    side = int(np.clip(_PIXELS // max(height, width), _FEWEST, _MOST))
    coordinates = np.linspace(frame.low, frame.high, side, axis=1, dtype=np.float32)
    decoded = _decoded(subject.vae, coordinates, _one_label(subject))
    return Explorer(plots.png(plots.sheet(decoded.reshape(-1, *decoded.shape[2:]), side)), side, (height, width), frame)
