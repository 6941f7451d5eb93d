"""Early stopping: when a training has waited long enough for a smaller loss, and whose weights it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import final

import tf_keras as keras

from vae_tf.checkpoints import Keeper, Position
from vae_tf.config import TrainingConfig
from vae_tf.errors import RunError
from vae_tf.objective import Objective
from vae_tf.run import Run

__all__ = ["EarlyStop", "Patience", "best_epoch"]


@final
@dataclass(frozen=True)
class Patience:
    """A rule on the rows of a history: they are all that there is to remember.

    Args:
        epochs: without a smaller `val_loss` after which the training ends; None for never.
        first: the first epoch that counts, from 1: losses before it are of another objective.
    """

    epochs: int | None
    first: int = 1

    @classmethod
    def of(cls, training: TrainingConfig, objective: Objective, steps_per_epoch: int) -> "Patience":
        """Return the patience of a training, which counts from the end of the objective's schedules."""
        return cls(training.patience, max(1, ceil(objective.settled_at / steps_per_epoch)))

    def best(self, rows: Sequence[Mapping[str, float]]) -> int | None:
        """Return the epoch of the smallest `val_loss`, the first of equals; None without patience, and before any epoch counts.

        Args:
            rows: of the history, from the first epoch on.
        """
        counted = rows[self.first - 1 :]
        if self.epochs is None or not counted:
            return None
        return int(min(counted, key=lambda row: row["val_loss"] if isfinite(row["val_loss"]) else inf)["epoch"])

    def exhausted(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Return whether the training has ended.

        Args:
            rows: as in `best`.
        """
        best = self.best(rows)
        return best is not None and self.epochs is not None and len(rows) - best >= self.epochs


def best_epoch(run: Run, rows: Sequence[Mapping[str, float]]) -> int | None:
    """Return the epoch whose weights a complete run has, where that is not simply the last; None without patience.

    Args:
        run: the run.
        rows: of its history.
    """
    training = run.config.training
    return Patience.of(training, run.vae.objective, run.data.train // training.batch_size).best(rows)


@final
class EarlyStop(keras.callbacks.Callback):
    """Ends a training whose patience is exhausted, and lets it end with the weights of its best epoch.

    Put it after the keeper, whose history it reads and whose checkpoint of the best epoch it takes. Where weights are averaged, the average
    is that of the best epoch too.

    Args:
        patience: the rule.
        keeper: of the run.
    """

    def __init__(self, patience: Patience, keeper: Keeper):
        super().__init__()
        self.patience, self.keeper = patience, keeper

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stop, if it is time."""
        if self.patience.exhausted(self.keeper.history.rows):
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Go back to the best epoch, as if the training had ended there.

        Raises:
            RunError: its checkpoint is damaged.
        """
        best = self.patience.best(self.keeper.history.rows)
        if best is not None:
            try:
                self.keeper.read(Position(best))
            except RunError as error:
                raise RunError(f"{error} It held the best weights: train again in another folder.") from None
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
