"""Runs side by side."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_tf.evaluation.estimate import Estimate
from vae_tf.files import replacing
from vae_tf.plots.style import BLUE, INK, ORANGE, plain, styled, svg

__all__ = ["comparison", "save_figure"]

_INTERVAL = 1.96  # standard errors to each side


@styled
def comparison(names: Sequence[str], log_likelihoods: Sequence[Estimate], differences: Sequence[Estimate | None]) -> Figure:
    """Draw log p(x) of each run, and its difference to the first, both with 95 % intervals.

    Args:
        names: of the runs, from the top down.
        log_likelihoods: of the runs.
        differences: log p(x) less that of the first run, paired by image; None for the first.
    """
    names = [plain(name) for name in names]
    figure = Figure(figsize=(8.6, 1.3 + 0.45 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    rows = range(len(names))
    _intervals(left, rows, log_likelihoods, BLUE, "o")
    left.set_xlabel("log p(x), nats per image")
    left.set_yticks(list(rows), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    known = [(row, estimate) for row, estimate in zip(rows, differences) if estimate is not None]
    _intervals(right, [row for row, _ in known], [estimate for _, estimate in known], ORANGE, "s")
    right.axvline(0, color=INK, linestyle=":", linewidth=1.2)
    right.plot([0], [0], marker="|", color=INK, markersize=12)
    right.set_xlabel(f"less that of {names[0]}, paired by image")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid()
    figure.suptitle("Points: means over test images. Bars: 95 % intervals, 1.96 standard errors to each side.", fontsize=9)
    return figure


def _intervals(axes, rows: Sequence[int], estimates: Sequence[Estimate], colour: str, marker: str) -> None:
    errors = [_INTERVAL * estimate.standard_error for estimate in estimates]
    axes.errorbar([estimate.value for estimate in estimates], rows, xerr=errors, fmt=marker, color=colour, capsize=3)


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure as an SVG, PNG or PDF file, by its ending; its folder is created if missing."""
    with replacing(path) as temporary:
        if temporary.suffix == ".svg":
            temporary.write_bytes(svg(figure))
        else:
            figure.savefig(temporary, dpi=150, metadata={})
