"""Progress of long work, on standard error."""

import sys
import time
from pathlib import Path
from typing import final

import tf_keras as keras
from tqdm import tqdm

__all__ = ["Curves", "Narrator", "progress"]

_LINES = 20


def progress(total: int, title: str, unit: str, *, quiet: bool = False) -> tqdm:
    """Return a bar for `total` units of work: lively on a terminal, a line now and then in a log, nothing for half a second.

    Args:
        total: how much there is to do.
        title: what is being done.
        unit: the name of one unit.
        quiet: show nothing.
    """
    every_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=title, unit=f" {unit}", unit_scale=total >= 10_000, mininterval=every_s, delay=0.5, disable=quiet)


@final
class Curves(keras.callbacks.TensorBoard):
    """TensorBoard's curves by epoch. Keras's own does as much work at each batch as a tenth of a small step, to write nothing.

    Args:
        folder: of the logs; created.
    """

    def __init__(self, folder: Path):
        super().__init__(str(folder), write_graph=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Leave it to the end of the epoch."""


@final
class Narrator(keras.callbacks.Callback):
    """Tells a training in a log: some twenty lines, evenly spread, and one at least every ten seconds.

    Args:
        epochs: of the whole training.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs, self.every = epochs, -(-epochs // _LINES)
        self._told_s = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print a line, if it is time for one."""
        done, now_s = epoch + 1, time.perf_counter()
        if done in (1, self.epochs) or done % self.every == 0 or now_s - self._told_s > 10:
            values = "  ".join(
                f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in (logs or {}).items()
            )
            print(f"epoch {done}/{self.epochs}  {values}", flush=True)
            self._told_s = now_s
