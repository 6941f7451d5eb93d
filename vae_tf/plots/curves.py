"""Curves: by epoch, by the number of samples, by sigma, by the number of latents."""

from collections.abc import Mapping, Sequence
from math import ceil, log10

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from vae_tf.evaluation.estimate import Estimate
from vae_tf.plots.style import BLUE, GREY, INK, ORANGE, PURPLE, styled

__all__ = ["evidence_curves", "learning_curves", "settling", "sigma_curves", "size_curve"]


@styled
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
        axes.plot(epochs, [row[name] for row in rows], color=BLUE, marker=marker, label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in rows], color=ORANGE, linestyle="--", marker=marker, label="validation")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        axes.grid()
    settled = [row[name] for row in rows[len(rows) // 10 :] for name in ("elbo", "val_elbo")]
    margin = 0.05 * (max(settled) - min(settled)) or 1.0
    wide.set_ylim(min(settled) - margin, max(settled) + margin)
    wide.set_ylabel("nats per image")
    wide.legend(loc="lower right")
    return figure


@styled
def evidence_curves(
    images: np.ndarray, elbo: np.ndarray, counts: Sequence[int], prior: np.ndarray, posterior: np.ndarray, evidence: str
) -> Figure:
    """Draw what plain Monte Carlo and importance sampling say of some images, by the number of samples; below, from near.

    From near is where importance sampling is, and plain Monte Carlo at its largest number of samples if that is higher.

    Args:
        images: [N, H, W, C].
        elbo: [N], nats.
        counts: S_1 .. S_K, the numbers of samples.
        prior: [K, R, N], R repeated estimates by plain Monte Carlo, nats.
        posterior: like `prior`, by importance sampling.
        evidence: the name of what is estimated, such as log p(x).
    """
    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    grid = figure.subplots(2, len(images), squeeze=False, sharex=True)
    for column, (image, bound) in enumerate(zip(images, elbo)):
        for axes in grid[:, column]:
            _spread(axes, counts, prior[..., column], ORANGE, "s", "--", "plain Monte Carlo, z ~ prior")
            _spread(axes, counts, posterior[..., column], BLUE, "o", "-", "importance sampling, z ~ posterior")
            axes.axhline(bound, color=INK, linestyle=":", linewidth=1.4, label="ELBO")
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid()
        seen = np.append(posterior[..., column], bound)
        _focus(grid[1, column], seen, seen, prior[-1, :, column].mean())
        inset = grid[0, column].inset_axes((0.72, 0.04, 0.26, 0.4))
        inset.imshow(np.clip(np.broadcast_to(image, (*image.shape[:2], 3)), 0, 1), interpolation="none")
        inset.set(xticks=[], yticks=[])
        grid[1, column].set_xlabel("samples")
    for axes, title in zip(grid[:, 0], ("", ", from near")):
        axes.set_ylabel(f"{evidence}{title}, nats")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def settling(sampling: Mapping[int, Estimate], plain: Mapping[int, Estimate], evidence: str) -> Figure:
    """Draw averages over images against the number of samples of each, with standard errors, from near.

    Args:
        sampling: number of samples -> by importance sampling, nats.
        plain: number of samples -> by plain Monte Carlo, of which is shown what is not far below; empty if there is none.
        evidence: the name of what is estimated.
    """
    figure = Figure(figsize=(8.6, 2.8), layout="constrained")
    axes = figure.subplots()
    low, high = (np.array([one.value + side * one.standard_error for one in sampling.values()]) for side in (-1, 1))
    top = max((one.value + one.standard_error for one in plain.values()), default=low.min())
    if top > low.min():
        _with_errors(axes, plain, ORANGE, "s--", "plain Monte Carlo")
    _with_errors(axes, sampling, BLUE, "o-", "importance sampling")
    _focus(axes, low, high, top)
    axes.set_xscale("log")
    axes.set_xticks(list(sampling), [f"{count:,}" for count in sampling])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("samples per image")
    axes.set_ylabel(f"{evidence}, nats")
    axes.grid()
    axes.legend(loc="lower right")
    return figure


@styled
def sigma_curves(
    sigma: np.ndarray, curves: Mapping[str, np.ndarray], here: float, best: float, roughness: np.ndarray, plain: float, xlabel: str
) -> Figure:
    """Draw log-likelihood, and roughness of draws, against sigma.

    Args:
        sigma: [K], ascending, above 0.
        curves: name -> nats [K], at most two.
        here: the model's own sigma.
        best: the sigma of the highest first curve.
        roughness: [K], of draws, that of test images being 1.
        plain: the roughness of the means.
        xlabel: the name of sigma.
    """
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (colour, marker, line), (name, values) in zip(((BLUE, "o", "-"), (PURPLE, "s", "--")), curves.items()):
        left.plot(sigma, values, color=colour, marker=marker, linestyle=line, markersize=3, label=name)
    unit = "nats per image"
    peak, floor = (extreme(values.max() for values in curves.values()) for extreme in (max, min))
    lowest = min(values.min() for values in curves.values())
    if lowest < 0 < floor or peak - lowest > 50 * abs(peak):
        linear = 10.0 ** ceil(log10(max(1.0, abs(peak))))
        left.set_yscale("symlog", linthresh=linear)
        unit = f"nats per image\n(linear to ±{linear:,.0f}, logarithmic beyond)"
    left.set_ylabel(unit)
    right.plot(sigma, roughness, color=ORANGE, marker="^", markersize=3, label="draws")
    right.axhline(1, color=INK, linewidth=1, label="test images")
    right.axhline(plain, color=GREY, linestyle="-.", linewidth=1.4, label="means")
    right.set_yscale("log")
    right.set_ylabel("roughness (test images: 1)")
    for axes in (left, right):
        axes.axvline(here, color=INK, linestyle=":", linewidth=1.4, label="this model")
        axes.set_xscale("log")
        axes.set_xlabel(xlabel)
        axes.grid()
        axes.legend(fontsize=8)
    left.axvline(best, color=GREY, linestyle="--", linewidth=1.4, label="best of these")
    left.legend(fontsize=8)
    return figure


@styled
def size_curve(sizes: Sequence[int], swept: Sequence[Estimate], own_size: int, own: Estimate, evidence: str) -> Figure:
    """Draw the log-likelihood against the number of latents, with standard errors, and that of a model trained apart from the others.

    Args:
        sizes: numbers of latents, ascending.
        swept: log-likelihood for each, nats per image.
        own_size: the number of latents of the other model.
        own: its log-likelihood.
        evidence: the name of what was estimated.
    """
    figure = Figure(figsize=(8.6, 3.2), layout="constrained")
    axes = figure.subplots()
    ticks = sorted({*sizes, own_size})
    places = [ticks.index(size) for size in sizes]
    values, errors = [one.value for one in swept], [one.standard_error for one in swept]
    axes.errorbar(places, values, errors, color=BLUE, marker="o", capsize=4, label="of the sweep")
    beside = ticks.index(own_size) + 0.12 * (own_size in sizes)  # beside the point of the same size
    axes.errorbar(
        [beside], [own.value], [own.standard_error], color=ORANGE, fmt="D", capsize=4, label="this run, trained apart", mfc="none"
    )
    for place, value in zip(places, values):
        axes.annotate(f"{value:.1f}", (place, value), (-8, 6), textcoords="offset points", ha="right", fontsize=9)
    axes.annotate(f"{own.value:.1f}", (beside, own.value), (9, 6), textcoords="offset points", ha="left", fontsize=9)
    axes.set_xticks(range(len(ticks)), [str(size) for size in ticks])
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.margins(y=0.2)
    axes.set_xlabel("latent dimensions")
    axes.set_ylabel(f"{evidence}, nats per image")
    axes.grid()
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _spread(axes: Axes, counts: Sequence[int], values: np.ndarray, colour: str, marker: str, line: str, name: str) -> None:
    """Draw the mean over repeats, values [K, R], and one standard deviation to each side."""
    mean, deviation = values.mean(1), values.std(1, ddof=1)
    axes.plot(counts, mean, color=colour, marker=marker, linestyle=line, markersize=4, label=name)
    axes.fill_between(counts, mean - deviation, mean + deviation, color=colour, alpha=0.25, linewidth=0)


def _with_errors(axes: Axes, curve: Mapping[int, Estimate], colour: str, style: str, name: str) -> None:
    errors = [one.standard_error for one in curve.values()]
    axes.errorbar(list(curve), [one.value for one in curve.values()], errors, color=colour, fmt=style, capsize=3, label=name)


def _focus(axes: Axes, low: np.ndarray, high: np.ndarray, other: float) -> None:
    """Fit the vertical axis to what lies between `low` and `high`, and to `other` where it is not below that."""
    least, most = low.min(), max(high.max(), other)
    margin = 0.08 * (most - least) or 1.0
    axes.set_ylim(least - margin, most + margin)
