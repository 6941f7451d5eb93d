"""Trials side by side: the table that a person reads, best first, with paired errors over the same validation images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_tf.errors import RunError
from vae_tf.evaluation import Estimate
from vae_tf.tuning.record import COMPLETE, PRUNED, Trial
from vae_tf.tuning.results import settings
from vae_tf.tuning.space import Space
from vae_tf.tuning.trial import PER_IMAGE, SAMPLES

__all__ = ["estimate", "less_the_best", "ranked", "table"]

_NEAR = 2  # standard errors


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials best first: the complete by log p(x), the pruned by their last ELBO, then the others by number."""
    order = {COMPLETE: 0, PRUNED: 1}

    def place(trial: Trial) -> tuple[float, ...]:
        value = trial.outcome["value"] if trial.state == COMPLETE else trial.last_elbo if trial.state == PRUNED else None
        return order.get(trial.state, 2), -value if value is not None else 0, trial.number

    return sorted(trials, key=place)


def estimate(trial: Trial) -> Estimate:
    """Return log p(x) of a complete trial."""
    found = trial.outcome
    return Estimate(found["value"], found["standard_error"], found["images"], "nats", f"importance sampling, {SAMPLES} posterior samples")


def less_the_best(folder: Path, trials: Sequence[Trial]) -> dict[int, Estimate]:
    """Return log p(x) less that of the best trial, paired by image, for each complete trial but the best, by number.

    Args:
        folder: of the study.
        trials: some that `ranked` returned.

    Raises:
        RunError: what a trial found of each image is missing or damaged.
    """
    complete = [trial for trial in trials if trial.state == COMPLETE]
    values = [_per_image(folder / trial.name / PER_IMAGE) for trial in complete]
    if len({len(value) for value in values}) > 1:
        raise RunError(f"the trials in `{folder}` were not estimated on the same images; search again in another folder.")
    return {trial.number: Estimate.over(value - values[0], "paired by image") for trial, value in zip(complete[1:], values[1:])}


def table(folder: Path, trials: Sequence[Trial], space: Space) -> str:
    """Return the table that a person reads.

    Args:
        folder: of the study.
        trials: all of them.
        space: what was searched.

    Raises:
        RunError: as in `less_the_best`.
    """
    trials = ranked(trials)
    differences = less_the_best(folder, trials)
    rows = [["trial", "log p(x)", "less the best", "last ELBO", "epochs", "minutes", "state", *(s.key for s in space.settings)]]
    for trial in trials:
        found, difference = trial.outcome, differences.get(trial.number)
        rows.append(
            [
                str(trial.number),
                f"{found['value']:.3f} +- {found['standard_error']:.3f}" if trial.state == COMPLETE else "",
                "" if difference is None else f"{difference.value:+.3f} +- {difference.standard_error:.3f}",
                "" if trial.last_elbo is None else f"{trial.last_elbo:.2f}",
                str(max(trial.elbo, default=0)),
                f"{found['seconds'] / 60:.1f}" if "seconds" in found else "",
                trial.state,
                *settings(trial, space).values(),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *_notes(trials, differences)])


def _notes(trials: Sequence[Trial], differences: dict[int, Estimate]) -> list[str]:
    first = trials[0]
    if first.state != COMPLETE:
        return ["(no trial is complete)"]
    near = [number for number, one in differences.items() if one.value > -_NEAR * one.standard_error]
    notes = [
        f"(nats per image over the same {first.outcome['images']:,} validation images; log p(x) by importance sampling, {SAMPLES} samples "
        "of the posterior per image, with the weights that the run keeps; the estimates lie below log p(x). +- is a standard error over "
        "images, that of a difference is paired by image, and neither covers what another seed of the training would give. The last ELBO "
        "is that of the validation while training.)",
        "(The best of many, chosen on these images, looks better on them than it is: quote what `evaluate` finds on the test images.)",
    ]
    if near:
        numbers = ", ".join(map(str, near))
        notes.insert(0, f"(not told apart from the best, within {_NEAR} standard errors: {numbers})")
    return notes


def _per_image(path: Path) -> np.ndarray:
    try:
        with np.load(path) as arrays:
            return arrays["log_likelihood"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"`{path}` is missing or damaged ({error}); search again in another folder.") from None
