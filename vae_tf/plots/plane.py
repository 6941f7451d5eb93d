"""The plane of a model of two latents."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Ellipse
from matplotlib.ticker import MaxNLocator

from vae_tf.plots.grids import sheet
from vae_tf.plots.style import BLUE, COLOURS, GREY, INK, MARKERS, darker, plain, styled

__all__ = ["Frame", "frame", "latent_map", "manifold", "posteriors"]

_INKED, _AREAS = 12_000, (9, 40)  # square points: of all markers together, and the least and the most of one


class Frame(NamedTuple):
    """Where the plane is in a picture."""

    left: float  # shares of the width of the picture, and of its height from the top
    top: float
    width: float
    height: float
    low: tuple[float, float]  # (z_1, z_2) at the left and bottom edge
    high: tuple[float, float]  # at the right and top edge


def frame(figure: Figure) -> Frame:
    """Return where the plane of a figure's axes is once it is drawn."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    box, (left, right), (bottom, top) = axes.get_position(), axes.get_xlim(), axes.get_ylim()
    return Frame(box.x0, 1 - box.y1, box.width, box.height, (left, bottom), (right, top))


@styled
def manifold(images: np.ndarray, coordinates: np.ndarray) -> Figure:
    """Draw decoded images at the places of their latents.

    Args:
        images: [side, side, H, W, C] float, rows from the largest z_2 down, columns from the smallest z_1 up; values are clipped to [0, 1].
        coordinates: [2, side], ascending: the values that z_1 takes, and those of z_2.
    """
    side = len(coordinates[0])
    height, width = images.shape[2:4]
    canvas = sheet(images.reshape(-1, *images.shape[2:]), side)
    figure = Figure(figsize=(7.2, 7.0), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.broadcast_to(canvas, (*canvas.shape[:2], 3)), interpolation="none", extent=(0, side, 0, side), aspect=height / width)
    between = np.arange(1, side)
    axes.hlines(between, 0, side, color=BLUE, linewidth=1)
    axes.vlines(between, 0, side, color=BLUE, linewidth=1)
    for axis, values in zip((axes.xaxis, axes.yaxis), coordinates):
        round_values = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(values[0], values[-1])
        round_values = round_values[(values[0] <= round_values) & (round_values <= values[-1])]
        axis.set_ticks(np.interp(round_values, values, np.arange(side) + 0.5), [f"{value:g}" for value in round_values.round(6)])
    _name_latents(axes)
    return figure


@styled
def latent_map(
    means: np.ndarray, labels: np.ndarray | None = None, names: Sequence[str] | None = None, prior: np.ndarray | None = None
) -> Figure:
    """Draw encoded images as points, a colour and a marker for each class, over the prior: circles of one and two deviations, or draws.

    Args:
        means: [N, 2].
        labels: int [N], at most `MAX_CLASSES` different ones; None for one colour.
        names: the name of each label; None for the label itself.
        prior: draws from the prior [M, 2]; None for the circles of N(0, I).
    """
    figure = Figure(figsize=(8.0, 7.0), layout="constrained")
    axes = figure.subplots()
    classes, members = np.unique(np.zeros(len(means), int) if labels is None else labels, return_inverse=True)
    _draw_prior(axes, prior)
    area = np.clip(_INKED / len(means), *_AREAS)
    points: dict[str, Any] = {"alpha": 0.8, "linewidths": 0.5, "rasterized": True}
    for index in range(len(classes)):
        x, y = means[members == index].T
        fill, edge = COLOURS[index], darker(COLOURS[index])
        size = (2 if MARKERS[index] == "*" else 1) * area  # a star has little of its square
        axes.scatter(x, y, s=size, facecolors=fill, edgecolors=edge, marker=MARKERS[index], zorder=2 + index / 100, **points)
    if labels is not None:
        shown = [plain(names[label]) if names else str(label) for label in classes]
        for index, name in enumerate(shown):
            _label(axes, name, np.median(means[members == index], axis=0), darker(COLOURS[index]))
        dots = [Line2D([], [], linestyle="", marker=MARKERS[i], color=COLOURS[i], mec=darker(COLOURS[i])) for i in range(len(classes))]
        figure.legend(dots, shown, loc="outside right upper")
    _set_limits(axes, means, prior)
    return figure


@styled
def posteriors(
    means: np.ndarray,
    covariances: np.ndarray,
    labels: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    prior: np.ndarray | None = None,
) -> Figure:
    """Draw q(z | x) of some images as ellipses of two standard deviations, with the class in their middle, over the prior.

    Args:
        means: [N, 2].
        covariances: [N, 2, 2].
        labels: int [N], at most `MAX_CLASSES` different ones; None for one colour and no text.
        names: the name of each label; None for the label itself.
        prior: draws from the prior [M, 2]; None for the circles of N(0, I).
    """
    figure = Figure(figsize=(7.2, 7.0), layout="constrained")
    axes = figure.subplots()
    classes, members = np.unique(np.zeros(len(means), int) if labels is None else labels, return_inverse=True)
    _draw_prior(axes, prior)
    for mean, covariance, member in zip(means, covariances, members):
        values, vectors = np.linalg.eigh(covariance)
        width, height = 4 * np.sqrt(np.maximum(values, 0))
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        axes.add_patch(Ellipse(mean, width, height, angle=angle, facecolor=(COLOURS[member], 0.25), edgecolor=COLOURS[member]))
        if labels is not None:
            name = names[classes[member]] if names else str(classes[member])
            axes.text(mean[0], mean[1], plain(name[:3]), ha="center", va="center", fontsize=7, clip_on=True)
    _set_limits(axes, means, prior)
    return figure


def _draw_prior(axes: Axes, prior: np.ndarray | None) -> None:
    if prior is not None:
        axes.scatter(prior[:, 0], prior[:, 1], s=4, c=GREY, alpha=0.35, linewidths=0, rasterized=True, zorder=1)
        return
    for radius in (1, 2):
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=INK, linestyle=":", linewidth=1.2, zorder=3))


def _set_limits(axes: Axes, means: np.ndarray, prior: np.ndarray | None) -> None:
    if prior is None:
        reach = 1.05 * max(2.4, float(np.abs(means).max()))
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    else:  # without the few draws far out, which would crowd all others
        low, high = np.minimum(means.min(0), np.quantile(prior, 0.01, 0)), np.maximum(means.max(0), np.quantile(prior, 0.99, 0))
        (left, bottom), (right, top) = low - 0.05 * (high - low), high + 0.05 * (high - low)
        axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.grid()
    _name_latents(axes)


def _label(axes: Axes, name: str, place: np.ndarray, colour: Any) -> None:
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
    axes.annotate(name, (place[0], place[1]), ha="center", va="center", fontsize=9, color="black", bbox=box)


def _name_latents(axes: Axes) -> None:
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$", rotation=0, labelpad=8)
