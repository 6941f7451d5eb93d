"""What can go wrong, as a tree. Every message names the argument, the rule, what came and the remedy.

VaeTfError
├── ConfigError   a configuration, a piece or an argument that cannot work
├── DataError     images that are missing, unreadable or out of range
└── RunError      a run folder that is missing, damaged or holds something else
    ├── DivergedRun      training came to numbers that are not finite
    └── InterruptedRun   training was stopped by the user (Ctrl-C)
        └── PreemptedRun   training was asked to stop (SIGTERM): whoever did may start it again
            └── LostWorker   another process of the same training has ended: all may be started again
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "DataError",
    "DivergedRun",
    "InterruptedRun",
    "LostWorker",
    "PreemptedRun",
    "RunError",
    "VaeTfError",
    "did_you_mean",
    "reason",
]

_PLACES = re.compile(r"\{\{.*?\}\} ?| ?\[Op:.*|Error in user-defined function passed to .*? with iterator: [\w:]+: ")


class VaeTfError(ValueError):
    """Base of all errors that a caller can mend; command lines print it in one line."""


class ConfigError(VaeTfError):
    """A configuration, a piece or an argument that cannot work."""


class DataError(VaeTfError):
    """Images that are missing, unreadable or out of range."""


class RunError(VaeTfError):
    """A run folder that is missing, damaged or holds something else."""


class DivergedRun(RunError):
    """Training came to numbers that are not finite; the message names the term and the batch."""


class InterruptedRun(RunError):
    """Training was stopped by the user; the message says how to go on."""


class PreemptedRun(InterruptedRun):
    """Training was asked to stop by SIGTERM, as schedulers do before they take a machine away; it can go on elsewhere."""


class LostWorker(PreemptedRun):
    """A training of several processes ended as one of them has ended or can not be reached; all can go on from the last checkpoint."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest candidate, or the list of all when none is close."""
    candidates = sorted(candidates)
    if not candidates:
        return " There are none here."
    close = get_close_matches(word, candidates, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(candidates)}."


def reason(error: Exception) -> str:
    """Return what an error says in one line, without TensorFlow's marks of its own places."""
    return _PLACES.sub("", (str(error).splitlines() or [""])[0]) or type(error).__name__
