"""Is 2-D enough? Small models of several sizes, trained alike, side by side."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import floor
from typing import Any

import numpy as np
import tensorflow as tf

from vae_tf import plots
from vae_tf.config import Config
from vae_tf.errors import ConfigError, InterruptedRun, RunError
from vae_tf.evaluation import Estimate, log_weights
from vae_tf.generator import noise
from vae_tf.report.picture import Chapter, Picture
from vae_tf.report.sigma import deviation
from vae_tf.report.subject import Subject
from vae_tf.run import Run
from vae_tf.train import train

__all__ = ["SWEEP", "beyond", "shortened", "sweep", "train_sweep"]

SWEEP = "sweep"  # folder inside the run folder
_STEPS = 5000  # of the optimizer, at most
_IMAGES, _SAMPLES, _SHOWN = 1000, 200, 10


def train_sweep(run: Run, sizes: Sequence[int], data_dir: str | None = None, verbose: int = 2) -> list[Run]:
    """Train a model of each size in `sweep/` of the run folder, or take up where an earlier call stopped.

    Each has the configuration of the run but for the number of latents, and is trained for some 5,000 optimizer steps, or as long as the
    run where that is shorter; schedules shrink in proportion.

    Args:
        run: a complete run.
        sizes: numbers of latent dimensions, at least 1.
        data_dir: as in `Run.images`.
        verbose: as in `train`.

    Returns:
        The complete runs, by rising size.

    Raises:
        ConfigError: `sizes` is empty or holds a number below 1, or the model has more than one layer of latents.
        InterruptedRun: the user pressed Ctrl-C, or it was SIGTERM.
        RunError: the folder of an earlier sweep is damaged.
    """
    if len(run.config.model.latent_dims) > 1:
        raise ConfigError(
            f"`sizes` are of models of one layer of latents, and this one has {len(run.config.model.latent_dims)}: "
            f"{list(run.config.model.latent_dims)}; sweep a model of one layer."
        )
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"`sizes` must hold numbers of latent dimensions, each at least 1, got {list(sizes)}; try [2, 5, 10].")
    steps = run.data.train // run.config.training.batch_size
    runs: list[Run] = []
    for size in sorted(set(sizes)):
        config = shortened(run.config, size, steps)
        if verbose:
            print(f"sweep: {size} latent dimensions, {config.training.epochs} epochs, {len(runs) + 1} of {len(set(sizes))}", flush=True)
        folder = run.folder / SWEEP / f"latents-{size}"
        try:
            runs.append(train(config, folder, data_dir=data_dir, resume=True, verbose=verbose))
        except InterruptedRun as stop:
            raise type(stop)("stopped; what was complete is kept: the same command goes on from there.") from None
        except RunError as error:
            raise RunError(f"`{folder}` can not be used ({error}); remove it, and ask again.") from None
    return runs


def shortened(config: Config, latent_dim: int, steps_per_epoch: int) -> Config:
    """Return a configuration with another number of latents and at most 5,000 optimizer steps, its schedules in proportion."""
    epochs = min(config.training.epochs, max(1, _STEPS // steps_per_epoch))
    share = epochs / config.training.epochs
    objective = {name: _shrink(name, value, share, steps_per_epoch) for name, value in config.objective.items()}
    return replace(
        config.override([f"model.latent_dim={latent_dim}"]),
        training=replace(config.training, epochs=epochs, patience=None),  # trainings of one length compare
        objective=objective,
    )


def _shrink(name: str, value: Any, share: float, steps_per_epoch: int) -> Any:
    # Whole steps, rounded down, so that a schedule that ended with the training still does.
    return floor(float(value) * share * steps_per_epoch) / steps_per_epoch if name.endswith("_epochs") else value


def sweep(subject: Subject, runs: Sequence[Run]) -> Chapter:
    """Return the pictures of a sweep over numbers of latents."""
    return Chapter("Is 2-D enough?", [partial(_likelihoods, subject, runs), partial(_samples, subject, runs)])


def _likelihoods(subject: Subject, runs: Sequence[Run]) -> Picture:
    rows = subject.order[:_IMAGES]
    found = [
        log_weights(run.vae, subject.x[rows], subject.label(rows), samples=_SAMPLES, seed=subject.seed) for run in (*runs, subject.run)
    ]
    *estimates, own = [Estimate.over(one.log_likelihood, "") for one in found]
    sizes, epochs = _sizes(runs), runs[0].config.training.epochs
    best = int(np.argmax([estimate.value for estimate in estimates]))
    steps = [Estimate.over(found[best].log_likelihood - one.log_likelihood, "") for one in found[:-1]]
    behind = ", ".join(
        f"{step.value:.1f} ± {step.standard_error:.1f} lower with {size}" for size, step in zip(sizes, steps) if size != sizes[best]
    )
    return Picture(
        "Log-likelihood by number of latents",
        "How many latent dimensions do these images need?",
        f"The same configuration with another number of latents, each trained for {epochs} epochs{_shorter(subject, epochs)}: "
        f"{subject.evidence} of {len(rows):,} test images by importance sampling with {_SAMPLES} samples each. Best is {sizes[best]} "
        f"with {estimates[best].value:.1f} nats{f'; on the same images it is {behind}' if behind else ''}. {beyond(sizes, best)}"
        f"{_apart(subject, epochs, own)}",
        "; ".join(f"{size} latents: {one.value:.1f} ± {one.standard_error:.1f} nats" for size, one in zip(sizes, estimates))
        + f"; this run itself, {subject.vae.prior.latent_dim} latents: {own.value:.1f} ± {own.standard_error:.1f} nats.",
        "svg+xml",
        plots.svg(plots.size_curve(sizes, estimates, subject.vae.prior.latent_dim, own, subject.evidence)),
    )


def _shorter(subject: Subject, epochs: int) -> str:
    whole = subject.run.config.training.epochs
    return "" if epochs == whole else f", where this run had {whole}, so that longer trainings may gain"


def beyond(sizes: Sequence[int], best: int) -> str:
    """Return what sizes that were not tried may hold, where the best of `sizes`, ascending, is at an end; else an empty text."""
    if best == len(sizes) - 1:
        return "That is the largest that was tried: larger ones may be better. "
    if best == 0 and sizes[0] > 1:
        return "That is the smallest that was tried: smaller ones may be better. "
    return ""


def _apart(subject: Subject, epochs: int, own: Estimate) -> str:
    """How this run itself, which is no part of the sweep, compares."""
    whole = subject.run.config.training.epochs
    trained = f"with its own, longer training of {whole} epochs" if whole > epochs else "with its own training, as long as these"
    return (
        f"The open diamond is this run itself, {trained}: {subject.vae.prior.latent_dim} latent dimensions, {own.value:.1f} ± "
        f"{own.standard_error:.1f} nats."
    )


def _samples(subject: Subject, runs: Sequence[Run]) -> Picture:
    label = subject.label(np.resize(subject.order, _SHOWN))
    count = _SHOWN if label is None else len(label)
    made = [run.vae.generator(tf.constant(noise(count, run.vae.generator.noise_dim, subject.seed)), label) for run in runs]
    images = np.concatenate([px.mean().numpy() for px in made])
    sizes = _sizes(runs)
    spread = ", ".join(f"{deviation(subject, px).mean():.2f} with {size}" for size, px in zip(sizes, made))
    return Picture(
        "Samples by number of latents",
        "Does one see the difference?",
        f"Means of p(x | {subject.z}) at draws from the prior of each model, not chosen. What z leaves open is up to the likelihood: the "
        f"standard deviation of a value is {spread} on average. The less, the sharper the mean.",
        f"{len(runs)} rows of {count} samples, for {', '.join(map(str, sizes))} latent dimensions.",
        "svg+xml",
        plots.svg(plots.named_rows(plots.spaced_grid(images, count), [f"{size} latents" for size in sizes])),
    )


def _sizes(runs: Sequence[Run]) -> list[int]:
    return [run.vae.prior.latent_dim for run in runs]
