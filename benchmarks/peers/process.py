"""Runs a side: a process of its own, on as many processors as all others, for a limited time."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

__all__ = ["Failure", "Runner"]

_BENCHMARKS = Path(__file__).parent.parent
_OWN_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Failure(click.ClickException):
    """A side gave no answer; the message says why, in one line."""


@dataclass(frozen=True)
class Runner:
    """Runs modules of this folder.

    Libraries size their pools of threads by the processors that they may use, so those are what is limited, and settings of single
    libraries are taken out of the environment.

    Args:
        threads: the number of processors.
        timeout_s: after which a side is stopped.
    """

    threads: int
    timeout_s: float

    def __call__(self, python: str | Path, module: str, **options: Any) -> dict[str, Any]:
        """Return the JSON that `python -m MODULE --option value ...` prints as its last line.

        Raises:
            Failure: it ended with an error, or took too long.
        """
        command = [
            str(python),
            "-m",
            module,
            *(text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))),
        ]
        path = os.pathsep.join([str(_BENCHMARKS), str(_BENCHMARKS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {name: value for name, value in os.environ.items() if name not in _OWN_THREADS} | {"PYTHONPATH": path}
        processors = sorted(os.sched_getaffinity(0))[: self.threads]
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                preexec_fn=partial(os.sched_setaffinity, 0, processors),
            )
        except OSError as error:
            raise Failure(f"{python}: {error.strerror}") from None
        with process:
            try:
                out, said = process.communicate(timeout=self.timeout_s)
            except BaseException as stop:
                os.killpg(process.pid, signal.SIGKILL)  # compilers and data loaders are processes of their own
                if isinstance(stop, subprocess.TimeoutExpired):
                    raise Failure(f"no answer within {self.timeout_s:g} s") from None
                raise
        if process.returncode:
            lines = [line for line in said.splitlines() if line.strip()]
            raise Failure(" ".join((lines[-1] if lines else f"ended with {process.returncode}").split())[:200])
        return json.loads(out.splitlines()[-1])
