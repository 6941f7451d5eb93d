"""What the encoder buys: log p(x) by plain Monte Carlo and by importance sampling, and what the ELBO leaves out."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from vae_tf import plots
from vae_tf.evaluation import Estimate, log_weights
from vae_tf.report.picture import Chapter, Maker, Picture
from vae_tf.report.subject import Subject

__all__ = ["Compared", "encoder_buys"]

_IMAGES, _REPEATS, _SAMPLES = 3, 8, 5000
_PAIRED = 200  # test images on which the two estimators are compared where plain Monte Carlo is not hopeless
_NEAR = 2.0  # nats that plain Monte Carlo may be behind on the few images and still be compared on many
_SURE = 2  # standard errors
_PLAIN = "plain Monte Carlo"  # as an evaluation names it


class Compared(NamedTuple):
    """The two estimators of log p(x) at equal numbers of samples."""

    counts: list[int]  # S_1 .. S_K
    prior: np.ndarray  # [K, R, N], R repeated estimates of each of a few images, by plain Monte Carlo
    posterior: np.ndarray  # [K, R, N], by importance sampling
    elbo: np.ndarray  # [N]
    # [M], by that of the two which is higher on the first of `measured_rows`; None where only the few were looked at
    better: np.ndarray | None
    lead: Estimate | None  # of plain Monte Carlo over importance sampling on those images, paired

    @property
    def missed(self) -> bool:
        """Whether plain Monte Carlo is the higher of the two, by more than chance."""
        return self.lead is not None and self.lead.value > _SURE * self.lead.standard_error


def encoder_buys(subject: Subject) -> Chapter:
    """Return the pictures of the estimators."""
    compared = cache(partial(_compare, subject))
    makers: list[Maker] = [partial(_estimates, subject, compared), partial(_gap, subject, compared)]
    if len(subject.curve) > 1:
        makers.append(partial(_settling, subject))
    return Chapter("What the encoder buys", makers)


def _compare(subject: Subject) -> Compared:
    rows = subject.order[:_IMAGES]
    tiled = np.repeat(rows, _REPEATS)  # each image several times: the noise of each row is its own
    label = subject.label(tiled)
    found = [
        log_weights(subject.vae, subject.x[tiled], label, samples=_SAMPLES, seed=subject.seed + 1, proposal=proposal)
        for proposal in ("prior", "posterior")
    ]
    counts = list(found[0].curve)
    prior, posterior = (np.stack(list(one.curve.values())).reshape(len(counts), len(rows), -1).swapaxes(1, 2) for one in found)
    elbo = found[1].elbo.reshape(len(rows), -1).mean(1)
    if (posterior[-1] - prior[-1]).mean() > _NEAR:
        return Compared(counts, prior, posterior, elbo, None, None)
    rows = subject.measured_rows[:_PAIRED]
    plain, sampled = (
        log_weights(
            subject.vae, subject.x[rows], subject.label(rows), samples=_SAMPLES, seed=subject.seed + 2, proposal=proposal
        ).log_likelihood
        for proposal in ("prior", "posterior")
    )
    lead = Estimate.over(plain - sampled, "")
    return Compared(counts, prior, posterior, elbo, plain if lead.value > 0 else sampled, lead)


def _estimates(subject: Subject, compared: Callable[[], Compared]) -> Picture:
    found, images = compared(), subject.x[subject.order[:_IMAGES]]
    counts, prior, posterior = found.counts, found.prior, found.posterior
    alone, helped = (one[-1].std(0, ddof=1).mean() for one in (prior, posterior))
    return Picture(
        f"Estimates of {subject.evidence}",
        "How many samples does it take, with and without the encoder?",
        f"{len(images)} test images; each line is the mean of {_REPEATS} estimates, the band one standard deviation of a single one. "
        f"{_verdict(subject, found)} Both are lower bounds on average, and rise towards the truth. At {counts[-1]:,} samples a single "
        f"estimate scatters by {alone:.2f} nats without the encoder and by {helped:.2f} with it.",
        f"For {len(images)} images, curves by the number of samples, from {counts[0]} to {counts[-1]:,}: importance sampling reaches "
        f"{', '.join(f'{value:,.1f}' for value in posterior[-1].mean(0))} nats, plain Monte Carlo "
        f"{', '.join(f'{value:,.1f}' for value in prior[-1].mean(0))}.",
        "svg+xml",
        plots.svg(plots.evidence_curves(images, found.elbo, counts, prior, posterior, subject.evidence)),
    )


def _verdict(subject: Subject, found: Compared) -> str:
    """Which of the two is higher at the same number of samples, and what that says of the encoder."""
    samples, lead = found.counts[-1], found.lead
    if lead is None:
        behind = (found.posterior[-1] - found.prior[-1]).mean()
        words = f"With {samples:,} samples each, importance sampling is {behind:,.1f} nats above plain Monte Carlo on these images"
        early = (found.posterior[found.counts.index(10)].mean(0) - found.prior[-1].mean(0)).mean() if 10 in found.counts else 0.0
        return f"{words}; with only 10 it is still {early:,.1f} above." if early > _NEAR else f"{words}."
    where = f"With {samples:,} samples each on {lead.images:,} test images"
    size = f"{abs(lead.value):.2f} ± {lead.standard_error:.2f} nats"
    if found.missed:
        return (
            f"{where}, plain Monte Carlo is {size} above importance sampling, so it is nearer the truth: this encoder's posterior misses "
            "part of where images are explained, being too narrow or in the wrong place."
        )
    if lead.value < -_SURE * lead.standard_error:
        return f"{where}, importance sampling is {size} above plain Monte Carlo."
    alike = f"{where}, the two do not differ by more than chance: importance sampling less plain Monte Carlo is {-lead.value:.2f} ± "
    alike += f"{lead.standard_error:.2f} nats."
    return alike if subject.used.active.any() else f"{alike} No latent dimension is active, so the encoder buys next to nothing."


def _gap(subject: Subject, compared: Callable[[], Compared]) -> Picture:
    found, both = subject.measured, compared()
    gaps, samples = found.log_likelihood - found.elbo, next(reversed(found.curve))
    gap = Estimate.over(gaps, "")
    exact = "p(z | x)" if subject.y is None else "p(z | x, y)"
    series = {f"by importance sampling, {samples} samples": gaps}
    more = "The true gap is larger, as the estimate lies below the truth on average."
    if both.lead is not None and both.better is not None:
        count, name = len(both.better), "plain Monte Carlo" if both.lead.value > 0 else "importance sampling"
        further = Estimate.over(both.better - found.log_likelihood[:count], "")
        if further.value > _SURE * further.standard_error:
            series[f"by {name}, {_SAMPLES:,} samples"] = both.better - found.elbo[:count]
            more = (
                f"The true gap is larger, by at least {further.value:.2f} ± {further.standard_error:.2f} nats: so much higher is {name} "
                f"with {_SAMPLES:,} samples on {'these' if count == len(gaps) else f'{count:,} of these'} images, and that too is a lower "
                "bound on average."
            )
    mean = "mean" if len(series) == 1 else "mean of the first"
    return Picture(
        "What the ELBO leaves out",
        f"How far is the bound from {subject.evidence}?",
        f"{subject.evidence} - ELBO for {gap.images:,} test images, the former by importance sampling with {samples} samples, drawn for "
        f"this picture: {gap.value:.2f} ± {gap.standard_error:.2f} nats on average. It is KL({subject.posterior} || {exact}), what a "
        f"better encoder could win without any change of the decoder. {more}",
        f"Histograms of gaps, of {gaps.min():.1f} to {gaps.max():.1f} nats: "
        + "; ".join(f"{name}, {values.mean():.1f} nats on average" for name, values in series.items())
        + ".",
        "svg+xml",
        plots.svg(plots.histograms(series, {mean: gap.value}, f"{subject.evidence} - ELBO, nats per image")),
    )


def _settling(subject: Subject) -> Picture:
    counts, estimates = list(subject.curve), list(subject.curve.values())
    values, rise = [one.value for one in estimates], estimates[-1].value - estimates[-2].value
    plain = {} if subject.evaluation is None else subject.evaluation.curves.get(_PLAIN, {})
    beside = ""
    if plain:
        number, last = next(reversed(plain.items()))
        where = f" (averaged over {last.images:,} of these images only)" if last.images < estimates[-1].images else ""
        beside = f" Plain Monte Carlo gets to {last.value:,.2f} nats with {number:,} samples{where}; what is far below is not drawn."
    return Picture(
        "Has the estimate settled?",
        "Would more samples change the number?",
        f"The average of {subject.evidence} over {estimates[-1].images:,} test images by importance sampling, by the number of samples of "
        f"each. From {counts[-2]:,} to {counts[-1]:,} samples it rises by {rise:.2f} nats. Error bars are standard errors over images; the "
        f"points share their images, so that their differences are far surer than the bars.{beside}",
        f"A curve from {values[0]:,.2f} nats at {counts[0]} to {values[-1]:,.2f} at {counts[-1]:,}.{beside}",
        "svg+xml",
        plots.svg(plots.settling(subject.curve, plain, subject.evidence)),
    )
