"""The report of a run: one HTML file with the pictures a person would look at, of this very model and its data."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log10
from pathlib import Path
from statistics import NormalDist
from typing import Any, final

import numpy as np
import tensorflow as tf
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter, ValidationError

from vae_tf import data, plots
from vae_tf.config import without_folders
from vae_tf.data import Images
from vae_tf.errors import RunError
from vae_tf.evaluate import CAVEAT, Evaluation, active_units, kl_per_dimension, posterior_moments
from vae_tf.files import replacing
from vae_tf.generator import noise
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.progress import progress
from vae_tf.run import EVALUATION, HISTORY, REPORT, Run

__all__ = ["Picture", "manifold", "write_report"]

_PAIRS, _PAIR_COLUMNS = 20, 5
_PATHS, _PATH_STEPS = 6, 9
_SIDE, _EDGE = 20, 0.02  # of the manifold: images per side, and probability beyond it on each side
_KL_IMAGES = 2000
_ROWS = 2000  # images encoded at once

_NUMBERS = {
    "log_likelihood": "log p(x)",
    "elbo": "ELBO",
    "reconstruction": "reconstruction, E_q[log p(x | z)]",
    "kl": "KL(q(z | x) || p(z))",
    "bits_per_dimension": "bits per dimension",
    "log_likelihood_prior": "log p(x) of the first test images, without the encoder",
    "log_likelihood_same_images": "log p(x) of the same images, with the encoder",
}


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


def write_report(run: Run, images: Images, path: str | Path | None = None, seed: int = 0) -> Path:
    """Write the report of a complete run as one self-contained HTML file, and return its path.

    Args:
        run: the run; numbers are taken from its `evaluation.json` where there is one.
        images: its images.
        path: the file to write; `report.html` in the run folder when None.
        seed: at least 0; of the noise and of the choice of test images.

    Raises:
        RunError: `evaluation.json` is damaged, or `history.csv` is missing or damaged; nothing is written.
    """
    evaluation = _evaluation(run.folder / EVALUATION)
    rows = History(run.folder / HISTORY).rows
    if not rows:
        raise RunError(f"`{run.folder / HISTORY}` is missing or empty; restore it or train again.")
    with progress(7 if run.config.model.latent_dim == 2 else 5, "report", "pictures") as bar:
        pictures = []
        for picture in _pictures(run, images, rows, evaluation, seed):
            pictures.append(picture)
            bar.update()
    environment = Environment(
        loader=PackageLoader("vae_tf"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html").render(
        title=f"{without_folders(run.config.data.source)}, {run.config.model.latent_dim} latent dimensions",
        facts=_facts(run, rows),
        numbers=[] if evaluation is None else _numbers(evaluation),
        caveat=CAVEAT.replace("+-", "±"),
        folder=run.folder,
        pictures=pictures,
        seed=seed,
    )
    path = Path(path or run.folder / REPORT)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def manifold(vae: VAE) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid over a two-dimensional latent space, spaced so that the prior gives each image about the same probability.

    z = Phi^-1(p) in each coordinate, for evenly spaced p from 0.02 to 0.98, with Phi the distribution function of N(0, 1).

    Args:
        vae: a model of two latent dimensions.

    Returns:
        The means of p(x | z), [side, side, H, W, C], rows from the largest z_2 down, columns from the smallest z_1 up; and the
        coordinates [side], ascending.

    Source: Kingma and Welling (2014), figure 4.
    """
    coordinates = np.array([NormalDist().inv_cdf(p) for p in np.linspace(_EDGE, 1 - _EDGE, _SIDE)], np.float32)
    z1, z2 = np.meshgrid(coordinates, coordinates[::-1])
    return vae.decode(tf.constant(np.stack([z1, z2], axis=-1))).mean().numpy(), coordinates


def _pictures(run: Run, images: Images, rows: list[dict[str, float]], evaluation: Evaluation | None, seed: int) -> Iterator[Picture]:
    vae, labels = run.vae, images.test.y
    x = data.fixed_images(images.test, images.levels, seed=run.config.seed, binarize=run.config.data.binarize)
    yield _learning_curves(rows)
    yield _reconstructions(vae, x, labels, np.random.default_rng([seed, 0]))
    yield _samples(vae, seed)
    yield _interpolations(vae, x, np.random.default_rng([seed, 2]))
    yield _kl(vae, x, evaluation)
    if run.config.model.latent_dim == 2:
        yield _manifold(vae)
        yield _latent_map(vae, x, labels, images.label_names)


def _learning_curves(rows: list[dict[str, float]]) -> Picture:
    last = rows[-1]
    return Picture(
        "Learning curves",
        "Averages over the images of each epoch, in nats per image; ELBO = reconstruction - KL, and higher is better. "
        "A validation curve that falls away from the training curve means overfitting.",
        f"Three line plots by epoch. After epoch {last['epoch']:.0f} the ELBO is {last['elbo']:.1f} nats per image in training and "
        f"{last['val_elbo']:.1f} in validation, of which reconstruction is {last['val_reconstruction']:.1f} and KL {last['val_kl']:.1f}.",
        "svg+xml",
        plots.svg(plots.learning_curves(rows)),
    )


def _reconstructions(vae: VAE, x: np.ndarray, labels: np.ndarray | None, rng: np.random.Generator) -> Picture:
    chosen = x[_spread_over_classes(labels, rng.permutation(len(x)))[:_PAIRS]]
    return Picture(
        "Reconstructions",
        "In each pair, on the left a test image, on the right its reconstruction: the mean of p(x | z) at the mean of q(z | x).",
        f"{len(chosen)} pairs of a test image and its reconstruction.",
        "png",
        plots.png(plots.pair_grid(chosen, vae(tf.constant(chosen)).numpy(), _PAIR_COLUMNS)),
    )


def _samples(vae: VAE, seed: int) -> Picture:
    eps = tf.constant(noise(_PAIRS, vae.generator.noise_dim, seed))
    uniform = np.random.default_rng([seed, 1]).uniform(1e-6, 1 - 1e-6, (_PAIRS, *vae.generator.image_shape)).astype(np.float32)
    return Picture(
        "Samples from the prior",
        "For each z ~ p(z), on the left the mean of p(x | z), on the right one draw x ~ p(x | z). From pair to pair z is random; inside a "
        "pair z is the same, and what differs is the noise of the likelihood, drawn for each value of the image by itself.",
        f"{_PAIRS} pairs of images from the prior: a smooth mean, and a draw that scatters around it.",
        "png",
        plots.png(plots.pair_grid(vae.generator(eps).mean().numpy(), vae.generator.draw(eps, tf.constant(uniform)).numpy(), _PAIR_COLUMNS)),
    )


def _interpolations(vae: VAE, x: np.ndarray, rng: np.random.Generator) -> Picture:
    start, end = x[np.resize(rng.permutation(len(x)), (2, _PATHS))]
    z_start, z_end = (vae.encode(tf.constant(ends)).mean().numpy()[:, None] for ends in (start, end))
    share = np.linspace(0, 1, _PATH_STEPS, dtype=np.float32)[:, None]
    decoded = vae.decode(tf.constant((1 - share) * z_start + share * z_end)).mean().numpy()
    paths = np.concatenate([start[:, None], decoded, end[:, None]], axis=1)
    return Picture(
        "Interpolations",
        "In each row the first and the last image are test images. Between them are the means of p(x | z) along the straight line from "
        "the posterior mean of the one to that of the other.",
        f"{_PATHS} rows, each passing from one test image to another in {_PATH_STEPS} decoded steps.",
        "png",
        plots.png(plots.image_grid(paths.reshape(-1, *x.shape[1:]), columns=_PATH_STEPS + 2)),
    )


def _kl(vae: VAE, x: np.ndarray, evaluation: Evaluation | None) -> Picture:
    if evaluation is None:
        mean, stddev = posterior_moments(vae, x[:_KL_IMAGES])
        kl, active, count = kl_per_dimension(mean, stddev), active_units(mean), len(mean)
    else:
        kl, active, count = np.array(evaluation.kl_per_dimension), np.array(evaluation.active_units), evaluation.kl.images
    rest = "" if active.all() else "; those of the others hardly do, whatever their KL"
    return Picture(
        "What each latent dimension carries",
        f"KL between posterior and prior by latent dimension, averaged over {count:,} test images. Active are {active.sum()} of {len(kl)}: "
        f"their posterior mean varies over images with a variance above 0.01{rest}.",
        f"Bars in falling order, from {kl.max():.2f} to {kl.min():.2f} nats; {active.sum()} of {len(kl)} are marked as active.",
        "svg+xml",
        plots.svg(plots.kl_bars(kl, active)),
    )


def _manifold(vae: VAE) -> Picture:
    return Picture(
        "The manifold",
        "The mean of p(x | z) over the plane of latents. The grid is spaced by the prior: every image stands for about the same share of "
        f"all samples, and the outermost {_EDGE:.0%} on each side are left out.",
        f"A square of {_SIDE} by {_SIDE} decoded images that change gradually with the two latent coordinates.",
        "svg+xml",
        plots.svg(plots.manifold(*manifold(vae))),
    )


def _latent_map(vae: VAE, x: np.ndarray, labels: np.ndarray | None, names: tuple[str, ...] | None) -> Picture:
    means = np.concatenate([vae.encode(tf.constant(x[i : i + _ROWS])).mean().numpy() for i in range(0, len(x), _ROWS)])
    coloured = labels is not None and len(np.unique(labels)) <= plots.MAX_CLASSES
    return Picture(
        "The map of test images",
        f"Each point is the posterior mean of one of {len(x):,} test images{', coloured by its label' if coloured else ''}. "
        "The dotted circles are one and two standard deviations of the prior, where samples come from.",
        f"{len(x):,} points in the plane{', in clusters by label, each with its name at its median' if coloured else ''}.",
        "svg+xml",
        plots.svg(plots.latent_map(means, labels if coloured else None, names)),
    )


def _spread_over_classes(labels: np.ndarray | None, order: np.ndarray) -> np.ndarray:
    """Reorder positions so that one image of each class comes first, by label, then a second of each, and so on."""
    if labels is None:
        return order
    by_class = order[np.argsort(labels[order], kind="stable")]
    y = labels[by_class]
    rank_in_class = np.arange(len(y)) - np.searchsorted(y, y)
    return by_class[np.lexsort((y, rank_in_class))]


def _evaluation(path: Path) -> Evaluation | None:
    if not path.exists():
        return None
    try:
        return TypeAdapter(Evaluation).validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"`{path}` is damaged ({str(error).splitlines()[0]}); remove it, or evaluate again.") from None


def _numbers(evaluation: Evaluation) -> list[dict[str, str]]:
    rows = []
    for name, title in _NUMBERS.items():
        estimate = getattr(evaluation, name)
        if estimate is not None:
            digits = max(2, 1 - int(log10(estimate.standard_error))) if estimate.standard_error > 0 else 2
            value = f"{estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f} {estimate.unit}"
            rows.append({"name": title, "value": value, "how": f"{estimate.method}; {estimate.images:,} test images"})
    return rows


def _facts(run: Run, rows: list[dict[str, float]]) -> dict[str, str]:
    config, summary = run.config, run.data
    height, width, channels = summary.image_shape
    values = "real values" if summary.levels is None else f"{summary.levels} levels"
    binarized = ", binarized anew in each epoch" if config.data.binarize == "dynamic" else ""
    weights, generator = (sum(int(np.prod(w.shape)) for w in part.trainable_variables) for part in (run.vae, run.vae.generator))
    minutes = sum(row["seconds"] for row in rows) / 60
    return {
        "data": f"{without_folders(config.data.source)}: {height} x {width} {'grey' if channels == 1 else 'RGB'}, {values}{binarized}",
        "images": f"{summary.train:,} for training, {summary.validation:,} for validation, {summary.test:,} for test",
        "latent dimensions": str(config.model.latent_dim),
        **{axis: _piece(getattr(config.model, axis)) for axis in ("encoder", "decoder", "posterior", "likelihood", "prior")},
        "objective": _piece(config.objective),
        "training": f"{len(rows)} epochs in {minutes:.1f} minutes, batches of {config.training.batch_size}, "
        f"learning rate {config.training.learning_rate:g}, seed {config.seed}",
        "parameters": f"{weights:,}; {generator:,} of them in the generator",
    }


def _piece(spec: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in spec.items() if key != "name")
    return f"{spec['name']} ({options})" if options else spec["name"]
