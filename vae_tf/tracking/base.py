"""What a tracker is, and what it is told."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np

from vae_tf.config import Config
from vae_tf.model import VAE

__all__ = ["Outcome", "Tracker", "Training"]

Outcome = Literal["complete", "stopped", "failed"]


@final
@dataclass(frozen=True, eq=False)
class Training:
    """A training that is about to begin, or to go on.

    Attributes:
        folder: the run folder.
        config: the complete configuration.
        vae: the model, with the weights that it begins with.
        x: validation images as the model sees them, [N, H, W, C] float32 in [0, 1].
        y: their labels, [N] or [N, K], where the data have any, whether or not the model is given them.
        label_names: the name of each class, where classes have names.
        rows: metrics of the epochs that are complete, as the history has them.
    """

    folder: Path
    config: Config
    vae: VAE
    x: np.ndarray
    y: np.ndarray | None
    label_names: Sequence[str] | None
    rows: Sequence[Mapping[str, float]]

    @property
    def label(self) -> np.ndarray | None:
        """What the model is given beside `x`; None where it has no condition."""
        return None if self.vae.condition is None else self.y


class Tracker(ABC):
    """Keeps what a training shows, for people to look at. It only reads: with and without it, all numbers are the same bits.

    What it raises is told to the user once; the training goes on, and the tracker is called again later.

    Args:
        training: what is followed.
    """

    #: package that must be there, and the command that installs it; None where nothing more is needed
    needs: ClassVar[tuple[str, str] | None] = None

    def __init__(self, training: Training):
        self.training = training

    @abstractmethod
    def begin(self) -> None:
        """Open what is written to; called before all else, and again after each failure."""

    @abstractmethod
    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Take in complete epochs, the last of which is the present one.

        Args:
            rows: metrics by the names of the history, `epoch` from 1 on, and `learning_rate`. More than one where a call before failed;
                it may have taken some of them in.
        """

    @abstractmethod
    def end(self, outcome: Outcome) -> None:
        """Take in what came of the training, and close what is open.

        Args:
            outcome: "complete" when the trained weights lie in the run folder; "stopped" by the user; or "failed".
        """
