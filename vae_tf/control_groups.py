"""Linux's control groups: the limits that a container, a job or a service has."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

__all__ = ["GROUPS", "OWN", "around"]

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_Files = TypeVar("_Files")


def around(files: Mapping[str, _Files], groups: Path, own: Path) -> Iterator[tuple[Path, _Files]]:
    """Yield the folder of each group around this process, and which files tell of it.

    Args:
        files: by the name of their controller, which is "" in the second version of control groups.
        groups: where Linux tells of groups, `GROUPS`.
        own: the file that tells in which of them this process is, `OWN`.
    """
    told = own.read_text().splitlines() if own.exists() else []
    for controllers, path in (line.split(":", 2)[1:] for line in told):
        for controller in set(controllers.split(",")) & files.keys():
            inner = groups / controller / path.lstrip("/")
            yield from ((folder, files[controller]) for folder in (inner, *inner.parents) if folder.is_relative_to(groups))
