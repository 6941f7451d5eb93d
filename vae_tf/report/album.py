"""What the model does: learning curves, reconstructions, samples, interpolations."""

from functools import partial

import numpy as np
import tensorflow as tf

from vae_tf import plots
from vae_tf.corruption import corrupt
from vae_tf.generator import noise
from vae_tf.latents import posterior_moments
from vae_tf.objective import Elbo
from vae_tf.patience import best_epoch
from vae_tf.report.picture import Chapter, Maker, Picture
from vae_tf.report.subject import Subject

__all__ = ["album"]

_PAIRS, _PAIR_COLUMNS = 20, 5
_CLASSES, _VECTORS = 20, 4  # rows of samples with a label each
_PATHS, _PATH_STEPS = 6, 9


def album(subject: Subject) -> Chapter:
    """Return the pictures that every model has."""
    makers: list[Maker] = [partial(_learning_curves, subject), partial(_reconstructions, subject)]
    if subject.run.config.data.corruption is not None:
        makers.append(partial(_restorations, subject))
    if subject.y is None or subject.vae.condition is None:
        makers.append(partial(_samples, subject))
    else:
        makers.append(partial(_samples_by_label, subject, subject.vae.condition.size, subject.y[subject.order]))
    return Chapter("What it does", [*makers, partial(_interpolations, subject)])


def _learning_curves(subject: Subject) -> Picture:
    run, rows = subject.run, subject.rows
    last, config, best = rows[-1], run.config, best_epoch(run, rows)
    notes = (
        "In training the encoder saw corrupted images, in validation clean ones, so a gap between the curves is not overfitting by itself."
        if config.data.corruption is not None
        else "A validation curve that falls away from the training curve means overfitting."
    )
    return Picture(
        "Learning curves",
        "How did training go?",
        f"Averages over the images of each epoch, in nats per image; ELBO = reconstruction - KL, and higher is better. {notes}"
        f"{_objective(subject)}{'' if best is None else f' The weights are those of epoch {best}, with the smallest validation loss.'}",
        f"Three line plots by epoch. After epoch {last['epoch']:.0f} the ELBO is {last['elbo']:.1f} nats per image in training and "
        f"{last['val_elbo']:.1f} in validation, of which reconstruction is {last['val_reconstruction']:.1f} and KL {last['val_kl']:.1f}.",
        "svg+xml",
        plots.svg(plots.learning_curves(rows)),
    )


def _objective(subject: Subject) -> str:
    """How what training maximised differs from the ELBO that the curves show."""
    run, objective = subject.run, subject.run.vae.objective
    why = []
    if isinstance(objective, Elbo):
        why += [f"it counts the KL {objective.weight:g} times"] if objective.weight != 1 else []
        epochs = objective.settled_at / (run.data.train // run.config.training.batch_size)
        why += [f"its weight on the KL rose from 0 during the first {epochs:.3g} epochs"] if epochs else []
        if not why:
            return ""
    return (
        f" The objective ({run.config.objective['name']}) is not the plain ELBO{': ' if why else ''}{' and '.join(why)}. The curves show "
        "the plain ELBO all the same, with the whole KL, so that models of any objective compare; the loss that training minimised is a "
        "column of history.csv."
    )


def _reconstructions(subject: Subject) -> Picture:
    rows = subject.order[:_PAIRS]
    chosen, label = subject.x[rows], subject.label(rows)
    given = "" if label is None else ", both given the label y of the image"
    return Picture(
        "Reconstructions",
        "What comes back when an image goes through encoder and decoder?",
        f"In each pair, on the left a test image, on the right its reconstruction: the mean of p(x | {subject.z}) at the mean of "
        f"{subject.posterior}{given}.",
        f"{len(chosen)} pairs of a test image and its reconstruction.",
        "png",
        plots.png(plots.pair_grid(chosen, subject.vae(chosen if label is None else (chosen, label)).numpy(), _PAIR_COLUMNS)),
    )


def _restorations(subject: Subject) -> Picture:
    rows, settings = subject.order[:_PAIRS], subject.run.config.data
    label, level = subject.label(rows), settings.corruption or 0.0
    chosen = corrupt(tf.constant(subject.x[rows]), settings.corrupt, level, tf.constant([subject.seed, 3]))
    given = "" if label is None else ", both given the label y of the image"
    return Picture(
        "Restorations",
        "What does it make of an image with something missing?",
        f"In each pair, on the left a corrupted test image ({settings.corrupt}, {level:g}), as the encoder saw images in training; on the "
        f"right the mean of p(x | {subject.z}) at the posterior mean of what is on the left{given}.",
        f"{len(rows)} pairs of a corrupted test image and its restoration.",
        "png",
        plots.png(plots.pair_grid(chosen.numpy(), subject.vae(chosen if label is None else (chosen, label)).numpy(), _PAIR_COLUMNS)),
    )


def _samples(subject: Subject) -> Picture:
    return Picture(
        "Samples from the prior",
        "What does it make of nothing but noise?",
        "For each z ~ p(z), on the left the mean of p(x | z), on the right one draw x ~ p(x | z). From pair to pair z is random; inside a "
        "pair z is the same, and what differs is the noise of the likelihood, drawn for each value of the image by itself.",
        f"{_PAIRS} pairs of images from the prior: a smooth mean, and a draw that scatters around it.",
        "png",
        plots.png(_sample_pairs(subject, noise(_PAIRS, subject.vae.generator.noise_dim, subject.seed), None)),
    )


def _samples_by_label(subject: Subject, classes: int, y: np.ndarray) -> Picture:
    """One row for each of the classes, or for each of some label vectors of test images, the same noise in all rows."""
    if y.ndim == 1:
        labels, kind = np.arange(min(classes, _CLASSES)), "class"
        whole = "" if classes <= _CLASSES else f" The first {_CLASSES} of {classes} classes are shown."
    else:
        labels, kind, whole = y[:_VECTORS], "label of a test image", ""
    noises = noise(_PAIR_COLUMNS, subject.vae.generator.noise_dim, subject.seed)
    grid = _sample_pairs(subject, np.tile(noises, (len(labels), 1)), np.repeat(labels, _PAIR_COLUMNS, 0))
    return Picture(
        "Samples from the prior",
        "What does it make of noise and a label?",
        "In each pair, on the left the mean of p(x | z, y), on the right one draw x ~ p(x | z, y). "
        f"Each row is a {kind}, y; down a column y changes, and the noise that z is made of stays the same.{whole}",
        f"{len(labels)} rows of {_PAIR_COLUMNS} pairs of images from the prior: {', '.join(map(subject.named, labels))}.",
        "svg+xml",
        plots.svg(plots.named_rows(grid, [subject.named(label) for label in labels])),
    )


def _sample_pairs(subject: Subject, eps: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    px = subject.vae.generator(tf.constant(eps), labels)
    return plots.pair_grid(px.mean().numpy(), subject.draws(px, 1), _PAIR_COLUMNS)


def _interpolations(subject: Subject) -> Picture:
    x, y, rng = subject.x, subject.y, subject.random(2)
    start, end = np.resize(rng.permutation(len(x)), (2, _PATHS))
    given = ""
    if y is not None:
        alike = [np.flatnonzero((y == y[i]).reshape(len(y), -1).all(1) & (np.arange(len(y)) != i)) for i in start]
        end = np.array([rng.choice(others) if len(others) else other for others, other in zip(alike, end)])
        given = " All of a row is given the label y of its first image, which the last one shares where the data have two."
    label = subject.label(start)
    z_start, z_end = (posterior_moments(subject.vae, x[ends], label)[0].astype(np.float32) for ends in (start, end))
    shares = np.linspace(0, 1, _PATH_STEPS, dtype=np.float32)[:, None, None]
    decoded = subject.vae.decode(tf.constant((1 - shares) * z_start + shares * z_end), label).mean().numpy()
    paths = np.concatenate([x[start][None], decoded, x[end][None]]).swapaxes(0, 1)
    return Picture(
        "Interpolations",
        "What lies between two images?",
        f"In each row the first and the last image are test images. Between them are the means of p(x | {subject.z}) along the straight "
        f"line from the posterior mean of the one to that of the other.{given}",
        f"{_PATHS} rows, each passing from one test image to another in {_PATH_STEPS} decoded steps.",
        "png",
        plots.png(plots.image_grid(paths.reshape(-1, *x.shape[1:]), columns=_PATH_STEPS + 2)),
    )
