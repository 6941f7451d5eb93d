"""Starting TensorFlow on a command line."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from vae_tf.processors import THREADS, available

__all__ = ["answering_sigterm", "start_tensorflow"]


def start_tensorflow(alone: bool = True, devices: int | None = None) -> Any:
    """Import TensorFlow with its start-up notices held back, and return the `Cluster` that this process is part of.

    The notices are written by C++ to file descriptor 2, whatever the logging settings, and would bury the answer that a user waits for.
    They are shown if the start fails, and where several processes find each other, which can go wrong in many ways.

    Args:
        alone: whatever TF_CONFIG says: only a training waits for other workers.
        devices: as in `cluster.connect`, where this process is not alone.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _shown_on_failure() if alone or "TF_CONFIG" not in os.environ else nullcontext():
        import tensorflow as tf
        from absl import logging

        from vae_tf.cluster import Cluster, connect

        if THREADS not in os.environ:
            # TensorFlow sees the processors, and not that a container may have a part of their time.
            with suppress(RuntimeError):  # it runs already
                tf.config.threading.set_intra_op_parallelism_threads(available())
                tf.config.threading.set_inter_op_parallelism_threads(available())
        cluster = Cluster.alone() if alone else connect(devices)
        tf.zeros(1)  # looks for devices
        logging.set_verbosity(logging.ERROR)
    return cluster


@contextmanager
def answering_sigterm() -> Iterator[None]:
    """End with the exit code of a training that was asked to stop, also where none listens: while it is prepared, and when it has ended.

    At once, and not by an exception, which could end in the hands of code that only tries something. Files are whole at any moment.
    """

    def end(*_: Any) -> None:
        os.write(2, b"stopped by SIGTERM outside of the training's steps; go on with the same command and --resume.\n")
        os._exit(os.EX_TEMPFAIL)

    before = signal.getsignal(signal.SIGTERM)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _shown_on_failure() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            yield
        except Exception:
            notices.seek(0)
            os.write(kept, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
