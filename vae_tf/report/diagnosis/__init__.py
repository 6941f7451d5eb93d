"""Diagnosis in words: what was seen, what it means, what to try; nothing where nothing is wrong."""

from math import ceil, sqrt

import numpy as np
import tensorflow as tf

from vae_tf.patience import best_epoch
from vae_tf.report.diagnosis.finding import Finding
from vae_tf.report.diagnosis.of_estimates import few_effective_samples, missed, unsettled
from vae_tf.report.diagnosis.of_latents import collapsed, holed
from vae_tf.report.diagnosis.of_sigma import misplaced_sigma, saturated_sigma
from vae_tf.report.diagnosis.of_training import late_warm_up, overfitting, unfinished
from vae_tf.report.holes import look
from vae_tf.report.sigma import scale_of, sigma_loss
from vae_tf.report.subject import Subject

__all__ = ["Finding", "diagnosis"]

_SCALES = 100  # images whose sigma is looked at


def diagnosis(subject: Subject) -> list[Finding]:
    """Return what is wrong with a run, as far as its history, its evaluation, its latents and its decoder tell."""
    run, rows, used = subject.run, subject.rows, subject.used
    steps_per_epoch = run.data.train // run.config.training.batch_size
    settled = ceil(run.vae.objective.settled_at / steps_per_epoch)
    corrupted = run.config.data.corruption is not None
    best = best_epoch(run, rows) or len(rows)  # the weights are of this epoch; those after it were tried, and did not help
    error = float(np.std(subject.measured.elbo)) / sqrt(run.data.validation)
    gaining = unfinished(rows[settled:]) if best == len(rows) else None
    found = [
        collapsed(used.kl.per_dimension, used.active, subject.layers),
        late_warm_up(settled, len(rows)),
        gaining or overfitting(rows[settled:best], corrupted, error),
        missed({} if subject.evaluation is None else subject.evaluation.higher),
        unsettled([(samples, estimate.value) for samples, estimate in subject.curve.items()]),
        few_effective_samples(*subject.effective_samples),
        _holed(subject),
        saturated_sigma(*_scales(subject)),
        misplaced_sigma(sigma_loss(subject)),
    ]
    return [finding for finding in found if finding is not None]


def _holed(subject: Subject) -> Finding | None:
    if not subject.used.active.any():
        return None
    found = look(subject).holes
    return holed(found.share, found.error)


def _scales(subject: Subject) -> tuple[np.ndarray | None, float | None]:
    label = subject.label(subject.order[:_SCALES])
    count = _SCALES if label is None else len(label)
    scale = scale_of(subject.vae.decode(tf.constant(subject.prior(count, label, stream=40)), label))
    return None if scale is None else np.asarray(scale), getattr(subject.vae.likelihood, "min_scale", None)
