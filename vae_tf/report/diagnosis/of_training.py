"""What may be wrong with a training: too long, too short, or never on its objective. Means over epochs are compared: one may be luck."""

from collections.abc import Mapping, Sequence

import numpy as np

from vae_tf.report.diagnosis.finding import Finding

__all__ = ["late_warm_up", "overfitting", "unfinished"]

_FALL, _GAP, _GAIN = 0.05, 0.5, 0.015  # of the KL: of validation from its best, between training and validation, in the last tenth
_LEAST = 0.2  # nats: smaller changes are noise, as are those within so many standard errors of a mean over a window
_ERRORS = 3
_LATE = 0.9  # of the training


def overfitting(rows: Sequence[Mapping[str, float]], corrupted: bool = False, error: float = 0.0) -> Finding | None:
    """Look whether validation falls back from its best, or far behind training.

    Args:
        rows: of the history, from when on the objective no longer changes.
        corrupted: the encoder saw corrupted images in training only, so that the two losses do not compare.
        error: nats, the standard error of a validation loss by the number of its images.
    """
    if len(rows) < 2:
        return None
    validation, training = _column(rows, "val_loss"), _column(rows, "loss")
    width, kl = _width(rows), max(abs(rows[-1]["val_kl"]), 1.0)
    means = np.convolve(validation, np.full(width, 1 / width), "valid")
    best = int(np.argmin(means))
    fall, gap = means[-1] - means[best], means[-1] - training[-width:].mean()
    fallen = fall > max(_LEAST, _FALL * kl, _noise(validation, width))
    apart = not corrupted and gap > max(_LEAST, _GAP * kl, _ERRORS * error)
    if not fallen and not apart:
        return None
    epoch = f"{rows[best + width // 2]['epoch']:.0f}"
    seen = [f"The validation loss was best {'at' if width == 1 else 'around'} epoch {epoch} and has risen by {fall:.1f} nats since."]
    seen = (seen if fallen else []) + (
        [f"At the end validation is {gap:.1f} nats behind training, with a KL of {kl:.1f}."] if apart else []
    )
    stop = f"Fewer epochs (training.epochs={epoch}), " if fallen else "Fewer epochs, "
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
    validation, window = _column(rows, "val_loss"), max(1, len(rows) // 10)
    gain = validation[-2 * window : -window].mean() - validation[-window:].mean()
    if not gain > max(_LEAST, _GAIN * abs(rows[-1]["val_kl"]), _noise(validation, window)):
        return None
    span = "in the last epoch" if window == 1 else f"from the {window} epochs before to the last {window}"
    return Finding(
        "Underfitting: the training was cut short",
        f"The validation loss fell by {gain:.1f} nats {span}.",
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


def _column(rows: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows])


def _width(rows: Sequence[Mapping[str, float]]) -> int:
    """Return how many epochs a window has: a twentieth of them, at least 3 where there are 12."""
    return max(len(rows) // 20, 3 if len(rows) >= 12 else 1)


def _noise(values: np.ndarray, width: int) -> float:
    """Return by how much two means over `width` epochs may differ by chance, from how much values scatter about their neighbours' mean."""
    if len(values) < 8:
        return 0.0
    second = values[len(values) // 2 :]
    scatter = np.diff(second, 2).std() / np.sqrt(6)
    return float(_ERRORS * scatter * np.sqrt(2 / width))
