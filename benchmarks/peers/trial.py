"""A trial: several sides, the same training, in rounds."""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from peers.process import Failure, Runner
from peers.table import Row, wrong
from peers.work import WORKS

__all__ = ["Benchmark", "Trial"]

_ELSEWHERE = ("torch", "jax")  # sides that are not installed beside this project


@dataclass
class Trial:
    """One table.

    Attributes:
        title: for people.
        model: a key of `WORKS`.
        images: of an epoch.
        rows: who trains.
        source: of the images, known when they are made.
    """

    title: str
    model: str
    images: int
    rows: list[Row]
    source: str = ""


class Benchmark:
    """Runs sides and keeps what they print.

    Args:
        runner: of processes.
        peers_python: the one that has torch and jax.
        data_dir: of prepared data sets, or None.
        tell: gets a word now and then of how it goes.
    """

    def __init__(self, runner: Runner, peers_python: Path, data_dir: str | None, tell: Callable[[str], None]):
        self.runner, self.peers_python, self.data_dir, self.tell = runner, peers_python, data_dir, tell
        self.limits: list[float] = []
        self._folder, self._sources = tempfile.TemporaryDirectory(), dict[Path, str]()

    @property
    def limit(self) -> float:
        """The rate of multiplying large float32 matrices in FLOP/s: the best of all rounds, for it is the machine's limit."""
        return max(self.limits)

    def images(self, model: str, count: int) -> tuple[Path, str]:
        """Return a file of that many images, which is made if need be, and what they are."""
        path = Path(self._folder.name) / f"{model}-{count}.npy"
        if path not in self._sources:
            options = {"data_dir": self.data_dir} if self.data_dir else {}
            self._sources[path] = self.runner(sys.executable, "peers.images", model=model, count=count, out=path, **options)["images"]
        return path, self._sources[path]

    def run(self, trial: Trial, rounds: int, epochs: int) -> None:
        """Fill the rows of a trial: rounds in turn, every other one backwards. A row that failed once is left out."""
        images, trial.source = self.images(trial.model, trial.images)
        for number in range(rounds):
            self.limits.append(self.runner(sys.executable, "peers.limit")["flop_per_s"])
            for row in trial.rows if number % 2 == 0 else trial.rows[::-1]:
                if not row.failure:
                    told = self._run(row, trial, images, number, epochs)
                    self.tell(f"{trial.model}, round {number + 1} of {rounds}, {row.name}: {told}")

    def _run(self, row: Row, trial: Trial, images: Path, number: int, epochs: int) -> str:
        python = self.peers_python if row.side in _ELSEWHERE else sys.executable
        try:
            found = self.runner(
                python, f"peers.{row.side}_side", model=trial.model, variant=row.variant, images=images, epochs=epochs, seed=number
            )
        except Failure as failure:
            row.failure = str(failure)
            return row.failure
        row.failure = wrong(WORKS[trial.model], found)
        row.runs.append(found)
        return row.failure or f"{trial.images / median(found['epoch_s']):,.0f} images/s"
