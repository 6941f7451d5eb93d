"""How much memory there is."""

from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["free_bytes"]

_GROUPS = Path("/sys/fs/cgroup")
#: limit, use, and the part of the use that can be given back at once, by version of Linux's control groups
_VERSIONS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def free_bytes(groups: Path = _GROUPS) -> int:
    """Return what a process may still take without any other having to give way: of the machine's memory, and of its container's.

    Args:
        groups: where Linux tells of the limits of a container.
    """
    free = [psutil.virtual_memory().available]
    for limit, use, cached in _VERSIONS:
        with suppress(OSError, ValueError, KeyError):  # no container, or "max": no limit
            lines = ((groups / use).parent / "memory.stat").read_text().splitlines()
            stat = dict(line.split(maxsplit=1) for line in lines)
            free.append(int((groups / limit).read_text()) - int((groups / use).read_text()) + int(stat[cached]))
    return max(0, min(free))
