"""What trials found, as a line for each and as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vae_tf.files import replacing
from vae_tf.tuning.record import COMPLETE, FAILED, Trial
from vae_tf.tuning.space import Space

__all__ = ["TRIALS", "best", "settings", "told", "write_csv"]

TRIALS = "trials.csv"
_COLUMNS = ("trial", "state", "log_likelihood", "standard_error", "images", "last_elbo", "epochs", "seconds")


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the highest log p(x), None if none is complete."""
    return max((trial for trial in trials if trial.state == COMPLETE), key=lambda trial: trial.outcome["value"], default=None)


def settings(trial: Trial, space: Space) -> dict[str, str]:
    """Return the values of a trial as a configuration has them, by key."""
    return {setting.key: setting.text(trial.values[setting.key]) for setting in space.settings}


def told(trial: Trial, space: Space) -> str:
    """Return a line about a trial that has ended."""
    outcome = trial.outcome
    chosen = " ".join(f"{key}={text}" for key, text in settings(trial, space).items())
    if trial.state == FAILED:
        return f"failed with {chosen}: {outcome['error']}"
    spent = f"{outcome['epochs']} epochs in {outcome['seconds'] / 60:.1f} min"
    if trial.state == COMPLETE:
        return f"log p(x) {outcome['value']:.2f} +- {outcome['standard_error']:.2f}, {spent}; {chosen}"
    return f"pruned at an ELBO of {trial.last_elbo:.2f}, {spent}; {chosen}"


def write_csv(path: Path, trials: Sequence[Trial], space: Space) -> None:
    """Write a row for each trial."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *(setting.key for setting in space.settings), "error"])
        for trial in trials:
            found = [trial.outcome.get(name, "") for name in ("value", "standard_error", "images")]
            spent = [trial.outcome.get(name, "") for name in ("epochs", "seconds")]
            elbo = "" if trial.last_elbo is None else trial.last_elbo
            chosen = settings(trial, space).values()
            writer.writerow([trial.number, trial.state, *found, elbo, *spent, *chosen, trial.outcome.get("error", "")])
