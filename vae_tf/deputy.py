"""Signals that come while a process waits inside of TensorFlow for others: Python does not hear them there, its deputy does."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SIGNALS", "deputy", "leave", "stopping_at_once"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_END = b"\0"  # no signal has this number


@contextmanager
def deputy(answer: Callable[[int], None]) -> Iterator[None]:
    """Hand SIGTERM and Ctrl-C to a thread too, at once and whatever the main thread does; both must have handlers of Python.

    Python runs a handler in the main thread, between two of its own instructions. The number of the signal is in this pipe before that.

    Args:
        answer: called in that thread with the number of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal is for us
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while (number := os.read(reader, 1)) != _END:
            if number[0] in SIGNALS:
                answer(number[0])

    before = signal.set_wakeup_fd(writer)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writer, _END)
        thread.join()
        os.close(writer)
        os.close(reader)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the process while there is nothing to keep, also where it waits for others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        with deputy(lambda number: leave(number, "before the training began; the same command with --resume begins it")):
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def leave(number: int, where: str) -> None:
    """End the process from any thread, with the exit code of the signal: nothing of TensorFlow's is waited for."""
    by, code = ("by the user", 130) if number == signal.SIGINT else ("by SIGTERM", os.EX_TEMPFAIL)
    print(f"stopped {by} {where}.", file=sys.stderr, flush=True)
    os._exit(code)
