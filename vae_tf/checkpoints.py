"""Checkpoints of a training, at the end of each epoch and within it: all that is needed to go on exactly."""

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, final

import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError, RunError, reason
from vae_tf.files import sync
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.workplace import no_room

__all__ = ["Every", "Keeper", "Position", "Remembers"]

_log = logging.getLogger("vae_tf")
_KEPT = 2
_STATE, _UNFINISHED = "state", ".unfinished"
_MINUTES = 10.0
_DAMAGE = (tf.errors.OpError, OSError, IndexError, KeyError, ValueError, RuntimeError, AssertionError)
# Other processes have ended: a checkpoint is written by all, as each has a part of it.
_OTHERS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)


@final
class Position(NamedTuple):
    """How far a training is; the order of positions is that of time.

    Attributes:
        epochs: that are complete.
        step: steps of the next one, fewer than it has.
    """

    epochs: int
    step: int = 0

    @property
    def name(self) -> str:
        """The folder of its checkpoint, as a person counts: from 1."""
        return f"epoch-{self.epochs + 1}-step-{self.step}" if self.step else f"epoch-{self.epochs}"

    @classmethod
    def named(cls, name: str) -> "Position | None":
        """Return the position of a name, None of another."""
        found = re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?", name)
        return found and (cls(int(found[1]) - 1, int(found[2])) if found[2] else cls(int(found[1])))


@final
@dataclass(frozen=True)
class Every:
    """How often a checkpoint is written within an epoch. No number of the training depends on it.

    Args:
        steps: optimizer steps between two, at least 1; counted in whole executions where several steps are one.
        minutes: between two, above 0; 10 where neither is given.

    Raises:
        ConfigError: both are given, or one is out of range.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self):
        if self.steps is not None and self.minutes is not None:
            raise ConfigError(f"`checkpoint_steps` and `checkpoint_minutes` exclude each other, got {self.steps} and {self.minutes:g}.")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"`checkpoint_steps` must be at least 1, got {self.steps}.")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"`checkpoint_minutes` must be above 0, got {self.minutes}.")

    def due(self, steps: int, seconds: float) -> bool:
        """Return whether it is time for the next, so many steps and seconds after the last."""
        if self.steps is not None:
            return steps >= self.steps
        return seconds >= 60 * (_MINUTES if self.minutes is None else self.minutes)


class Remembers(Protocol):
    """A callback whose state counts when a training is resumed."""

    def memory(self) -> dict[str, Any]:
        """Return the state as plain values, as JSON knows them."""

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up the state that `memory` returned."""


@final
class Keeper(keras.callbacks.Callback):
    """Writes history and checkpoint after each epoch, and checkpoints within.

    The history comes first: its rows beyond the checkpoint are dropped on restoring. A checkpoint is a folder that is written, brought to
    the disk, and then renamed, so there is no half of one; TensorFlow's file format has a checksum of each part.

    An epoch that is resumed in its middle begins as it did at first, at the checkpoint of its beginning, so that guards before this
    callback see what they saw; then weights, optimizer, running metrics and what guards remember are set to the later checkpoint.

    Args:
        vae: the compiled model.
        folder: of the checkpoints; created.
        history: of the run.
        every: how often within an epoch.
        remembering: the callbacks whose state counts.
        best: the epoch whose checkpoint stays, as its weights may be those of the end; None for none.
        agreed: from whether a checkpoint is due by the clock here to whether it is, for all processes that must write it.
        run: what tells this training from others: a checkpoint of another is refused.
        copy: whether `folder` is that of a copy of the run, as `workplace` makes it.
    """

    def __init__(
        self,
        vae: VAE,
        folder: Path,
        history: History,
        every: Every = Every(),
        remembering: Iterable[Remembers] = (),
        best: Callable[[], int | None] = lambda: None,
        agreed: Callable[[bool], bool] = bool,
        run: str = "",
        copy: bool = False,
    ):
        super().__init__()
        vae.optimizer.build(vae.trainable_variables)
        self.folder, self.history, self.every, self.best, self.agreed, self.copy = folder, history, every, best, agreed, copy
        self.now = Position(0)
        self._saved: Position | None = None
        self._saved_s = time.monotonic()
        self._memory = _Memory(history, tuple(remembering), run)
        self._checkpoint = tf.train.Checkpoint(model=vae, optimizer=vae.optimizer, memory=self._memory)

    def restore(self) -> Position:
        """Restore the newest checkpoint that is whole and return its position, the very beginning when nothing was written yet.

        Where the position is within an epoch, the state is that of the beginning of the epoch until it begins.

        Raises:
            RunError: there are checkpoints, and all are damaged; or the history is.
        """
        positions = self._positions()
        variables = [*self._checkpoint.model.variables, *self._checkpoint.optimizer.variables]
        start = [variable.numpy() for variable in variables]
        for position in reversed(positions):
            try:
                self.read(position)
                if position.step:
                    self.read(Position(position.epochs))
            except RunError as error:
                _log.warning("%s", error)
                continue
            self._saved = self.now = position
            self.history.keep(position.epochs)
            return position
        if positions and positions[-1] > Position(0):
            raise RunError(f"all checkpoints in `{self.folder}` are damaged, or of another training; train again in another folder.")
        for variable, value in zip(variables, start):  # some may have been read
            variable.assign(value)
        self.history.keep(0)
        return Position(0)

    def read(self, position: Position) -> None:
        """Set all to a checkpoint.

        Raises:
            RunError: it is damaged, or of another training.
        """
        path = self.folder / position.name
        self._memory.position = position
        try:
            self._checkpoint.read(str(path / _STATE)).assert_consumed()
        except _DAMAGE as error:
            raise RunError(f"`{path}` is damaged, or of another training ({reason(error)}).") from None

    def save(self) -> None:
        """Write a checkpoint of now, unless it was just written.

        Raises:
            RunError: the disk is full; the checkpoints before stay.
            OpError: another process that writes it, too, has ended.
        """
        if self.now == self._saved:
            return
        whole, unfinished = self.folder / self.now.name, self.folder / _UNFINISHED
        self._memory.position = self.now
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            self._checkpoint.write(str(unfinished / _STATE))
            sync(*unfinished.iterdir(), unfinished)
            if whole.exists():  # damaged, and passed over on restoring
                shutil.rmtree(whole)
            unfinished.rename(whole)
            sync(self.folder)
        except (tf.errors.OpError, OSError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if isinstance(error, _OTHERS):
                raise
            raise self._full(error) from None
        self._saved, self._saved_s = self.now, time.monotonic()
        self._tidy()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Write the first, and tell Keras where to begin, as its own `BackupAndRestore` does."""
        if self._saved is None:
            self.save()
        self.model._training_state = self

    def maybe_load_initial_counters_from_ckpt(self, steps_per_epoch: int, initial_epoch: int, mode: str) -> tuple[int, int]:
        """Answer Keras, which asks for the epoch and its step to begin with."""
        return initial_epoch, self.now.step

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock; in an epoch that is resumed in its middle, set all to where it was."""
        self._memory.seconds = 0.0
        if self.now.step:
            self.read(self.now)
        self.history.start(self._memory.seconds)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Write a checkpoint, if it is time for one; after the last batch it is the end of the epoch that writes."""
        steps = self.params["steps"]
        if batch + 1 < steps:
            self.now = Position(self.now.epochs, batch + 1)
            saved = self._saved or Position(0)
            taken = (self.now.epochs - saved.epochs) * steps + self.now.step - saved.step
            if self.agreed(self.every.due(taken, time.monotonic() - self._saved_s)):
                self.save()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write both.

        Raises:
            RunError: the disk is full; the checkpoints before stay.
        """
        self.now = Position(epoch + 1)
        try:
            self.history.add(epoch + 1, logs or {})
        except OSError as error:
            raise self._full(error) from None
        self.save()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Let go of the model."""
        self.model._training_state = None

    def _full(self, error: Exception) -> RunError:
        if self.copy:
            return no_room(reason(error))
        run, last = self.folder.parent, "none" if self._saved is None else self._saved.name
        return RunError(
            f"`{run}` can not be written to ({reason(error)}); make room and go on with --resume, from the last checkpoint: {last}."
        )

    def _positions(self) -> list[Position]:
        return sorted(position for path in self.folder.glob("epoch-*") if (position := Position.named(path.name.split(".")[0])))

    def _tidy(self) -> None:
        """Remove all but the newest checkpoints and what they need, what killed processes left, and what was damaged."""
        newest = [position for position in self._positions() if position <= self.now][-_KEPT:]
        best = self.best()
        needed = [*newest, *(Position(position.epochs) for position in newest), *([] if best is None else [Position(best)])]
        kept = {position.name for position in needed}
        for path in self.folder.iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


class _Memory(tf.train.experimental.PythonState):
    """What callbacks remember, and where a checkpoint belongs, as one entry of it."""

    def __init__(self, history: History, callbacks: tuple[Remembers, ...], run: str):
        self.seconds = 0.0  # of the epoch
        self.position = Position(0)
        self._history, self._callbacks, self._run = history, callbacks, run

    def serialize(self) -> str:
        callbacks = {type(one).__name__: one.memory() for one in self._callbacks}
        place = {"run": self._run, "position": self.position.name}
        return json.dumps(place | {"seconds": self._history.elapsed_s(), "callbacks": callbacks})

    def deserialize(self, string_value: str) -> None:
        memory = json.loads(string_value)
        if memory["run"] != self._run:
            raise ValueError("it is of another configuration, or of other images")
        if memory["position"] != self.position.name:
            raise ValueError(f"it is that of {memory['position']}")
        self.seconds = memory["seconds"]
        for one in self._callbacks:
            if type(one).__name__ in memory["callbacks"]:  # or it was not there when this was written, by other processes
                one.recall(memory["callbacks"][type(one).__name__])
