"""What all sides share: their command line, the clock, and the one line of JSON that they print."""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from peers.work import WORKS, Work

__all__ = ["Clock", "Task", "task"]


class Task(argparse.Namespace):
    """What a side is asked to do.

    Attributes:
        model: a key of `WORKS`.
        variant: how; each side has its own.
        images: an .npy file of uint8 [N, H, W, C].
        epochs: the first one is for warming up.
        seed: of everything random.
    """

    model: str
    variant: str
    images: Path
    epochs: int
    seed: int

    @property
    def work(self) -> Work:
        """The model's shapes."""
        return WORKS[self.model]

    @property
    def binary(self) -> bool:
        """Whether images are binarized, anew in each step, for a Bernoulli likelihood; else they are real values."""
        return self.model != "residual"

    def load(self) -> np.ndarray:
        """Return the images, in memory, as many as fill whole batches."""
        x = np.load(self.images)
        return x[: len(x) // self.work.batch * self.work.batch]


def task(variants: tuple[str, ...]) -> Task:
    """Read the command line.

    Args:
        variants: that this side has.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=WORKS, required=True)
    parser.add_argument("--variant", choices=variants, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args(namespace=Task())


class Clock:
    """Takes the times of one training, from before the model is made, and prints them with all else that is to be known."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._first: tuple[float, int] | None = None
        self._ends_s: list[float] = []

    def reached(self, steps: int) -> None:
        """Note when the first steps are done: one, or as many as a program takes before it can tell. Later calls change nothing."""
        if self._first is None:
            self._first = (time.perf_counter() - self._start_s, steps)

    def epoch(self) -> None:
        """Note the end of an epoch."""
        self._ends_s.append(time.perf_counter() - self._start_s)

    def report(
        self, *, losses: list[float], version: str, precision: str = "float32", parameters: int | None = None, peak_bytes: int | None = None
    ) -> None:
        """Print the line of JSON.

        Args:
            losses: the mean of each epoch, in nats per image.
            version: of the libraries.
            precision: of the arithmetic, "float32" or "bfloat16".
            parameters: number of weights, or None where it can not be told.
            peak_bytes: the largest resident memory; this process's when None.
        """
        assert self._first is not None, "no step was taken"
        first_s, first_steps = self._first
        found = {
            "first_s": first_s,
            "first_steps": first_steps,
            "epoch_s": [b - a for a, b in zip(self._ends_s, self._ends_s[1:])],
            "losses": losses,
            "parameters": parameters,
            "precision": precision,
            "version": version,
            "peak_bytes": peak() if peak_bytes is None else peak_bytes,
        }
        print(json.dumps(found), flush=True)


def peak() -> int:
    """Return the largest resident memory of this process in bytes, without what its parent held when it was forked."""
    try:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
