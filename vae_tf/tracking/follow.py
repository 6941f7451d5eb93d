"""How a training tells its trackers, and goes on whatever happens to them."""

import logging
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Self, final

import tf_keras as keras

from vae_tf.errors import ConfigError, InterruptedRun, did_you_mean
from vae_tf.tracking.base import Outcome, Tracker, Training
from vae_tf.tracking.mlflow import MLflow
from vae_tf.tracking.tensorboard import TensorBoard

__all__ = ["TRACKERS", "Tracking"]

#: name on the command line -> tracker
TRACKERS: dict[str, type[Tracker]] = {"mlflow": MLflow, "tensorboard": TensorBoard}

_log = logging.getLogger("vae_tf")
_PAUSE = 10  # times as long as a call took that failed: waiting for a server that is away is a tenth of the training at most
_LONGEST = 200  # characters of a reason


@final
class Tracking(keras.callbacks.Callback):
    """Tells trackers of a training, as a Keras callback; as a context, also of its end, however it comes.

    Args:
        names: of the trackers, from `TRACKERS`.

    Raises:
        ConfigError: a name is unknown, or what a tracker needs is not installed.
    """

    def __init__(self, names: Sequence[str]):
        super().__init__()
        for name in names:
            if name not in TRACKERS:
                raise ConfigError(f"`trackers` {name!r} does not exist.{did_you_mean(name, TRACKERS)}")
            needs = TRACKERS[name].needs
            if needs is not None and find_spec(needs[0]) is None:
                raise ConfigError(f"`trackers` {name!r} needs the package {needs[0]}, which is not installed: `{needs[1]}`.")
        self._names = tuple(dict.fromkeys(names))
        self._listeners: list[_Listener] = []

    def follow(self, training: Training) -> "Tracking":
        """Say what the trackers follow, and return the callback."""
        self._listeners = [_Listener(name, TRACKERS[name](training)) for name in self._names]
        return self

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Let them begin."""
        for listener in self._listeners:
            listener.tell()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tell them the metrics."""
        rate = float(self.model.optimizer.learning_rate.numpy())
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}, "learning_rate": rate}
        for listener in self._listeners:
            listener.untold.append(row)
            listener.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        outcome: Outcome = "complete"
        if kind is not None:
            outcome = "stopped" if issubclass(kind, KeyboardInterrupt | InterruptedRun) else "failed"
        for listener in self._listeners:
            listener.end(outcome)


class _Listener:
    """A tracker, and what it could not be told yet."""

    def __init__(self, name: str, tracker: Tracker):
        self.name, self.tracker = name, tracker
        self.untold: list[dict[str, float]] = []
        self._begun, self._failure, self._warned, self._not_before_s = False, "", False, 0.0

    def tell(self) -> None:
        if time.perf_counter() >= self._not_before_s:
            self._try(self._told)
            if self._failure and not self._warned:
                self._warned = True
                _log.warning("the tracker `%s` failed (%s); the training goes on, and it is tried again", self.name, self._failure)

    def end(self, outcome: Outcome) -> None:
        if outcome == "complete" or not self._failure:  # who stops a training does not wait for what is away
            self._try(lambda: self._told(outcome))
        if self._failure:
            _log.warning("the tracker `%s` lacks the end of this training, or more (%s)", self.name, self._failure)

    def _told(self, outcome: Outcome | None = None) -> None:
        if not self._begun:
            self.tracker.begin()
            self._begun = True
        if self.untold:
            self.tracker.epochs(self.untold)
            self.untold.clear()
        if outcome is not None:
            self.tracker.end(outcome)

    def _try(self, act: Callable[[], object]) -> None:
        started_s = time.perf_counter()
        try:
            act()
            self._failure = ""
        except Exception as error:  # whatever it is, it is not worth a training
            now_s = time.perf_counter()
            self._begun, self._not_before_s = False, now_s + _PAUSE * (now_s - started_s)
            self._failure = f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}"
