"""The generative story: z -> f(z) -> a distribution over images; and that no single z explains the data."""

from functools import partial

import numpy as np
import tensorflow as tf

from vae_tf import plots
from vae_tf.report.picture import Chapter, Picture
from vae_tf.report.sigma import deviation, scale_of
from vae_tf.report.subject import Subject

__all__ = ["story"]

_EXAMPLE = (0.1, 0.5)  # the z of a plane that is always among those shown
_SHOWN, _DRAWS = 3, 5
_MANY, _POSTERIOR = 5000, 500  # z ~ p(z), and z ~ q(z | x), for one image
_NEAR = 10.0  # nats
_SURE = 2  # standard errors


def story(subject: Subject) -> Chapter:
    """Return the pictures that follow p(x) = E_p(z)[p(x | z)] from its inside."""
    return Chapter(
        "The generative story", [partial(_one_pass, subject), partial(_one_z_for_all, subject), partial(_all_z_for_one, subject)]
    )


def _chosen(subject: Subject) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Return some z [K, D], with the labels that they are given, and their names."""
    label = subject.label(np.resize(subject.order, _SHOWN))
    z = subject.prior(_SHOWN, label, stream=10)
    if z.shape[1] == 2:
        z[0] = _EXAMPLE
    names = [f"z = ({row[0]:.1f}, {row[1]:.1f})" if len(row) == 2 else f"z #{index + 1}" for index, row in enumerate(z)]
    if label is not None:
        names = [f"{name}\ny = {subject.named(one)}" for name, one in zip(names, label)]
    return z, label, names


def _one_pass(subject: Subject) -> Picture:
    z, label, names = _chosen(subject)
    px = subject.vae.decode(tf.constant(z), label)
    mean, spread = px.mean().numpy(), deviation(subject, px)
    again = subject.vae.decode(tf.constant(np.repeat(z, _DRAWS, 0)), None if label is None else np.repeat(label, _DRAWS, 0))
    draws = subject.draws(again, 11).reshape(len(z), _DRAWS, *mean.shape[1:])
    grain = np.sqrt(np.mean((draws[:, 0] - draws[:, 1]) ** 2))
    shape = np.sqrt(np.mean([(mean[i] - mean[j]) ** 2 for i in range(len(z)) for j in range(i)]))
    columns = [mean[:, None], draws]
    headings = ["mean", *[""] * (_DRAWS // 2), "draws of x", *[""] * (_DRAWS - _DRAWS // 2 - 1)]
    if np.ptp(spread) > 1e-3 * spread.max():
        columns.insert(1, (spread / spread.max())[:, None])
        headings.insert(1, "std. dev.")
        sigma = f"a standard deviation for each value (black 0, white {spread.max():.2g})"
    else:
        sigma = f"a standard deviation, {spread.max():.2g} for every value"
    binomial = scale_of(px) is None and np.allclose(spread**2, mean * (1 - mean), atol=1e-4)
    alike = "" if subject.used.active.any() else " No latent dimension is active: all z give nearly this same distribution of images."
    fixed = " There is no sigma to choose: the variance of a pixel is p (1 - p), which its mean p fixes." if binomial else ""
    source = f"{'The first is z = (0.1, 0.5), the others are' if z.shape[1] == 2 else 'Each is'} drawn from the prior."
    return Picture(
        "From one z to images",
        f"Where is the randomness in p(x | {subject.z})?",
        f"{source} f(z) is one pass through the decoder, without any chance: it gives p(x | {subject.z}), here its mean and {sigma}. "
        "All chance that is left is in the likelihood, for each value by itself: two draws of one z differ, by "
        f"{grain:.2f} (root mean square), in grain only; the means of two z, by {shape:.2f}, in what is shown.{alike}{fixed}",
        f"{len(z)} rows, one for each z: the mean, then {_DRAWS} draws that scatter around it.",
        "svg+xml",
        plots.svg(plots.named_rows(_strips(np.concatenate(columns, 1)), names, headings)),
    )


def _strips(images: np.ndarray) -> np.ndarray:
    return plots.spaced_grid(images.reshape(-1, *images.shape[2:]), images.shape[1])


def _one_z_for_all(subject: Subject) -> Picture:
    z, _, names = _chosen(subject)
    rows, own = subject.measured_rows, subject.measured.log_likelihood
    under = subject.log_likelihoods(np.repeat(z[:1], len(rows), 0), subject.x[rows], subject.label(rows))
    near = int((under > own - _NEAR).sum())
    name = names[0].split("\n")[0]
    hit = "none comes" if near == 0 else f"{near} come{'s' if near == 1 else ''}"
    if not subject.used.active.any():
        verdict = (
            "no latent dimension is active, so all z give nearly the same distribution of images, and any z explains an image about as "
            "well as any other"
        )
    elif near > len(rows) / 2:
        verdict = "for most images this z does nearly as well as their own"
    else:
        verdict = "each image needs its own z"
    return Picture(
        "One z does not explain the data",
        "Could one z be enough?",
        f"log p(x | {subject.z}) of {len(rows)} test images, all under {name}, beside {subject.evidence} of each, by importance sampling. "
        f"Under this z half of the images lie below {np.median(under):,.0f} nats, and of all {hit} within {_NEAR:g} nats of its own "
        f"{subject.evidence}, whose average is {own.mean():,.1f}: {verdict}.",
        f"Two histograms. Under one z the middle half of images is between {np.quantile(under, 0.25):,.0f} and "
        f"{np.quantile(under, 0.75):,.0f} nats; their {subject.evidence} between {np.quantile(own, 0.25):,.0f} and "
        f"{np.quantile(own, 0.75):,.0f}.",
        "svg+xml",
        plots.svg(
            plots.histograms(
                {f"under {name}": under, f"{subject.evidence}": own}, {}, f"nats per image, {len(rows)} test images", beyond=0.01
            )
        ),
    )


def _all_z_for_one(subject: Subject) -> Picture:
    row = subject.measured_rows[:1]
    x, evidence = subject.x[row], float(subject.measured.log_likelihood[0])
    label = subject.label(row)
    labels = None if label is None else np.repeat(label, _MANY, 0)
    prior = subject.log_likelihoods(subject.prior(_MANY, labels, stream=12), x, labels)
    z = subject.vae.encode(tf.constant(x), label).sample(_POSTERIOR, seed=tf.constant([subject.seed, 12])).numpy()[:, 0]
    posterior = subject.log_likelihoods(z, x, None if label is None else np.repeat(label, _POSTERIOR, 0))
    hits, there = int((prior > evidence - _NEAR).sum()), float((posterior > evidence - _NEAR).mean())
    share = f"{hits:,} of {_MANY:,} ({hits / _MANY:.2%}) come within {_NEAR:g} nats of {subject.evidence} = {evidence:,.1f}"
    if not hits:
        share = (
            f"none of {_MANY:,} comes within {_NEAR:g} nats of {subject.evidence} = {evidence:,.1f}; the best misses it by "
            f"{evidence - prior.max():,.0f}"
        )
    elif hits < _MANY / 2:
        share += f": one has to draw about {_MANY / hits:,.0f} to meet one that matters"
    return Picture(
        "One image, many z",
        "Why not just draw z from the prior and average?",
        f"log p(x | {subject.z}) of one test image. Of z from the prior {share}. Draws from {subject.posterior} come that near in "
        f"{there:.0%} of cases: {_bought(subject, hits / _MANY, there, prior)}.",
        f"Two histograms: z from the prior, half of them below {np.median(prior):,.0f} nats, and z from the posterior, half of them above "
        f"{np.median(posterior):,.0f}.",
        "svg+xml",
        plots.svg(
            plots.histograms(
                {f"z ~ prior ({_MANY:,})": prior, f"z ~ {subject.posterior} ({_POSTERIOR})": posterior},
                {f"{subject.evidence}": evidence},
                f"log p(x | {subject.z}) of one test image, nats",
                beyond=0.02,
                logarithmic=True,
            )
        ),
    )


def _bought(subject: Subject, by_chance: float, there: float, under_prior: np.ndarray) -> str:
    """What the encoder buys, where a share `by_chance` of z from the prior comes near, and a share `there` of those from the posterior."""
    if not subject.used.active.any():
        return (
            "no latent dimension is active, the posterior is nearly the prior, and the encoder buys next to nothing: by which z the "
            f"{under_prior.std():.1f} nats come that log p(x | {subject.z}) still differs by (standard deviation over z), it cannot tell"
        )
    chance = np.sqrt(by_chance * (1 - by_chance) / _MANY + there * (1 - there) / _POSTERIOR)
    if there - by_chance <= _SURE * chance:
        return "for this image the encoder does no better than chance"
    return "the encoder knows where to look" if there > 0.5 else "the encoder looks in a better place than chance, but misses often"
