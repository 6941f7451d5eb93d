"""The evaluation of a run: what its test images tell, and what its training images and their labels add."""

from dataclasses import replace
from functools import partial

import numpy as np

from vae_tf import data, pipeline
from vae_tf.data import Images, Split
from vae_tf.errors import RunError
from vae_tf.evaluation.features import classifier
from vae_tf.evaluation.latent_accuracy import latent_accuracy
from vae_tf.evaluation.of_model import ANNEALED, evaluate_each
from vae_tf.evaluation.result import Evaluation
from vae_tf.evaluation.sample_quality import draw_samples, sample_quality
from vae_tf.run import EVALUATION, PER_IMAGE, Run

__all__ = ["evaluate_run"]

_MOST_SAMPLES = 10_000  # drawn for the measures of quality; at most as many as there are test images


def evaluate_run(
    run: Run,
    images: Images,
    *,
    samples: int = 1000,
    seed: int = 0,
    prior_images: int = 1000,
    annealed_images: int = 0,
    verbose: bool = True,
) -> Evaluation:
    """Estimate everything, and write `evaluation.json` and `evaluation.npz` into the run folder.

    What annealed importance sampling said in an earlier evaluation of the run is kept, unless it is done again.

    Args:
        run: a complete run.
        images: its images.
        samples: as in `evaluate`, like all that follow.
        seed: of all noise.
        prior_images: for plain Monte Carlo and the model without its dead dimensions.
        annealed_images: for annealed importance sampling.
        verbose: show progress.

    Raises:
        ConfigError: a number is out of range.
        DataError: the images lie outside the likelihood's support.
    """
    x = pipeline.test_images(images, run.config.data.binarize)
    label = None if run.vae.condition is None else images.test.y
    found, each = evaluate_each(
        run.vae, x, label, samples=samples, seed=seed, prior_images=prior_images, annealed_images=annealed_images, verbose=verbose
    )
    found = _with_quality(found, run, images, x, label, seed, verbose)
    found = _with_latent_accuracy(found, run, images, x, seed)
    found = found if annealed_images else _with_kept(found, run)
    each.write(run.folder / PER_IMAGE)
    found.write(run.folder / EVALUATION)
    return found


def _with_quality(
    found: Evaluation, run: Run, images: Images, x: np.ndarray, label: np.ndarray | None, seed: int, verbose: bool
) -> Evaluation:
    """Compare samples with test images, and training images with test images, which is what a perfect generator would get."""
    described = classifier(images, run.config.data.binarize, verbose=verbose)
    if isinstance(described, str):
        return replace(found, notes=(*found.notes, f"sample quality was not measured: {described}"))
    levels, count = data.seen_levels(images, run.config.data), min(len(x), _MOST_SAMPLES)
    drawn = draw_samples(run.vae, count, label, levels=levels, seed=seed, verbose=verbose)
    rows = np.random.default_rng([seed, 8]).permutation(len(images.train))[:count]
    training = _training_images(images.train.take(np.sort(rows)), images, run, seed)
    real = described.features(x[np.sort(np.random.default_rng([seed, 9]).permutation(len(x))[:count])])
    topics = {
        "samples against test images": vars(sample_quality(real, described.features(drawn), seed=seed)),
        "training images against test images, as a perfect generator": vars(sample_quality(real, described.features(training), seed=seed)),
    }
    notes = (f"features for sample quality: {described}", *([described.note] if described.note else []))
    return replace(found, further=found.further | topics, notes=(*found.notes, *notes))


def _with_latent_accuracy(found: Evaluation, run: Run, images: Images, x: np.ndarray, seed: int) -> Evaluation:
    training = partial(_training_images, images.train, images, run, seed)
    told = latent_accuracy(run.vae, training, images.train.y, x, images.test.y, seed=seed)
    if isinstance(told, str):
        return replace(found, notes=(*found.notes, f"the accuracy of latents as features was not measured: {told}"))
    return replace(found, further=found.further | {"classes found by latents": vars(told)})


def _training_images(split: Split, images: Images, run: Run, seed: int, rows: np.ndarray | None = None) -> np.ndarray:
    # 0 is the seed of the test images: equal noise would make equal images equal twice.
    return pipeline.fixed_images(split, images.levels, seed=seed + 1, binarize=run.config.data.binarize, rows=rows)


def _with_kept(found: Evaluation, run: Run) -> Evaluation:
    try:
        before = Evaluation.read(run.folder / EVALUATION)
    except RunError:
        return found
    kept = {topic: before.further[topic] for topic in ANNEALED if topic in before.further}
    notes = ("annealed importance sampling is from an earlier evaluation of this run",) if kept else ()
    return replace(found, further=found.further | kept, notes=(*found.notes, *notes))
