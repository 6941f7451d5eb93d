"""Training and generation: what latents carry, and the posteriors of images over the prior."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from math import sqrt
from typing import Any

import numpy as np
import tensorflow as tf

from vae_tf import plots
from vae_tf.latents import LatentKL
from vae_tf.report.holes import Looked, decoded_in_holes, distances, look
from vae_tf.report.picture import Chapter, Maker, Picture
from vae_tf.report.plane import plane
from vae_tf.report.subject import Subject

__all__ = ["training_and_generation"]

_ELLIPSES, _DRAWS = 200, 200  # test images, and draws of the posterior of each
_PSEUDO_INPUTS, _PSEUDO_COLUMNS = 30, 6
_PRIOR = 5000  # draws from the prior whose width stands for that of the prior
_TOLERATED, _SURE = 0.1, 3  # differences of width that go without a word: a share, and standard errors


def training_and_generation(subject: Subject) -> Chapter:
    """Return the pictures that compare where training decodes with where generation does."""
    looked = cache(partial(look, subject))
    makers: list[Maker] = [partial(_kl, subject)]
    if subject.vae.prior.latent_dim == 2:
        makers.append(partial(_ellipses, subject, looked))
    makers += [partial(_spreads, subject), partial(_radius, subject), partial(distances, looked)]
    makers.append(partial(decoded_in_holes, subject, looked))
    prior = subject.vae.prior
    mixture = next((piece for piece in (prior, getattr(prior, "top", None)) if hasattr(piece, "pseudo_inputs")), None)
    if mixture is not None:
        makers.append(partial(_pseudo_inputs, subject, mixture))
    if prior.latent_dim == 2:
        makers += plane(subject)
    return Chapter("Training and generation", makers)


def _kl(subject: Subject) -> Picture:
    (parts, active, count), layers = subject.used, subject.layers
    kl = parts.per_dimension
    found = f"Active are {active.sum()} of {len(kl)}: their posterior mean varies over images with a variance above 0.01"
    if not active.any():
        found = (
            f"None of {len(kl)} is active: no posterior mean varies over images with a variance above 0.01, so latents tell next to "
            "nothing about an image"
        )
    elif not active.all():
        found += "; those of the others hardly do, whatever their KL"
    return Picture(
        "What each latent dimension carries",
        "How many latent dimensions does the model use?",
        f"KL between posterior and prior by latent dimension, averaged over {count:,} test images. {found}.{_kl_notes(parts, layers)}",
        f"Bars in falling order{' in each layer' if layers else ''}, from {kl.max():.2f} to {kl.min():.2f} nats; {active.sum()} of "
        f"{len(kl)} are marked as active.",
        "svg+xml",
        plots.svg(plots.kl_bars(kl, active, layers)),
    )


def _kl_notes(parts: LatentKL, layers: Mapping[str, int] | None) -> str:
    """What bars and KL have to do with each other, where this does not go without saying."""
    total, notes = sum(parts.per_layer.values()), ""
    if len(parts.per_layer) > 1:
        by_layer = ", ".join(f"{value:.2f} in {name}" for name, value in parts.per_layer.items())
        notes += f" Layers stand from the top down, each given those above it: the KL of {total:.2f} nats is {by_layer}."
    if parts.matched:
        whole = layers is None or len(parts.matched) == len(layers)
        here, there = ("", f" of {total:.2f} nats") if whole else (f"of {parts.matched[0]} ", f" of {parts.matched[0]}")
        notes += (
            f" Posterior or prior binds the dimensions {here}together, so the KL is no sum over them: each "
            "by itself is compared with the prior by mean and standard deviation, as if both were normal, and these bars do not add up to "
            f"the KL{there}."
        )
    return notes


def _ellipses(subject: Subject, looked: Callable[[], Looked]) -> Picture:
    rows = subject.order[:_ELLIPSES]
    x, label = tf.constant(subject.x[rows]), subject.label(rows)
    z = subject.vae.encode(x, label).sample(_DRAWS, seed=tf.constant([subject.seed, 30])).numpy().astype(np.float64)
    means, found = z.mean(0), looked()
    covariances = np.einsum("sni,snj->nij", z - means, z - means) / (_DRAWS - 1)
    classes, ground = subject.classes, None if subject.standard_prior else found.z
    coloured = classes is not None and len(np.unique(classes)) <= plots.MAX_CLASSES
    area = np.sqrt(np.linalg.det(covariances) / np.linalg.det(np.cov(found.z.T)))
    named = ", named by their class" if coloured else ""
    under = (
        "The dotted circles are one and two standard deviations of the prior" if ground is None else "Grey points are draws of the prior"
    )
    together = (
        f"but {found.holes.share:.1%} of draws from the prior fall farther from all of them than 99 % of posterior draws do"
        if found.holes.exist
        else "but all together they cover what the prior covers, so that a draw from the prior lands where images are encoded"
    )
    return Picture(
        "Posteriors over the prior",
        "Where does training decode from, and where does generation?",
        f"Ellipses of two standard deviations around the posterior means of {len(rows)} test images{named}. {under}. Half of the "
        f"posteriors cover less than {np.median(area):.1%} of the area of the prior, {together}.",
        f"{len(rows)} ellipses in the plane; half of them cover less than {np.median(area):.1%} of the area of the prior.",
        "svg+xml",
        plots.svg(plots.posteriors(means, covariances, classes[rows] if coloured and classes is not None else None, subject.names, ground)),
    )


def _spreads(subject: Subject) -> Picture:
    z, again = subject.encoded
    prior = subject.prior(_PRIOR, subject.label(np.resize(subject.encoded_rows, _PRIOR)), stream=31).std(0)
    deviation, within = z.std(0), np.sqrt(np.mean((z - again) ** 2, 0) / 2)
    ratio, one = deviation / prior, within / prior
    scatter = 1 / sqrt(2 * len(z))
    verdict = "".join(f"; {words}" for words in _mismatch(ratio, max(_TOLERATED, _SURE * scatter)))
    telling = f"the most telling one has {one.min():.2f}" if subject.used.active.any() else "here that is so of all of them, but for chance"
    return Picture(
        "Width of the posteriors",
        "Does the aggregated posterior fill the prior?",
        f"By latent dimension, in standard deviations of the prior: how wide the posteriors of {len(z):,} test images are together, and "
        f"how wide one of them is. Together they are {ratio.min():.2f} to {ratio.max():.2f} times as wide as the prior (each ± "
        f"{scatter:.2f}, by the number of images){verdict}. A dimension whose single posterior is as wide as the prior says nothing "
        f"about the image; {telling}.",
        f"Two rows of points by latent dimension: all posteriors together between {ratio.min():.2f} and {ratio.max():.2f} times as wide as "
        f"the prior, one posterior between {one.min():.2f} and {one.max():.2f}.",
        "svg+xml",
        plots.svg(plots.spreads(deviation, within, prior, subject.layers)),
    )


def _mismatch(ratio: np.ndarray, tolerated: float) -> Iterator[str]:
    """What a ratio of widths means where it is farther from 1 than `tolerated`."""
    if ratio.min() <= 1 - tolerated:
        yield "where it is less, the prior reaches beyond the images"
    if ratio.max() >= 1 + tolerated:
        yield "where it is more, images lie beyond the prior, and samples like them are rare"


def _radius(subject: Subject) -> Picture:
    z, _ = subject.encoded
    prior = subject.prior(len(z), subject.label(subject.encoded_rows), stream=31)
    centre, width = prior.mean(0), prior.std(0)
    lengths = [np.sqrt((((part - centre) / width) ** 2).sum(1)) for part in (prior, z)]
    (length, spread), (other, width) = ((part.mean(), part.std()) for part in lengths)
    dimensions = z.shape[1]
    shell = (
        f" In {dimensions} dimensions lengths crowd around √{dimensions} = {sqrt(dimensions):.1f}, far from 0." if dimensions > 4 else ""
    )
    if abs(length - other) >= spread / 4:
        verdict = f"Images lie {'farther out' if other > length else 'nearer'} than the noise that generation starts from."
    elif subject.used.active.any():
        verdict = "The two agree, for the KL of training pulls them together: that is why decoding noise works."
    else:
        verdict = "The two agree, for the posterior of every image is nearly the prior itself."
    return Picture(
        "Distance from the centre",
        "Are images as far out as the noise that generation starts from?",
        f"Length of z, in standard deviations of the prior: {length:.2f} ± {spread:.2f} for draws from the prior, {other:.2f} ± "
        f"{width:.2f} for draws from the posteriors of {len(z):,} test images.{shell} {verdict}",
        f"Two histograms of lengths, around {lengths[0].mean():.1f} and {lengths[1].mean():.1f}.",
        "svg+xml",
        plots.svg(
            plots.histograms(
                {"prior": lengths[0], "posteriors of test images": lengths[1]}, {}, "length of z, standard deviations of the prior"
            )
        ),
    )


def _pseudo_inputs(subject: Subject, mixture: Any) -> Picture:
    images = mixture.pseudo_inputs().numpy()
    shown = images[:_PSEUDO_INPUTS]
    rest = f", the first {len(shown)} of {len(images):,}" if len(images) > len(shown) else ""
    return Picture(
        "The pseudo-inputs of the prior",
        "What is the prior made of?",
        f"In each pair, on the left an image u that was learned with the weights{rest}: the prior is the mixture of posteriors q(z | u), "
        "each as likely as the others. They need not look like data. On the right what that component makes: the mean of p(x | z) at the "
        "mean of q(z | u).",
        f"{len(shown)} pairs of a learned image, which stands for a component of the prior, and of what is decoded there.",
        "png",
        plots.png(plots.pair_grid(shown, subject.vae(shown).numpy(), _PSEUDO_COLUMNS)),
    )
