"""Diagnosis in words: what was seen, what it means, what to try; nothing where nothing is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import final

import numpy as np
import tensorflow as tf

from vae_tf.report.sigma import scale_of
from vae_tf.report.subject import Subject

__all__ = [
    "Finding",
    "collapsed",
    "diagnosis",
    "few_effective_samples",
    "late_warm_up",
    "overfitting",
    "saturated_sigma",
    "unfinished",
    "unsettled",
]

_IDLE = 0.5  # share of idle latents from which on it is worth a word
_RISE = 0.25  # nats per image that an estimate may still rise by ten times the samples
_EFFECTIVE = 5  # samples
_FALL, _GAP, _GAIN = 0.05, 0.5, 0.03  # of the KL: of validation from its best, between training and validation, in the last tenth
_LEAST = 0.2  # nats: smaller changes are noise
_LATE = 0.9  # of the training
_SATURATED, _AT_BOUND = 0.1, 1.05  # share of values, and how near the bound they are
_SCALES = 100  # images whose sigma is looked at


@final
@dataclass(frozen=True)
class Finding:
    """Something that a reader should know before trusting, or improving, the model.

    Attributes:
        title: its name.
        seen: what was seen, with numbers.
        means: what that means.
        advice: what to try.
    """

    title: str
    seen: str
    means: str
    advice: str


def diagnosis(subject: Subject) -> list[Finding]:
    """Return what is wrong with a run, as far as its history, its evaluation and its decoder tell."""
    run, rows, used = subject.run, subject.rows, subject.used
    steps_per_epoch = run.data.train // run.config.training.batch_size
    settled = ceil(run.vae.objective.settled_at / steps_per_epoch)
    corrupted = run.config.data.corruption is not None
    found = [
        collapsed(used.kl.per_dimension, used.active, subject.layers),
        late_warm_up(settled, len(rows)),
        overfitting(rows[settled:], corrupted),
        unfinished(rows[settled:]),
        unsettled([(samples, estimate.value) for samples, estimate in subject.curve.items()]),
        few_effective_samples(*subject.effective_samples),
        saturated_sigma(*_scales(subject)),
    ]
    return [finding for finding in found if finding is not None]


def collapsed(kl: np.ndarray, active: np.ndarray, layers: Mapping[str, int] | None = None) -> Finding | None:
    """Look for latents that carry nothing.

    Args:
        kl: [D] nats per image.
        active: bool [D], whether the posterior mean varies over images.
        layers: name -> how many dimensions, top first; None for one layer.
    """
    ends = np.cumsum(list((layers or {"": len(kl)}).values()))[:-1]
    idle = [name for name, part in zip(layers or {"": 0}, np.split(active, ends)) if not part.any()]
    if idle:
        where = "No latent dimension" if layers is None else f"No dimension of {' and '.join(idle)}"
        cost = sum(part.sum() for name, part in zip(layers or {"": 0}, np.split(kl, ends)) if name in idle)
        rest = "samples differ by chance alone" if layers is None else "the other layers do the work alone"
        return Finding(
            "Posterior collapse",
            f"{where} is active: posterior means are the same for all images, up to a variance of 0.01. The KL there is {cost:.2f} nats.",
            f"The decoder explains the images without these latents; {rest}.",
            "A KL warm-up (objective.warmup_epochs), an objective with free bits, a smaller learning rate, or a weaker decoder.",
        )
    if (~active).mean() < _IDLE:
        return None
    return Finding(
        "Most latent dimensions are idle",
        f"{(~active).sum()} of {len(active)} latent dimensions do not vary over images; together they cost "
        f"{kl[~active].sum():.2f} of {kl.sum():.2f} nats of KL.",
        "They cost the likelihood next to nothing, but the model uses far less of its latent space than it was given.",
        "Fewer latents (model.latent_dim), if that is as good; or a KL warm-up (objective.warmup_epochs), which wakes some of them.",
    )


def unsettled(curve: Sequence[tuple[int, float]]) -> Finding | None:
    """Look whether an estimate of log p(x) still rises with the number of samples.

    Args:
        curve: (samples, nats per image), by rising number of samples.
    """
    if len(curve) < 2:
        return None
    (few, before), (many, after) = curve[-2:]
    rise = (after - before) / np.log10(many / few)
    if rise <= _RISE:
        return None
    return Finding(
        "The estimate has not settled",
        f"From {few:,} to {many:,} samples per image the estimate of log p(x) rose by {after - before:.2f} nats.",
        "It lies below log p(x) by more than its standard error says, and models compared at this number of samples may change places.",
        f"Evaluate with more: --samples {10 * many}; a more flexible posterior needs fewer.",
    )


def few_effective_samples(median: float, samples: int) -> Finding | None:
    """Look whether a few samples carry all the weight of importance sampling.

    Args:
        median: over images, of the effective sample size.
        samples: of each image, of which that is.
    """
    if median >= min(_EFFECTIVE, samples / 2):
        return None
    return Finding(
        "Few effective samples",
        f"Of {samples:,} posterior samples of an image, {median:.1f} count (median over test images).",
        "The posterior misses much of where the image is explained: single samples decide the estimate of log p(x), which lies below the "
        "truth, and the ELBO pays for the mismatch.",
        "More samples in the evaluation (--samples); a posterior with correlations or a flow (model.posterior); a wider encoder.",
    )


def overfitting(rows: Sequence[Mapping[str, float]], corrupted: bool = False) -> Finding | None:
    """Look whether validation falls back from its best, or far behind training.

    Args:
        rows: of the history, from when on the objective no longer changes.
        corrupted: the encoder saw corrupted images in training only, so that the two losses do not compare.
    """
    if len(rows) < 2:
        return None
    best = min(rows, key=lambda row: row["val_loss"])
    last, kl = rows[-1], max(abs(rows[-1]["val_kl"]), 1.0)
    fall, gap = last["val_loss"] - best["val_loss"], last["val_loss"] - last["loss"]
    fallen, apart = fall > max(_LEAST, _FALL * kl), not corrupted and gap > max(_LEAST, _GAP * kl)
    if not fallen and not apart:
        return None
    seen = [f"The validation loss was best at epoch {best['epoch']:.0f} and has risen by {fall:.1f} nats since."] if fallen else []
    seen += [f"At the end validation is {gap:.1f} nats behind training, with a KL of {kl:.1f}."] if apart else []
    stop = f"Fewer epochs (training.epochs={best['epoch']:.0f}), " if fallen else "Fewer epochs, "
    return Finding(
        "Overfitting",
        " ".join(seen),
        "The model learns images of the training set by heart; likelihood on new images suffers.",
        f"{stop}a smaller network, or more images.",
    )


def unfinished(rows: Sequence[Mapping[str, float]]) -> Finding | None:
    """Look whether the training ended while it still gained.

    Args:
        rows: of the history, from when on the objective no longer changes.
    """
    if len(rows) < 2:
        return None
    window = max(1, len(rows) // 10)
    gain = rows[-1 - window]["val_loss"] - rows[-1]["val_loss"]
    if gain <= max(_LEAST, _GAIN * abs(rows[-1]["val_kl"])):
        return None
    span = "the last epoch" if window == 1 else f"the last {window} epochs"
    return Finding(
        "Underfitting: the training was cut short",
        f"The validation loss fell by {gain:.1f} nats in {span}.",
        "The model could still learn; its numbers say what this training gave, not what the model can.",
        "More epochs (training.epochs), or a larger learning rate.",
    )


def late_warm_up(settled: int, epochs: int) -> Finding | None:
    """Look whether the objective reached its final form in time.

    Args:
        settled: epochs after which it no longer changes.
        epochs: that were trained.
    """
    if settled <= _LATE * epochs:
        return None
    when = "would settle after" if settled > epochs else "settled at"
    return Finding(
        "The warm-up hardly ended",
        f"The schedule of the objective {when} epoch {settled}, and the training ended at epoch {epochs}.",
        "Most of the training maximised something else than the final objective, mostly with less weight on the KL: posteriors are too far "
        "from the prior, and samples suffer.",
        "A shorter schedule (the objective's option in epochs) or more training.epochs.",
    )


def saturated_sigma(scale: np.ndarray | None, least: float | None) -> Finding | None:
    """Look whether sigma stands at its lower bound.

    Args:
        scale: of any shape; None where the likelihood has no sigma.
        least: its lower bound; None where it has none.
    """
    if scale is None or least is None or (share := float(np.mean(scale < _AT_BOUND * least))) <= _SATURATED:
        return None
    many = "Sigma is" if np.size(scale) == 1 else f"Of all values {share:.0%} have a sigma"
    return Finding(
        "Sigma at its lower bound",
        f"{many} within 5 % of the bound, {least:g}.",
        "Values that never change could be given any density: the log-likelihood measures the bound, not the model.",
        "Compare no densities between different bounds; choose a likelihood of grey levels for images that have them, or raise min_scale.",
    )


def _scales(subject: Subject) -> tuple[np.ndarray | None, float | None]:
    label = subject.label(subject.order[:_SCALES])
    count = _SCALES if label is None else len(label)
    scale = scale_of(subject.vae.decode(tf.constant(subject.prior(count, label, stream=40)), label))
    return None if scale is None else np.asarray(scale), getattr(subject.vae.likelihood, "min_scale", None)
