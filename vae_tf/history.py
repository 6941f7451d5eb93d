"""The history of a run: one row per epoch, in a CSV file that is always whole."""

import csv
import time
from pathlib import Path
from typing import Any, final

from vae_tf.errors import RunError
from vae_tf.files import replacing

__all__ = ["COLUMNS", "History"]

_METRICS = ("loss", "elbo", "kl", "reconstruction")
_COUNTS = ("active_units", "rollbacks")  # by guards; blank where there was none
COLUMNS = ("epoch", *_METRICS, *(f"val_{name}" for name in _METRICS), *_COUNTS, "seconds")


@final
class History:
    """Rows of `COLUMNS`, kept in memory and on disk; a row has no key for what was not counted.

    Args:
        path: the CSV file; read if it exists.

    Raises:
        RunError: the file exists and is no history.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.rows: list[dict[str, float]] = self._read() if self.path.exists() else []
        self._started_s = time.perf_counter()

    def start(self, already_s: float = 0.0) -> None:
        """Start the clock of an epoch, of which so much was done before a resumption."""
        self._started_s = time.perf_counter() - already_s

    def elapsed_s(self) -> float:
        """Return how long the epoch has taken so far."""
        return time.perf_counter() - self._started_s

    def add(self, epoch: int, logs: dict[str, Any]) -> None:
        """Append the row of an epoch, numbered from 1, and write the file.

        Args:
            epoch: number of complete epochs.
            logs: Keras's metrics of the epoch.
        """
        seconds = round(self.elapsed_s(), 2)
        values = {name: int(logs[name]) if name in _COUNTS else float(logs[name]) for name in COLUMNS[1:-1] if name in logs}
        self.rows.append({"epoch": epoch, **values, "seconds": seconds})
        self._write()

    def keep(self, epochs: int) -> None:
        """Drop the rows after the first `epochs`, which a checkpoint does not hold.

        Raises:
            RunError: rows of those epochs are missing.
        """
        if [row["epoch"] for row in self.rows[:epochs]] != list(range(1, epochs + 1)):
            raise RunError(f"`{self.path}` does not hold the {epochs} epochs of the checkpoint; restore it or train again.")
        self.rows = self.rows[:epochs]
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def _read(self) -> list[dict[str, float]]:
        try:
            with self.path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            return [_numbers(row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise RunError(f"`{self.path}` is no history ({error}); restore it or train again.") from None


def _numbers(row: dict[str, str]) -> dict[str, float]:
    counts = {name: int(row[name]) for name in _COUNTS if row.get(name)}
    return {name: float(row[name]) for name in COLUMNS if name not in _COUNTS} | counts | {"epoch": int(row["epoch"])}
