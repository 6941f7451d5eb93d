"""Processes that a search starts, asks and ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO, Any

from vae_tf.processors import THREADS, available
from vae_tf.tuning.worker import GO_ON, PRUNE

__all__ = ["answer", "share_of_cores"]

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # whoever sends one to a worker means the search


def share_of_cores(jobs: int) -> dict[str, str]:
    """Return the environment in which `jobs` processes share a machine; what the user has set stays.

    Args:
        jobs: how many run at a time; one has the machine to itself.
    """
    if jobs == 1:
        return {}
    threads = str(max(1, available() // jobs))
    # A process would otherwise take all threads, and all memory of a GPU, for itself.
    shared = {THREADS: threads, "TF_NUM_INTEROP_THREADS": threads, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {name: value for name, value in shared.items() if name not in os.environ}


async def answer(
    request: Mapping[str, Any], log: IO[bytes], environment: Mapping[str, str], goes_on: Callable[[int, float], bool] | None = None
) -> dict[str, Any]:
    """Ask a worker of its own and return its answer.

    Args:
        request: what `vae_tf.tuning.worker` is asked.
        log: takes what it prints, open for writing.
        environment: variables that it gets beside those of this process.
        goes_on: is told epoch and validation ELBO, and answers whether the training goes on.

    Returns:
        The answer; an `error` of the trial where the worker died without one.
    """
    async with _worker(log, environment) as process:
        assert process.stdin
        assert process.stdout
        try:
            await _send(process.stdin, json.dumps(request))
            while line := await process.stdout.readline():
                message = json.loads(line)
                if "epoch" not in message:
                    return message
                assert goes_on
                await _send(process.stdin, GO_ON if goes_on(message["epoch"], message["elbo"]) else PRUNE)
        except ConnectionError:
            pass  # it died before it could read
        code = await process.wait()
        if -code in _STOPPING:
            return {"error": f"its process was stopped by {signal.Signals(-code).name}.", "of_trial": False}
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return {"error": f"its process ended {how}, perhaps for want of memory", "of_trial": True}


@asynccontextmanager
async def _worker(log: IO[bytes], environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    # In a session of its own: Ctrl-C on the terminal reaches the search alone, which then ends its workers.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vae_tf.tuning.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _send(stream: asyncio.StreamWriter, line: str) -> None:
    stream.write(line.encode() + b"\n")
    await stream.drain()
