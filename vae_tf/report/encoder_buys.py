"""What the encoder buys: log p(x) by plain Monte Carlo and by importance sampling, and what the ELBO leaves out."""

from functools import partial

import numpy as np

from vae_tf import plots
from vae_tf.evaluation import Estimate, log_weights
from vae_tf.report.picture import Chapter, Maker, Picture
from vae_tf.report.subject import Subject

__all__ = ["encoder_buys"]

_IMAGES, _REPEATS, _SAMPLES = 3, 8, 5000


def encoder_buys(subject: Subject) -> Chapter:
    """Return the pictures of the estimators."""
    makers: list[Maker] = [partial(_estimates, subject), partial(_gap, subject)]
    if len(subject.curve) > 1:
        makers.append(partial(_settling, subject))
    return Chapter("What the encoder buys", makers)


def _estimates(subject: Subject) -> Picture:
    rows = subject.order[:_IMAGES]
    tiled = np.repeat(rows, _REPEATS)  # each image several times: the noise of each row is its own
    label = subject.label(tiled)
    found = {
        proposal: log_weights(subject.vae, subject.x[tiled], label, samples=_SAMPLES, seed=subject.seed + 1, proposal=proposal)
        for proposal in ("prior", "posterior")
    }
    counts = list(found["prior"].curve)
    prior, posterior = (np.stack(list(one.curve.values())).reshape(len(counts), len(rows), -1).swapaxes(1, 2) for one in found.values())
    elbo = found["posterior"].elbo.reshape(len(rows), -1).mean(1)
    few = posterior[counts.index(10)].mean(0) if 10 in counts else posterior[-1].mean(0)
    behind = (few - prior[-1].mean(0)).mean()
    if behind > 0.5:
        verdict = f"With 10 samples from the posterior one is {behind:,.1f} nats above plain Monte Carlo with {counts[-1]:,}."
    else:
        verdict = (
            f"Here plain Monte Carlo with {counts[-1]:,} samples is no worse than importance sampling with 10: the latent space is small "
            "enough to be searched without an encoder."
        )
    alone, helped = (one[-1].std(0, ddof=1).mean() for one in (prior, posterior))
    return Picture(
        f"Estimates of {subject.evidence}",
        "How many samples does it take, with and without the encoder?",
        f"{len(rows)} test images; each line is the mean of {_REPEATS} estimates, the band one standard deviation of a single one. "
        f"{verdict} At {counts[-1]:,} samples a single estimate scatters by {alone:.2f} nats without the encoder and by {helped:.2f} with "
        "it. Both lie below the truth on average and rise towards it.",
        f"For {len(rows)} images, curves by the number of samples, from {counts[0]} to {counts[-1]:,}: importance sampling reaches "
        f"{', '.join(f'{value:,.1f}' for value in posterior[-1].mean(0))} nats, plain Monte Carlo "
        f"{', '.join(f'{value:,.1f}' for value in prior[-1].mean(0))}.",
        "svg+xml",
        plots.svg(plots.evidence_curves(subject.x[rows], elbo, counts, prior, posterior, subject.evidence)),
    )


def _gap(subject: Subject) -> Picture:
    found = subject.measured
    gaps, samples = found.log_likelihood - found.elbo, next(reversed(found.curve))
    gap = Estimate.over(gaps, "")
    exact = "p(z | x)" if subject.y is None else "p(z | x, y)"
    return Picture(
        "What the ELBO leaves out",
        f"How far is the bound from {subject.evidence}?",
        f"{subject.evidence} - ELBO for {gap.images:,} test images, the former by importance sampling with {samples} samples: "
        f"{gap.value:.2f} ± {gap.standard_error:.2f} nats on average. It is KL({subject.posterior} || {exact}), what a better encoder "
        "could win without any change of the decoder. The true gap is a little larger, as the estimate lies below the truth.",
        f"A histogram of gaps, from {gaps.min():.1f} to {gaps.max():.1f} nats.",
        "svg+xml",
        plots.svg(plots.histograms({"test images": gaps}, {"mean": gap.value}, f"{subject.evidence} - ELBO, nats per image")),
    )


def _settling(subject: Subject) -> Picture:
    counts, estimates = list(subject.curve), list(subject.curve.values())
    values, rise = [one.value for one in estimates], estimates[-1].value - estimates[-2].value
    return Picture(
        "Has the estimate settled?",
        "Would more samples change the number?",
        f"The average of {subject.evidence} over {estimates[-1].images:,} test images by importance sampling, by the number of samples of "
        f"each. From {counts[-2]:,} to {counts[-1]:,} samples it rises by {rise:.2f} nats. Error bars are standard errors over images; the "
        "points share their images, so that their differences are far surer than the bars.",
        f"A curve from {values[0]:,.2f} nats at {counts[0]} to {values[-1]:,.2f} at {counts[-1]:,}.",
        "svg+xml",
        plots.svg(plots.settling(counts, values, [one.standard_error for one in estimates], subject.evidence)),
    )
