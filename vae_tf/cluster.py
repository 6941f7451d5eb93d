"""The processes and devices that train one model together, each on its share of every batch.

Several hosts are described by the environment variable TF_CONFIG, as TensorFlow has it: the addresses of all workers, and which of
them this process is. The first is the chief, the one that writes.
"""

import hashlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, final

import tensorflow as tf
from tensorflow.python.eager import context

from vae_tf.deputy import SIGNALS
from vae_tf.errors import ConfigError, LostWorker, RunError, reason
from vae_tf.rendezvous import meet

__all__ = ["Cluster", "connect", "named"]

_START_MINUTES = 10.0
_CONNECT_S = 60.0
_SHARED = 4  # things that must be the same, at most
_KINDS = ("chief", "worker")  # in the order of their indices
_ADDRESS = re.compile(r"(?:[^\s:/\[\]]+|\[[^\s/\[\]]+\]):([0-9]{1,5})")  # brackets for IPv6
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
        return any(row[0] for row in self.gather(here))

    def gather(self, *values: int) -> list[tuple[int, ...]]:
        """Return what each process has, in their order; all must ask at the same step, with as many values, up to 2^63."""
        if self.workers == 1:
            return [values]
        rows = self._gather(tf.constant(values, tf.int64)).numpy().tolist()
        return [tuple(row) for row in rows[:: self.replicas // self.workers]]

    def agree(self, step: int, folder: Path) -> None:
        """Check that all begin at the same optimizer step.

        Raises:
            RunError: they do not.
        """
        steps = [row[0] for row in self.gather(step)]
        if len(set(steps)) > 1:
            told = ", ".join(f"{index} at {step}" for index, step in enumerate(steps))
            raise RunError(f"the workers do not begin at one step ({told}): `{folder}` must be one folder that all of them see.")

    @contextmanager
    def together(self) -> Iterator[dict[str, object]]:
        """Let all go on, or none: where what follows fails in one process, the others end too.

        Yields:
            Where to put, by name, what must be the same in all.

        Raises:
            RunError: it failed in another process, or something is not the same.
        """
        shared: dict[str, object] = {}
        try:
            yield shared
        except Exception:
            with suppress(tf.errors.OpError):  # that others have ended, too, is not what is wrong here
                self.gather(*[0] * (1 + _SHARED))
            raise
        digests = [_digest(value) for value in shared.values()]
        rows = self.gather(1, *digests, *[0] * (_SHARED - len(digests)))
        failed = [index for index, row in enumerate(rows) if not row[0]]
        if failed:
            raise RunError(f"{named(failed)} can not begin, for a reason of which the output there tells; so worker {self.index} ends.")
        for number, name in enumerate(shared, start=1):
            others = [index for index, row in enumerate(rows) if row[number] != rows[0][number]]
            if others:
                raise RunError(
                    f"{name} must be the same on all workers, and {named(others)} differ{'s' * (len(others) == 1)} from worker 0 "
                    f"(this is worker {self.index}); start all with the same command, versions and data."
                )

    @cached_property
    def _gather(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """From [K] in each replica to [replicas, K] in all."""

        def row(values: tf.Tensor) -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.scatter_nd([[replica]], values[None], [self.replicas, len(values)])

        return tf.function(lambda values: self.strategy.reduce("SUM", self.strategy.run(row, (values,)), axis=None))


def connect(devices: int | None = None, *, minutes: float = _START_MINUTES) -> Cluster:
    """Find out who trains: before anything else of TensorFlow runs, as it asks for that.

    Args:
        devices: how many devices of this process; None for all GPUs. Without GPUs the processor plays several, which is for trying things
            out: they share its cores.
        minutes: how long to wait for the other workers.

    Raises:
        ConfigError: TF_CONFIG is malformed, or there are fewer devices.
        LostWorker: the others did not come.
        PreemptedRun: SIGTERM came while it waited for them.
    """
    workers, index = _told(os.environ.get("TF_CONFIG", ""))
    names = _devices(devices)
    if len(workers) < 2:
        return Cluster(tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy())
    others = ", ".join(address for number, address in enumerate(workers) if number != index)
    print(f"worker {index} of {len(workers)} at {workers[index]}: waiting for {others}", file=sys.stderr, flush=True)
    meet(workers, index, 60 * minutes)
    with _connecting():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Cluster(strategy, len(workers), index)


def named(indices: list[int]) -> str:
    """Return workers as a person reads them."""
    return f"worker{'s' * (len(indices) > 1)} {' and '.join(str(index) for index in indices)}"


def _digest(value: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:7])


def _told(text: str) -> tuple[list[str], int]:
    """Return the addresses of the workers, chief first, and the index of this one."""
    if not text:
        return [], 0
    try:
        told = json.loads(text)
        cluster, kind, index = told["cluster"], told["task"]["type"], int(str(told["task"]["index"]))
        if set(cluster) - set(_KINDS) or kind not in cluster or not all(isinstance(part, list) for part in cluster.values()):
            raise ValueError(
                f"`cluster` must have a list of addresses for each kind of worker, of {' and '.join(_KINDS)}, also for {kind!r}"
            )
        if not 0 <= index < len(cluster[kind]):
            raise ValueError(f"there is no {kind} {index}")
        if len(cluster.get("chief", [])) > 1:
            raise ValueError("there must be one chief")
        addresses = [address for name in _KINDS for address in cluster.get(name, [])]
        for address in addresses:
            _check_address(address)
        if twice := [address for address in addresses if addresses.count(address) > 1]:
            raise ValueError(f"{twice[0]} comes twice")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"`TF_CONFIG` must name all workers and this one, such as {_EXAMPLE}; got {text!r} ({error}).") from None
    return addresses, index + (len(cluster.get("chief", [])) if kind == "worker" else 0)


def _check_address(address: Any) -> None:
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if found is None or not 1 <= int(found[1]) <= 65535:
        raise ValueError(f"an address must be a text host:port with a port in 1..65535, got {address!r}")


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
def _connecting() -> Iterator[None]:
    """Let TensorFlow find workers that have just met: no thread of Python runs meanwhile, so signals must do without, and time be short."""
    this = context.context()
    configure = this.configure_coordination_service
    this.configure_coordination_service = partial(configure, cluster_register_timeout_in_ms=int(1000 * _CONNECT_S))
    heeding = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS if heeding}
    try:
        yield
    except tf.errors.OpError as error:
        raise LostWorker(f"the workers have met, and lost each other ({reason(error)}); start all again with the same command.") from None
    finally:
        this.configure_coordination_service = configure
        for number, handler in handlers.items():
            signal.signal(number, handler)
