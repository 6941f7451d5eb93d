"""The pictures of a report: what a person would look at, each with its caption."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, final

import numpy as np
import tensorflow as tf

from vae_tf import data, plots
from vae_tf.corruption import corrupt
from vae_tf.data import Images
from vae_tf.evaluation import Evaluation, log_weights
from vae_tf.generator import noise
from vae_tf.latents import (
    LatentKL,
    active_units,
    kl_of_latents,
    layer_names,
    layer_sizes,
    posterior_moments,
    prior_draws,
    standard_prior,
)
from vae_tf.model import VAE
from vae_tf.objective import Elbo
from vae_tf.run import Run

__all__ = ["Picture", "manifold", "pictures_of"]

_PAIRS, _PAIR_COLUMNS = 20, 5
_PSEUDO_INPUTS, _PSEUDO_COLUMNS = 60, 12
_CLASSES, _VECTORS = 20, 4  # rows of samples with a label each
_PATHS, _PATH_STEPS = 6, 9
_SIDE, _EDGE = 20, 0.02  # of the manifold: images per side, and probability beyond it on each side
_KL_IMAGES, _KL_SAMPLES = 2000, 10
_MAP_DRAWS, _LABELS = 2000, 100  # points of the prior, and labels that they are drawn for


@final
@dataclass(frozen=True)
class Picture:
    """One section of the report.

    Attributes:
        title: its heading.
        caption: one or two plain sentences.
        alt: what a reader who cannot see it should know.
        kind: `png` or `svg+xml`.
        content: the image file.
    """

    title: str
    caption: str
    alt: str
    kind: str
    content: bytes

    @property
    def source(self) -> str:
        """The image as a data URI."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.content).decode()}"


def manifold(vae: VAE, label: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid over a two-dimensional latent space, where the prior is.

    For a standard normal prior z = Phi^-1(p) in each coordinate, for evenly spaced p from 0.02 to 0.98, with Phi the distribution function
    of N(0, 1): each image stands for about the same probability. For others evenly spaced z between those shares of prior draws.

    Args:
        vae: a model of two latent dimensions.
        label: [1] or [1, K], if the model has a condition.

    Returns:
        The means of p(x | z), [side, side, H, W, C], rows from the largest z_2 down, columns from the smallest z_1 up; and the
        coordinates [2, side], ascending: of z_1 and of z_2.

    Source: Kingma and Welling (2014), figure 4.
    """
    if standard_prior(vae.generator):
        coordinates = np.array([[NormalDist().inv_cdf(p) for p in np.linspace(_EDGE, 1 - _EDGE, _SIDE)]] * 2, np.float32)
    else:
        low, high = np.quantile(prior_draws(vae.generator, label).reshape(-1, 2), [_EDGE, 1 - _EDGE], 0)
        coordinates = np.linspace(low, high, _SIDE, axis=1, dtype=np.float32)
    z1, z2 = np.meshgrid(coordinates[0], coordinates[1][::-1])
    rows = (vae.decode(tf.constant(row), label).mean().numpy() for row in np.stack([z1, z2], axis=-1))
    return np.stack(list(rows)), coordinates


def pictures_of(
    run: Run, images: Images, rows: Sequence[Mapping[str, float]], evaluation: Evaluation | None, seed: int
) -> Iterator[Picture]:
    """Yield the pictures of a run one by one, as they are made: five, and more where the model has more to show.

    Args:
        run: a complete run.
        images: its images.
        rows: its history.
        evaluation: its evaluation, if there is one.
        seed: of the noise and of the choice of test images.
    """
    vae = run.vae
    x = data.fixed_images(images.test, images.levels, seed=run.config.seed, binarize=run.config.data.binarize)
    y = None if vae.condition is None else images.test.y
    classes = images.test.y if images.test.y is not None and images.test.y.ndim == 1 else None
    order = _spread_over_classes(classes, np.random.default_rng([seed, 0]).permutation(len(x)))
    yield _learning_curves(run, rows)
    yield _reconstructions(vae, x, y, order)
    if run.config.data.corruption is not None:
        yield _restorations(vae, x, y, order, run.config.data.corrupt, run.config.data.corruption, seed)
    if y is None or vae.condition is None:
        yield _samples(vae, seed)
    else:
        yield _samples_by_label(vae, vae.condition.size, y[order], images.label_names, seed)
    yield _interpolations(vae, x, y, np.random.default_rng([seed, 2]))
    yield _kl(vae, x, y, evaluation)
    mixture = next((prior for prior in (vae.prior, getattr(vae.prior, "top", None)) if hasattr(prior, "pseudo_inputs")), None)
    if mixture is not None:
        yield _pseudo_inputs(mixture.pseudo_inputs().numpy())
    if vae.prior.latent_dim == 2:
        yield _manifold(vae, y, images.label_names)
        yield _latent_map(vae, x, y, classes, images.label_names)


def _learning_curves(run: Run, rows: Sequence[Mapping[str, float]]) -> Picture:
    last, objective, config = rows[-1], run.vae.objective, run.config
    plain = isinstance(objective, Elbo) and (objective.weight, objective.warmup_steps) == (1, 0)
    notes = (
        "In training the encoder saw corrupted images, in validation clean ones, so a gap between the curves is not overfitting by itself."
        if config.data.corruption is not None
        else "A validation curve that falls away from the training curve means overfitting."
    )
    if not plain:
        notes += (
            f" The objective ({config.objective['name']}) is not the plain ELBO: the curves show the ELBO of its posterior samples, with "
            "the KL unweighted; minus what it maximises is `loss` in history.csv."
        )
    return Picture(
        "Learning curves",
        f"Averages over the images of each epoch, in nats per image; ELBO = reconstruction - KL, and higher is better. {notes}",
        f"Three line plots by epoch. After epoch {last['epoch']:.0f} the ELBO is {last['elbo']:.1f} nats per image in training and "
        f"{last['val_elbo']:.1f} in validation, of which reconstruction is {last['val_reconstruction']:.1f} and KL {last['val_kl']:.1f}.",
        "svg+xml",
        plots.svg(plots.learning_curves(rows)),
    )


def _reconstructions(vae: VAE, x: np.ndarray, y: np.ndarray | None, order: np.ndarray) -> Picture:
    chosen = x[order[:_PAIRS]]
    inputs = tf.constant(chosen) if y is None else (tf.constant(chosen), tf.constant(y[order[:_PAIRS]]))
    z, given = ("z", "") if y is None else ("z, y", ", both given the label y of the image")
    posterior = "q(z | x)" if y is None else "q(z | x, y)"
    return Picture(
        "Reconstructions",
        f"In each pair, on the left a test image, on the right its reconstruction: the mean of p(x | {z}) at the mean of "
        f"{posterior}{given}.",
        f"{len(chosen)} pairs of a test image and its reconstruction.",
        "png",
        plots.png(plots.pair_grid(chosen, vae(inputs).numpy(), _PAIR_COLUMNS)),
    )


def _restorations(vae: VAE, x: np.ndarray, y: np.ndarray | None, order: np.ndarray, kind: str, level: float, seed: int) -> Picture:
    chosen = corrupt(tf.constant(x[order[:_PAIRS]]), kind, level, tf.constant([seed, 3]))
    inputs = chosen if y is None else (chosen, tf.constant(y[order[:_PAIRS]]))
    z, given = ("z", "") if y is None else ("z, y", ", both given the label y of the image")
    return Picture(
        "Restorations",
        f"In each pair, on the left a corrupted test image ({kind}, {level:g}), as the encoder saw images in training; on the right the "
        f"mean of p(x | {z}) at the posterior mean of what is on the left{given}.",
        f"{chosen.shape[0]} pairs of a corrupted test image and its restoration.",
        "png",
        plots.png(plots.pair_grid(chosen.numpy(), vae(inputs).numpy(), _PAIR_COLUMNS)),
    )


def _pseudo_inputs(images: np.ndarray) -> Picture:
    shown = images[:_PSEUDO_INPUTS]
    rest = f", the first {len(shown)} of {len(images):,}" if len(images) > len(shown) else ""
    return Picture(
        "The pseudo-inputs of the prior",
        f"Images u that were learned with the weights{rest}: the prior is the mixture of the posteriors q(z | u), each as likely as the "
        "others. They need not look like data.",
        f"{len(shown)} learned images, each of which stands for a component of the prior.",
        "png",
        plots.png(plots.image_grid(shown, _PSEUDO_COLUMNS)),
    )


def _samples(vae: VAE, seed: int) -> Picture:
    return Picture(
        "Samples from the prior",
        "For each z ~ p(z), on the left the mean of p(x | z), on the right one draw x ~ p(x | z). From pair to pair z is random; inside a "
        "pair z is the same, and what differs is the noise of the likelihood, drawn for each value of the image by itself.",
        f"{_PAIRS} pairs of images from the prior: a smooth mean, and a draw that scatters around it.",
        "png",
        plots.png(_sample_pairs(vae, noise(_PAIRS, vae.generator.noise_dim, seed), None, seed)),
    )


def _samples_by_label(vae: VAE, classes: int, y: np.ndarray, names: tuple[str, ...] | None, seed: int) -> Picture:
    """One row for each of the classes, or for each of some label vectors of test images, the same noise in all rows."""
    if y.ndim == 1:
        labels, kind = np.arange(min(classes, _CLASSES)), "class"
        whole = "" if classes <= _CLASSES else f" The first {_CLASSES} of {classes} classes are shown."
    else:
        labels, kind, whole = y[:_VECTORS], "label of a test image", ""
    noises = noise(_PAIR_COLUMNS, vae.generator.noise_dim, seed)
    grid = _sample_pairs(vae, np.tile(noises, (len(labels), 1)), np.repeat(labels, _PAIR_COLUMNS, 0), seed)
    return Picture(
        "Samples from the prior",
        "In each pair, on the left the mean of p(x | z, y), on the right one draw x ~ p(x | z, y). "
        f"Each row is a {kind}, y; down a column y changes, and the noise that z is made of stays the same.{whole}",
        f"{len(labels)} rows of {_PAIR_COLUMNS} pairs of images from the prior: {', '.join(_name(label, names) for label in labels)}.",
        "svg+xml",
        plots.svg(plots.named_rows(grid, [_name(label, names) for label in labels])),
    )


def _sample_pairs(vae: VAE, eps: np.ndarray, labels: np.ndarray | None, seed: int) -> np.ndarray:
    uniform = np.random.default_rng([seed, 1]).uniform(1e-6, 1 - 1e-6, (len(eps), *vae.generator.image_shape)).astype(np.float32)
    means = vae.generator(tf.constant(eps), labels).mean().numpy()
    return plots.pair_grid(means, vae.generator.draw(tf.constant(eps), tf.constant(uniform), labels).numpy(), _PAIR_COLUMNS)


def _interpolations(vae: VAE, x: np.ndarray, y: np.ndarray | None, rng: np.random.Generator) -> Picture:
    start, end = np.resize(rng.permutation(len(x)), (2, _PATHS))
    labels, given, z = None, "", "z"
    if y is not None:
        alike = [np.flatnonzero((y == y[i]).reshape(len(y), -1).all(1) & (np.arange(len(y)) != i)) for i in start]
        end = np.array([rng.choice(others) if len(others) else other for others, other in zip(alike, end)])
        z, labels, given = (
            "z, y",
            y[start],
            " All of a row is given the label y of its first image, which the last one shares where the data have two.",
        )
    z_start, z_end = (posterior_moments(vae, x[ends], labels)[0].astype(np.float32) for ends in (start, end))
    shares = np.linspace(0, 1, _PATH_STEPS, dtype=np.float32)[:, None, None]
    decoded = vae.decode(tf.constant((1 - shares) * z_start + shares * z_end), labels).mean().numpy()
    paths = np.concatenate([x[start][None], decoded, x[end][None]]).swapaxes(0, 1)
    return Picture(
        "Interpolations",
        f"In each row the first and the last image are test images. Between them are the means of p(x | {z}) along the straight line from "
        f"the posterior mean of the one to that of the other.{given}",
        f"{_PATHS} rows, each passing from one test image to another in {_PATH_STEPS} decoded steps.",
        "png",
        plots.png(plots.image_grid(paths.reshape(-1, *x.shape[1:]), columns=_PATH_STEPS + 2)),
    )


def _kl(vae: VAE, x: np.ndarray, y: np.ndarray | None, evaluation: Evaluation | None) -> Picture:
    if evaluation is None or evaluation.kl_per_layer is None:
        x, y = x[:_KL_IMAGES], None if y is None else y[:_KL_IMAGES]
        mean, stddev = posterior_moments(vae, x, y)
        parts = kl_of_latents(vae, mean, stddev, y, log_weights(vae, x, y, samples=_KL_SAMPLES).kl_terms)
        active, count = active_units(mean), len(mean)
    else:
        parts = LatentKL(np.array(evaluation.kl_per_dimension), evaluation.kl_per_layer, evaluation.kl_matched)
        active, count = np.array(evaluation.active_units), evaluation.kl.images
    kl, sizes = parts.per_dimension, layer_sizes(vae)
    layers = dict(zip(layer_names(len(sizes)), sizes)) if len(sizes) > 1 else None
    rest = "" if active.all() else "; those of the others hardly do, whatever their KL"
    return Picture(
        "What each latent dimension carries",
        f"KL between posterior and prior by latent dimension, averaged over {count:,} test images. Active are {active.sum()} of {len(kl)}: "
        f"their posterior mean varies over images with a variance above 0.01{rest}.{_kl_notes(parts, layers)}",
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


def _manifold(vae: VAE, y: np.ndarray | None, names: tuple[str, ...] | None) -> Picture:
    label = None if y is None else np.zeros(1, np.int32) if y.ndim == 1 else y[:1]
    z, given = ("z", "") if label is None else ("z, y", f", given the label {_name(label[0], names)}")
    spacing = (
        "The grid is spaced by the prior: every image stands for about the same share of all samples, and the outermost "
        f"{_EDGE:.0%} on each side are left out."
        if standard_prior(vae.generator)
        else f"The grid is even over the range of prior draws in each coordinate, but for the outermost {_EDGE:.0%} on each side; what "
        "lies where the prior draws nothing is shown too, and no sample looks like it."
    )
    return Picture(
        "The manifold",
        f"The mean of p(x | {z}) over the plane of latents{given}. {spacing}",
        f"A square of {_SIDE} by {_SIDE} decoded images that change gradually with the two latent coordinates.",
        "svg+xml",
        plots.svg(plots.manifold(*manifold(vae, label))),
    )


def _latent_map(vae: VAE, x: np.ndarray, y: np.ndarray | None, classes: np.ndarray | None, names: tuple[str, ...] | None) -> Picture:
    means, _ = posterior_moments(vae, x, y)
    coloured = classes is not None and len(np.unique(classes)) <= plots.MAX_CLASSES
    if standard_prior(vae.generator):
        prior, ground = None, "The dotted circles are one and two standard deviations of the prior, where samples come from."
    else:
        rows = None if y is None else y[np.random.default_rng(0).integers(len(y), size=_LABELS)]
        prior = prior_draws(vae.generator, rows, _MAP_DRAWS // (1 if rows is None else _LABELS)).reshape(-1, 2)
        ground = "The grey points are draws from the prior, where samples come from."
    return Picture(
        "The map of test images",
        f"Each point is the posterior mean of one of {len(x):,} test images{', coloured by its label' if coloured else ''}. {ground}",
        f"{len(x):,} points in the plane{', in clusters by label, each with its name at its median' if coloured else ''}.",
        "svg+xml",
        plots.svg(plots.latent_map(means, classes if coloured else None, names, prior)),
    )


def _name(label: Any, names: tuple[str, ...] | None) -> str:
    """Return a label as a person reads it: the name or number of a class, the first numbers of a vector."""
    if label.ndim:
        return f"({', '.join(f'{value:g}' for value in label[:3].round(2))}{', …' if len(label) > 3 else ''})"
    return names[int(label)] if names else str(label)


def _spread_over_classes(labels: np.ndarray | None, order: np.ndarray) -> np.ndarray:
    """Reorder positions so that one image of each class comes first, by label, then a second of each, and so on."""
    if labels is None:
        return order
    by_class = order[np.argsort(labels[order], kind="stable")]
    y = labels[by_class]
    rank_in_class = np.arange(len(y)) - np.searchsorted(y, y)
    return by_class[np.lexsort((y, rank_in_class))]
