"""Waiting for all processes of a training, before TensorFlow does: there a process hears nothing, not even that it is to stop."""

import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from vae_tf.errors import LostWorker, PreemptedRun

__all__ = ["meet"]

_GO = b"go"
_RETRY_S = 0.5
_ANSWER_S = 5.0  # of a machine that is there


def meet(addresses: Sequence[str], index: int, within_s: float) -> None:
    """Return when all are there, in all at the same time.

    The first listens where TensorFlow will listen next; the others tell it their numbers, and wait for its word.

    Args:
        addresses: of all, as host:port.
        index: of this process among them.
        within_s: how long to wait.

    Raises:
        LostWorker: not all have come.
        PreemptedRun: SIGTERM came meanwhile.
        OSError: the address of the first is not free.
    """
    end_s = time.monotonic() + within_s
    with _heeding_sigterm():
        missing = _gather(addresses, end_s) if index == 0 else _report(addresses[0], index, end_s)
    if missing:
        others = ", ".join(addresses[number] for number in missing)
        raise LostWorker(f"worker {index} waited {within_s / 60:g} minutes for {others}; start all workers, then it goes on.")


def _gather(addresses: Sequence[str], end_s: float) -> list[int]:
    """Wait for all others, and give them the word; return who is missing."""
    came: dict[int, socket.socket] = {}
    port = int(addresses[0].rpartition(":")[2])
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    with selectors.DefaultSelector() as selector, socket.create_server(("", port), **both) as server:  # type: ignore[arg-type]
        selector.register(server, selectors.EVENT_READ)
        try:
            # All are there when nothing is left to read: one that has ended meanwhile leaves its end.
            while (missing := sorted(set(range(1, len(addresses))) - came.keys())) or selector.select(0):
                if time.monotonic() > end_s and missing:
                    return missing
                for key, _ in selector.select(_RETRY_S):
                    if key.fileobj is server:
                        selector.register(server.accept()[0], selectors.EVENT_READ)
                    else:
                        one = key.fileobj
                        assert isinstance(one, socket.socket)
                        came = {number: other for number, other in came.items() if other is not one}
                        told = _received(one)
                        if told.isdigit():
                            came[int(told)] = one
                        else:  # it has ended, or is none of us
                            selector.unregister(one)
                            one.close()
            for one in came.values():
                one.settimeout(_ANSWER_S)
                with suppress(OSError):  # it ends just now: the others will miss it
                    one.sendall(_GO)
            for one in came.values():
                _received(one)  # they end the connection: who does keeps the port for a while
        finally:
            for key in list(selector.get_map().values()):
                if key.fileobj is not server:
                    key.fileobj.close()  # type: ignore[union-attr]
    return []


def _report(address: str, index: int, end_s: float) -> list[int]:
    """Tell the first that this one is there, and wait for the word; return who is missing."""
    host, _, port = address.rpartition(":")
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), min(left_s, _ANSWER_S)) as one:
                one.sendall(str(index).encode())
                one.settimeout(max(0.1, end_s - time.monotonic()))
                if one.recv(len(_GO)) == _GO:
                    return []
        except OSError:  # it is not there yet, or its name is not known yet
            pass
        time.sleep(_RETRY_S)
    return [0]


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(16)
    except OSError:
        return b""


@contextmanager
def _heeding_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise PreemptedRun("stopped by SIGTERM while it waited for other workers; the same command with --resume begins again.")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
