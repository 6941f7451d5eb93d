"""How values are spread: histograms, and what each latent dimension does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vae_tf.plots.style import BLUE, GREY, INK, ORANGE, styled

__all__ = ["histograms", "kl_bars", "spreads"]

_BINS = 50
_FILLS: tuple[dict[str, Any], ...] = (
    {"fill": True, "facecolor": (BLUE, 0.5), "edgecolor": BLUE},
    {"fill": True, "facecolor": "none", "edgecolor": ORANGE, "hatch": "////"},
)
_FEW, _NARROW = 8, 4.6  # so few latent dimensions need less than the whole width, inches
_LINES = ("-", "--", ":", "-.")


@styled
def histograms(
    series: Mapping[str, np.ndarray], marks: Mapping[str, float], xlabel: str, beyond: float = 0.0, logarithmic: bool = False
) -> Figure:
    """Draw one or two sets of values over each other, each as shares of its own, the second hatched; and values as lines.

    Args:
        series: name -> values, of any number.
        marks: name -> where a line stands.
        xlabel: the name of the values, with their unit.
        beyond: the share of the smallest values, of all sets together, that the picture has no room for: they are drawn at its edge.
        logarithmic: whether shares are.
    """
    figure = Figure(figsize=(8.6, 3.0), layout="constrained")
    axes = figure.subplots()
    pooled = np.concatenate([*series.values(), np.array(list(marks.values()), float)])
    low, high = np.quantile(pooled, beyond), pooled.max()
    if high <= low:
        low, high = low - 0.5, high + 0.5
    for style, (name, values) in zip(_FILLS, series.items()):
        heights, edges = np.histogram(np.maximum(values, low), _BINS, (low, high))
        shares = heights / len(values)
        axes.stairs(shares, edges, linewidth=1.2, label=name, **style)
    for line, (name, value) in zip(_LINES, marks.items()):
        axes.axvline(value, color=INK, linestyle=line, linewidth=1.4, label=name)
    axes.set_xlabel(f"{xlabel}{' (lowest at the edge)' if beyond else ''}")
    axes.set_ylabel("share")
    if logarithmic:
        axes.set_yscale("log")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=min(3, len(series) + len(marks)))
    return figure


@styled
def spreads(deviation: np.ndarray, within: np.ndarray, prior: np.ndarray, layers: Mapping[str, int] | None = None) -> Figure:
    """Draw, for each latent dimension, how wide all posteriors together are and how wide one is, over the width of the prior.

    Args:
        deviation: [D], standard deviation of the aggregated posterior.
        within: [D], root mean variance of one posterior.
        prior: [D], standard deviation of the prior.
        layers: name -> how many dimensions, in their order; None for one layer, whose name goes without saying.
    """
    few = len(deviation) < _FEW
    figure = Figure(figsize=(_NARROW if few else 8.6, 3.2 if few else 2.8), layout="constrained")
    axes = figure.subplots()
    ranks, order = np.arange(len(deviation)), np.argsort(within / prior, kind="stable")
    if layers is not None:
        order = np.lexsort((within / prior, np.repeat(np.arange(len(layers)), list(layers.values()))))
    size: dict[str, Any] = {"linestyle": "", "markersize": 5 if len(ranks) <= 60 else 3}
    axes.axhline(1, color=INK, linestyle=":", linewidth=1.2, label="the prior")
    axes.plot(ranks, (deviation / prior)[order], color=BLUE, marker="o", label="all posteriors together", **size)
    axes.plot(ranks, (within / prior)[order], color=ORANGE, marker="^", label="the posterior of one image", **size)
    axes.set_ylim(0, None)
    _name_dimensions(axes, order, layers)
    axes.set_ylabel("standard deviation\n(prior: 1)")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=1 if few else 3)
    return figure


@styled
def kl_bars(kl: np.ndarray, active: np.ndarray, layers: Mapping[str, int] | None = None) -> Figure:
    """Draw the KL of each latent dimension, the largest first; of layers side by side, the largest first in each.

    Args:
        kl: [D] nats per image.
        active: [D] bool, which of them are marked as active.
        layers: name -> how many dimensions, in their order; None for one layer, whose name goes without saying.
    """
    figure = Figure(figsize=(_NARROW if len(kl) < _FEW else 8.6, 2.8), layout="constrained")
    axes = figure.subplots()
    ends = np.cumsum([len(kl)] if layers is None else list(layers.values()))
    order, ranks = np.lexsort((-kl, np.searchsorted(ends, np.arange(len(kl)), side="right"))), np.arange(len(kl))
    kl, active = kl[order], active[order]
    if active.any():
        axes.bar(ranks[active], kl[active], color=BLUE, label=f"active ({active.sum()})")
    if not active.all():
        axes.bar(ranks[~active], kl[~active], color="none", edgecolor=GREY, hatch="////", label=f"not active ({(~active).sum()})")
    _name_dimensions(axes, order, layers)
    axes.set_ylabel("KL, nats per image")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _name_dimensions(axes: Any, order: np.ndarray, layers: Mapping[str, int] | None) -> None:
    count, end = len(order), 0
    if count <= 50:
        axes.set_xticks(np.arange(count), [str(dimension + 1) for dimension in order], fontsize=8 if count > 25 else 10)
    for name, size in (layers or {}).items():
        end += size
        axes.text(end - size / 2 - 0.5, 1.0, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
        if end < count:
            axes.axvline(end - 0.5, color=INK, linestyle=":", linewidth=1.2)
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_xlabel("latent dimension")
