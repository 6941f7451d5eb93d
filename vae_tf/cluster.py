"""The processes and devices that train one model together, each on its share of every batch.

Several hosts are described by the environment variable TF_CONFIG, as TensorFlow has it: the addresses of all workers, and which of
them this process is. The first is the chief, the one that writes.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import tensorflow as tf

from vae_tf.errors import ConfigError, RunError
from vae_tf.files import locked

__all__ = ["Cluster", "connect", "workplace"]

_START_MINUTES = 10.0
_EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'


@final
@dataclass(frozen=True)
class Cluster:
    """Who trains.

    Args:
        strategy: TensorFlow's, which sums gradients over all replicas.
        workers: processes.
        index: of this process among them, from 0.
    """

    strategy: tf.distribute.Strategy
    workers: int = 1
    index: int = 0

    @classmethod
    def alone(cls) -> "Cluster":
        """Return this process, under TensorFlow's present strategy."""
        return cls(tf.distribute.get_strategy())

    @property
    def chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """Copies of the model, over all processes."""
        return self.strategy.num_replicas_in_sync

    def __str__(self) -> str:
        """Return it as a person reads it."""
        devices = f"{self.replicas} devices" if self.replicas > 1 else ""
        return f"worker {self.index} of {self.workers}, {devices} in all" if self.workers > 1 else devices

    def batches(self, make: Callable[[tuple[int, int], int], tf.data.Dataset]) -> Any:
        """Return what `fit` takes: the shares of this process.

        Args:
            make: ((i, n), pieces) -> share i of n of each batch, in so many pieces one after the other, one for each device here.
        """
        if self.replicas == 1:
            return make((0, 1), 1)
        share = (self.index, self.workers)
        return self.strategy.distribute_datasets_from_function(lambda context: make(share, self.replicas // self.workers))

    def any(self, here: bool) -> bool:
        """Return whether it is so in any process; all must ask, and at the same step. So all are there when it returns."""
        return here if self.workers == 1 else self._sum(int(here)) > 0

    def agree(self, step: int, folder: Path) -> None:
        """Check that all begin at the same optimizer step.

        Raises:
            RunError: they do not.
        """
        if self.workers > 1 and self._sum(step) != self.replicas * step:
            raise RunError(f"the workers do not begin at one step, this one at {step}: `{folder}` must be one folder that all of them see.")

    def _sum(self, value: int) -> int:
        """Return the sum over all replicas."""
        return int(self.strategy.reduce("SUM", self.strategy.run(tf.constant, args=(value, tf.int64)), axis=None))


def connect(devices: int | None = None, *, minutes: float = _START_MINUTES) -> Cluster:
    """Find out who trains: before anything else of TensorFlow runs, as it asks for that.

    Args:
        devices: how many devices of this process; None for all GPUs. Without GPUs the processor plays several, which is for trying things
            out: they share its cores.
        minutes: how long to wait for the other workers.

    Raises:
        ConfigError: TF_CONFIG is malformed, or there are fewer devices.
    """
    workers, index = _told(os.environ.get("TF_CONFIG", ""))
    names = _devices(devices)
    if len(workers) < 2:
        return Cluster(tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy())
    others = ", ".join(address for number, address in enumerate(workers) if number != index)
    print(f"worker {index} of {len(workers)} at {workers[index]}: waiting for {others}", file=sys.stderr, flush=True)
    with _within(minutes, f"error: worker {index} waited {minutes:g} minutes for {others}; start all workers, then it goes on."):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Cluster(strategy, len(workers), index)


@contextmanager
def workplace(cluster: Cluster, folder: Path, describe: Callable[[], None]) -> Iterator[Path]:
    """Yield where this process writes: the chief in the run folder, which is locked, the others in a copy that is thrown away.

    Checkpoints hold what is spread over the workers, so all must write them; and all read what they begin with.

    Args:
        cluster: who trains.
        folder: the run folder.
        describe: called by the chief alone, when the folder is its own.

    Raises:
        BlockingIOError: another process trains in the folder.
    """
    if cluster.chief:
        with locked(folder):
            describe()
            cluster.any(False)  # the folder is described: the others may copy it
            cluster.any(False)  # they have: it may change
            yield folder
    else:
        cluster.any(False)
        with tempfile.TemporaryDirectory() as temporary:
            place = shutil.copytree(folder, Path(temporary) / folder.name, ignore=shutil.ignore_patterns("tensorboard", ".*"))
            cluster.any(False)
            yield place


def _told(text: str) -> tuple[list[str], int]:
    """Return the addresses of the workers, chief first, and the index of this one."""
    if not text:
        return [], 0
    try:
        told = json.loads(text)
        cluster, task = told["cluster"], told["task"]
        chiefs, workers, kind, index = cluster.get("chief", []), cluster.get("worker", []), task["type"], int(task["index"])
        index += len(chiefs) if kind == "worker" else 0
        addresses = [*chiefs, *workers]
        if kind not in ("chief", "worker") or set(cluster) - {"chief", "worker"} or not 0 <= index < len(addresses):
            raise ValueError(f"task {kind} {task['index']} of {', '.join(cluster)}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"`TF_CONFIG` must name all workers and this one, such as {_EXAMPLE}; got {text!r} ({error}).") from None
    return addresses, index


def _devices(count: int | None) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if count is not None and count > len(gpus):
            raise ConfigError(f"`devices` must be at most {len(gpus)}, the number of GPUs, got {count}.")
        return [f"GPU:{number}" for number in range(len(gpus) if count is None else count)]
    if count is not None and count > 1:
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)
    return [f"CPU:{number}" for number in range(count or 1)]


@contextmanager
def _within(minutes: float, otherwise: str) -> Iterator[None]:
    """End the process if what follows takes longer: inside of TensorFlow it can neither be interrupted nor told to stop."""

    def give_up() -> None:
        print(otherwise, file=sys.stderr, flush=True)
        os._exit(os.EX_TEMPFAIL)

    timer = threading.Timer(60 * minutes, give_up)
    timer.daemon = True
    timer.start()
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)
