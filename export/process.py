"""Fresh processes: what one answers depends on files alone, not on what this process holds in memory."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["last_line", "run_module"]

_ROOT = Path(__file__).parent.parent


def run_module(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments`, wait for its end and return its exit code and its texts.

    Args:
        module: this package's, or an installed one.
        *arguments: of the command line.
    """
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a failed process said, where Python puts the reason."""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
