"""Progress of long work, on standard error."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan
from typing import Any, final

import tf_keras as keras
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["Bar", "Narrator", "duration", "narration", "progress"]

_LINES = 20
_ROWS = 20  # of a terminal, which may not say
_LONG_S = 60


def progress(total: int, title: str, unit: str, *, quiet: bool = False, **options: Any) -> tqdm:
    """Return a bar for `total` units of work: lively on a terminal, a line now and then in a log, nothing for half a second.

    Args:
        total: how much there is to do.
        title: what is being done.
        unit: the name of one unit.
        quiet: show nothing.
        **options: tqdm's.
    """
    every_s = 0.1 if sys.stderr.isatty() else 10.0
    scale = total >= 10_000
    return tqdm(
        total=total, desc=title, unit=f" {unit}", unit_scale=scale, mininterval=every_s, delay=0.5, disable=quiet, nrows=_ROWS, **options
    )


def duration(seconds: float) -> str:
    """Return a time in its two largest units, such as `4 min 34 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def narration(verbose: int) -> Iterator[list[keras.callbacks.Callback]]:
    """Yield the callbacks that tell a person how far a training is; however it ends, the line on the screen is finished.

    Args:
        verbose: 1 a bar over the whole training, 2 some twenty lines in all, 0 nothing.
    """
    if verbose != 1:
        yield [Narrator()] if verbose else []
        return
    bar = Bar()
    with logging_redirect_tqdm([logging.getLogger("vae_tf")]):  # warnings go above the bar, not into it
        try:
            yield [bar]
        finally:
            bar.close()


@final
class Bar(keras.callbacks.Callback):
    """One bar over all epochs, with the time left and the latest numbers: `elbo` of the epoch so far, and `val_elbo`.

    It begins after the first step of this process, which waits for the step to be compiled, so that the time left is that of steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm | None = None
        self._before = 0  # steps of the epochs before this one
        self._validation = ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember which epoch it is."""
        self._before = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move on."""
        done = self._before + batch + 1
        if self._bar is None:
            # The rate is that of all steps since: validation and whatever else an epoch ends with has its part in it.
            self._bar = progress(self.params["epochs"] * self.params["steps"], "training", "steps", initial=done, smoothing=0)
        self._bar.set_postfix_str(f"elbo {(logs or {}).get('elbo', nan):.2f}{self._validation}", refresh=False)
        self._bar.update(done - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Take the number of the validation."""
        if "val_elbo" in (logs or {}):
            self._validation = f", val_elbo {(logs or {})['val_elbo']:.2f}"

    def close(self) -> None:
        """Finish the line on the screen."""
        if self._bar is not None:
            self._bar.close()


@final
class Narrator(keras.callbacks.Callback):
    """Tells a training in a log: some twenty lines, evenly spread, and one at least every ten seconds, with the time left.

    The time left is reckoned from the epochs of this process after its first, which waits for the step to be compiled; a first epoch that
    takes more than a minute will do.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told_s = self._since_s = time.perf_counter()
        self._first: int | None = None  # epoch of this process

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self._told_s = self._since_s = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print a line, if it is time for one."""
        done, epochs, now_s = epoch + 1, self.params["epochs"], time.perf_counter()
        if self._first is None:
            took_s = now_s - self._since_s
            each_s = took_s if took_s > _LONG_S else None
            self._first, self._since_s = done, now_s
        else:
            each_s = (now_s - self._since_s) / (done - self._first)
        if done in (1, epochs) or done % -(-epochs // _LINES) == 0 or now_s - self._told_s > 10:
            values = [f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in (logs or {}).items()]
            left = [] if each_s is None or done == epochs else [f"{duration((epochs - done) * each_s)} left"]
            print("  ".join([f"epoch {done}/{epochs}", *values, *left]), flush=True)
            self._told_s = now_s
