"""A search: the curves of all trials, and log p(x) against each setting."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from vae_tf.plots.style import BLUE, GREY, ORANGE, plain, styled
from vae_tf.tuning.record import COMPLETE, Trial
from vae_tf.tuning.results import best
from vae_tf.tuning.space import Choices, Setting, Space

__all__ = ["tuning"]

_COLUMNS = 3
_INTERVAL = 1.96  # standard errors to each side
_WIDE = 30  # letters that fit below a panel side by side
_FOOT = 0.04  # of the height of a panel
_ENDED: dict[str, Any] = {"marker": "v", "markersize": 5, "fillstyle": "none"}


@styled
def tuning(trials: Sequence[Trial], space: Space) -> Figure:
    """Draw the validation ELBO of each trial by epoch, and log p(x) of the complete ones against each setting; the best is a star.

    Trials without log p(x), pruned or failed, stand at the foot of the panels. The axis of the ELBO leaves out what lies far below.

    Args:
        trials: at least one is complete.
        space: what was searched.
    """
    count = 1 + len(space.settings)
    rows = ceil(count / _COLUMNS)
    figure = Figure(figsize=(8.6, 0.6 + 2.6 * rows), layout="constrained")
    first, *panels = figure.subplots(rows, min(count, _COLUMNS), squeeze=False).flat
    _curves(first, trials)
    for axes, setting in zip(panels, space.settings):
        _against(axes, trials, setting)
    for axes in panels[len(space.settings) :]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _curves(axes: Axes, trials: Sequence[Trial]) -> None:
    winner = best(trials)
    for trial in trials:
        epochs, elbo = list(trial.elbo), list(trial.elbo.values())
        if trial is winner:
            axes.plot(epochs, elbo, color=ORANGE, linewidth=2, zorder=4)
        elif trial.state == COMPLETE:
            axes.plot(epochs, elbo, color=BLUE, linewidth=0.8, alpha=0.6)
        else:
            axes.plot(epochs, elbo, color=GREY, linewidth=1, linestyle=":", zorder=3, **_ENDED, markevery=[-1] if elbo else None)
    complete_last = [elbo for trial in trials if trial.state == COMPLETE for elbo in list(trial.elbo.values())[len(trial.elbo) // 4 :]]
    low, high = min(complete_last), max(complete_last)
    axes.set_ylim(low - 0.1 * (high - low) - 0.1, high + 0.1 * (high - low) + 0.1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation ELBO, nats")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid()


def _against(axes: Axes, trials: Sequence[Trial], setting: Setting) -> None:
    winner = best(trials)
    complete = [trial for trial in trials if trial.state == COMPLETE and trial is not winner]
    others = [trial for trial in trials if trial.state != COMPLETE]

    def places(of: Sequence[Trial]) -> list[float]:
        values = [trial.values[setting.key] for trial in of]
        return [setting.texts.index(str(value)) for value in values] if isinstance(setting, Choices) else [float(value) for value in values]

    for some, colour, marker, size, name in (
        (complete, BLUE, "o", 5, "complete, 95 % interval"),
        ([winner] if winner else [], ORANGE, "*", 13, "the best"),
    ):
        values = [trial.outcome["value"] for trial in some]
        errors = [_INTERVAL * trial.outcome["standard_error"] for trial in some]
        axes.errorbar(
            places(some), values, yerr=errors, fmt=marker, color=colour, markersize=size, elinewidth=0.8, label=name, zorder=2 + size
        )
    if others:
        foot = axes.get_xaxis_transform()
        axes.plot(places(others), [_FOOT] * len(others), linestyle="none", color=GREY, transform=foot, label="pruned or failed", **_ENDED)
    axes.margins(y=0.15)
    axes.set_xlabel(plain(setting.key))
    axes.set_ylabel("log p(x), nats")
    axes.grid()
    if isinstance(setting, Choices):
        axes.set_xticks(range(len(setting.texts)), [plain(text) for text in setting.texts])
        axes.set_xlim(-0.5, len(setting.texts) - 0.5)
        if sum(map(len, setting.texts)) > _WIDE:
            axes.tick_params("x", rotation=15)
    elif setting.log:
        axes.set_xscale("log")
        ratio = setting.high / setting.low
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 20 else (1, 3) if ratio < 300 else (1,)))
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
