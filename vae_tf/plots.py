"""Pictures from arrays: grids of images as PNG, diagrams as SVG whose ink follows the reader's light or dark colours."""

import io
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from vae_tf.files import replacing

__all__ = [
    "MAX_CLASSES",
    "image_grid",
    "kl_bars",
    "latent_map",
    "learning_curves",
    "manifold",
    "named_rows",
    "pair_grid",
    "png",
    "save_png",
    "svg",
]

#: Ten colours that people with any kind of colour vision can tell apart (Petroff, 2021, arXiv:2107.02270).
_COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MAX_CLASSES = len(_COLOURS)
_BLUE, _ORANGE, _GREY = _COLOURS[0], _COLOURS[6], _COLOURS[3]

_VISIBLE = 56  # pixels: smaller images are enlarged until one side has them
_GAP, _PAIR_GAP = 2, 14  # pixels between images, and between pairs
_MID_GREY = 128

_INK = "#010203"  # stands in for the colour of text until `svg` hands the choice to the reader
_INK_STYLE = "<style>svg{color:#1d2125}@media (prefers-color-scheme:dark){svg{color:#dfe3e8}}</style>"
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), _INK),
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "vae_tf",  # equal figures give equal bytes
}


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
    opaque = np.full((*pairs.shape[:3], 4), 255, np.uint8)
    opaque[..., :3] = pairs
    return _lay_out(opaque, columns, _PAIR_GAP, 0)


def png(image: np.ndarray) -> bytes:
    """Return an image, uint8 [height, width, C] with C 1, 3 or 4, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Write an image, uint8 [height, width, C] with C 1, 3 or 4, as a PNG file; its folder is created if missing."""
    with replacing(path) as temporary:
        temporary.write_bytes(png(image))


@matplotlib.rc_context(_STYLE)
def svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file with a transparent ground; its ink is dark or light, as the reader's screen asks."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=200, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue().replace(_INK, "currentColor").replace("<defs>", f"{_INK_STYLE}<defs>", 1)
    return text[text.index("<svg") :].encode()


@matplotlib.rc_context(_STYLE)
def learning_curves(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw ELBO, reconstruction and KL by epoch, of training and validation images.

    The ELBO's axis is fitted to all epochs but the first tenth, whose steep rise would flatten everything after it.

    Args:
        rows: at least one; `epoch`, and `elbo`, `reconstruction` and `kl` in nats per image, with and without `val_`.
    """
    figure = Figure(figsize=(8.6, 3.2), layout="constrained")
    wide, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) < 10 else None
    for axes, name, title in ((wide, "elbo", "ELBO"), (middle, "reconstruction", "Reconstruction"), (right, "kl", "KL")):
        axes.plot(epochs, [row[name] for row in rows], color=_BLUE, marker=marker, label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in rows], color=_ORANGE, linestyle="--", marker=marker, label="validation")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        axes.grid()
    settled = [row[name] for row in rows[len(rows) // 10 :] for name in ("elbo", "val_elbo")]
    margin = 0.05 * (max(settled) - min(settled)) or 1.0
    wide.set_ylim(min(settled) - margin, max(settled) + margin)
    wide.set_ylabel("nats per image")
    wide.legend(loc="lower right")
    return figure


@matplotlib.rc_context(_STYLE)
def kl_bars(kl: np.ndarray, active: np.ndarray, layers: Mapping[str, int] | None = None) -> Figure:
    """Draw the KL of each latent dimension, the largest first; of layers side by side, the largest first in each.

    Args:
        kl: [D] nats per image.
        active: [D] bool, which of them are marked as active.
        layers: name -> how many dimensions, in their order; None for one layer, whose name goes without saying.
    """
    figure = Figure(figsize=(8.6, 2.8), layout="constrained")
    axes = figure.subplots()
    ends = np.cumsum([len(kl)] if layers is None else list(layers.values()))
    order, ranks = np.lexsort((-kl, np.searchsorted(ends, np.arange(len(kl)), side="right"))), np.arange(len(kl))
    kl, active = kl[order], active[order]
    axes.bar(ranks[active], kl[active], color=_BLUE, label=f"active ({active.sum()})")
    if not active.all():
        axes.bar(ranks[~active], kl[~active], color="none", edgecolor=_GREY, hatch="////", label=f"not active ({(~active).sum()})")
    if len(kl) <= 50:
        axes.set_xticks(ranks, [str(dimension + 1) for dimension in order], fontsize=8 if len(kl) > 25 else 10)
    for name, end, size in zip(layers or {}, ends, (layers or {}).values()):
        axes.text(end - size / 2 - 0.5, 1.0, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
        if end < len(kl):
            axes.axvline(end - 0.5, color=_INK, linestyle=":", linewidth=1.2)
    axes.set_xlim(-0.6, max(len(kl), 8) - 0.4)
    axes.set_xlabel("latent dimension")
    axes.set_ylabel("KL, nats per image")
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure


@matplotlib.rc_context(_STYLE)
def named_rows(grid: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw a grid of images, uint8 [height, width, C], whose rows have names."""
    height, width = grid.shape[:2]
    figure = Figure(figsize=(8.6, 0.2 + 7.6 * height / width), layout="constrained")
    axes = figure.subplots()
    rgba = np.broadcast_to(grid, (height, width, 3)) if grid.shape[-1] == 1 else grid
    axes.imshow(rgba, interpolation="none", extent=(0, width, height, 0))
    axes.set_xticks([])
    axes.set_yticks((np.arange(len(names)) + 0.5) * (height + _PAIR_GAP) / len(names) - 0.5 * _PAIR_GAP, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@matplotlib.rc_context(_STYLE)
def manifold(images: np.ndarray, coordinates: np.ndarray) -> Figure:
    """Draw decoded images at the places of their latents.

    Args:
        images: [side, side, H, W, C] float, rows from the largest z_2 down, columns from the smallest z_1 up; values are clipped to [0, 1].
        coordinates: [2, side], ascending: the values that z_1 takes, and those of z_2.
    """
    side = len(coordinates[0])
    height, width = images.shape[2:4]
    canvas = _lay_out(_bytes(images.reshape(-1, *images.shape[2:])), side, 0, 0)
    figure = Figure(figsize=(7.2, 7.0), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.broadcast_to(canvas, (*canvas.shape[:2], 3)), interpolation="none", extent=(0, side, 0, side), aspect=height / width)
    for axis, values in zip((axes.xaxis, axes.yaxis), coordinates):
        round_values = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(values[0], values[-1])
        round_values = round_values[(values[0] <= round_values) & (round_values <= values[-1])]
        axis.set_ticks(np.interp(round_values, values, np.arange(side) + 0.5), [f"{value:g}" for value in round_values.round(6)])
    _name_latents(axes)
    return figure


@matplotlib.rc_context(_STYLE)
def latent_map(
    means: np.ndarray, labels: np.ndarray | None = None, names: Sequence[str] | None = None, prior: np.ndarray | None = None
) -> Figure:
    """Draw encoded images as points, coloured by class, over the prior: circles of one and two standard deviations, or draws.

    Args:
        means: [N, 2].
        labels: int [N], at most `MAX_CLASSES` different ones; None for one colour.
        names: the name of each label; None for the label itself.
        prior: draws from the prior [M, 2]; None for the circles of N(0, I).
    """
    figure = Figure(figsize=(8.0, 7.0), layout="constrained")
    axes = figure.subplots()
    classes, members = np.unique(np.zeros(len(means), int) if labels is None else labels, return_inverse=True)
    if prior is not None:
        axes.scatter(prior[:, 0], prior[:, 1], s=4, c=_GREY, alpha=0.35, linewidths=0, rasterized=True, zorder=1)
    axes.scatter(means[:, 0], means[:, 1], s=6, c=np.array(_COLOURS)[members], alpha=0.8, linewidths=0, rasterized=True, zorder=2)
    for radius in (1, 2) if prior is None else ():
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=_INK, linestyle=":", linewidth=1.2))
    if labels is not None:
        shown = [names[label] if names else str(label) for label in classes]
        for index, name in enumerate(shown):
            place = np.median(means[members == index], axis=0)
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": _COLOURS[index], "alpha": 0.85}
            axes.annotate(name, place, ha="center", va="center", fontsize=9, color="black", bbox=box)
        dots = [Line2D([], [], linestyle="", marker="o", color=_COLOURS[index]) for index in range(len(classes))]
        figure.legend(dots, shown, loc="outside right upper")
    if prior is None:
        reach = 1.05 * max(2.4, float(np.abs(means).max()))
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    else:  # without the few draws far out, which would crowd all others
        low, high = np.minimum(means.min(0), np.quantile(prior, 0.01, 0)), np.maximum(means.max(0), np.quantile(prior, 0.99, 0))
        (left, bottom), (right, top) = low - 0.05 * (high - low), high + 0.05 * (high - low)
        axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.grid()
    _name_latents(axes)
    return figure


def _name_latents(axes: Axes) -> None:
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$", rotation=0, labelpad=8)


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _visible(images: np.ndarray) -> np.ndarray:
    factor = max(1, ceil(_VISIBLE / max(images.shape[1:3])))
    return _bytes(images).repeat(factor, axis=1).repeat(factor, axis=2)


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
