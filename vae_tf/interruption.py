"""SIGTERM and Ctrl-C during a training: answered after the running step, when all that was computed can be kept."""

import os
import signal
import threading
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Self, final

import tf_keras as keras

from vae_tf.checkpoints import Keeper
from vae_tf.cluster import Cluster
from vae_tf.deputy import SIGNALS, deputy, leave
from vae_tf.errors import InterruptedRun, PreemptedRun

__all__ = ["Interruption", "Signals"]

_AGAIN = b"\nfinishing the running step and writing a checkpoint; Ctrl-C again stops at once\n"


@final
class Signals:
    """Notes SIGTERM and Ctrl-C while it is entered, for `Interruption` to answer; one that nobody answered is raised at the end.

    Only the main thread of a process can listen; in others nothing is done. What ignored Ctrl-C before, as a command in the background of
    a shell does, goes on ignoring it. A second Ctrl-C stops at once, as Python has it, and what was kept before stays.

    Args:
        patience_s: how long a step may go on after a signal that finds this process in it; None for as long as it takes. A step of
            several processes may wait for one that is silent; then this one ends, and the last checkpoint counts.
    """

    def __init__(self, patience_s: float | None = None):
        self._patience_s = patience_s
        self._received: int | None = None
        self._heard = threading.Event()
        self._before: dict[int, signal._HANDLER] = {}
        self._deputy = ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
            if self._patience_s is not None:
                self._deputy.enter_context(deputy(self._insist))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._deputy.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None and self:
            self.answer("at its end")

    def __bool__(self) -> bool:
        """Whether there was one."""
        return self._received is not None

    def answer(self, where: str) -> None:
        """Stop the training.

        Args:
            where: it stands.

        Raises:
            InterruptedRun: always; of its kind PreemptedRun where it was SIGTERM.
        """
        error: type[InterruptedRun] = InterruptedRun if self._received == signal.SIGINT else PreemptedRun
        who = "as another worker was" if self._received is None else "by the user" if error is InterruptedRun else "by SIGTERM"
        raise error(f"stopped {who} {where}; all until there is kept: go on with the same command and --resume.")

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._received == signal.SIGINT:
                raise KeyboardInterrupt
            os.write(2, _AGAIN)  # `print` may not be entered twice
        self._received = number
        self._heard.set()

    def _insist(self, number: int) -> None:
        """Give the main thread time to come back to Python; that a checkpoint takes longer is no reason to end."""
        if not self._heard.wait(self._patience_s):
            leave(number, f"in a step that did not end in {self._patience_s:g} seconds; go on with the same command and --resume")


@final
class Interruption(keras.callbacks.Callback):
    """Answers signals after a step with a checkpoint, then an error. Put it last, so that others have seen the step or the epoch.

    Where several processes train, one that was asked to stop stops all.

    Args:
        signals: entered.
        keeper: writes the checkpoint.
        cluster: who trains.
    """

    def __init__(self, signals: Signals, keeper: Keeper, cluster: Cluster):
        super().__init__()
        self._signals, self._keeper, self._cluster = signals, keeper, cluster

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Answer; after the last batch of an epoch only when it has ended, with its validation.

        Raises:
            InterruptedRun: there was a signal.
        """
        if batch + 1 < self.params["steps"] and self._cluster.any(bool(self._signals)):
            self._keeper.save()
            epochs, step = self._keeper.now
            self._signals.answer(f"after step {step} of epoch {epochs + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Answer; the checkpoint is there.

        Raises:
            InterruptedRun: there was a signal.
        """
        if self._cluster.any(bool(self._signals)):
            self._signals.answer(f"after epoch {epoch + 1}")
