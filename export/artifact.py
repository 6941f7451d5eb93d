"""An exported folder appears whole or not at all: MODELS/NAME/VERSION, written beside its place, then renamed."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.errors import TargetError

__all__ = ["check_target", "next_version", "publish", "unfinished"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving reads the folder's name as int64, and passes over what is larger
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def check_target(models: str | Path, name: str, version: int | None) -> Path:
    """Return MODELS/NAME, once it can take the version.

    Args:
        models: folder of all models.
        name: of the model.
        version: from 1 to 2^63 - 1; None for the next.

    Raises:
        TargetError: the name or the version can not be used, or MODELS/NAME is no folder.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise TargetError(
            f"`name` must start with a letter or digit and hold only letters, digits, `.`, `_` and `-`, without `..`, got {name!r}; "
            "for example mnist-conv."
        )
    if version is not None and not 1 <= version <= _LARGEST_VERSION:
        raise TargetError(f"`version` must lie between 1 and {_LARGEST_VERSION}, got {version}; leave it out for the next.")
    folder = Path(models, name)
    for path in (folder.parent, folder):
        if path.exists() and not path.is_dir():
            raise TargetError(f"`{path}` is no folder; choose another place for the models.")
    if version is not None and (folder / str(version)).exists():
        raise _taken(folder, version)
    return folder


def next_version(folder: Path) -> int:
    """Return the largest version in MODELS/NAME plus 1.

    Raises:
        TargetError: a version could not be served any more.
    """
    largest = max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
    if largest >= _LARGEST_VERSION:
        raise TargetError(f"`version` must lie between 1 and {_LARGEST_VERSION}, and {largest} exists in {folder}; name a free one.")
    return largest + 1


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """Yield a new hidden folder inside MODELS/NAME; whatever is left of it at the end is removed, and so are
    the folders that were created for it, if they are empty.

    Args:
        folder: MODELS/NAME; created if missing.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    temporary = folder / f".tmp-{uuid.uuid4().hex[:12]}"
    temporary.mkdir(parents=True)
    for path in missing:
        path.chmod(0o755)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for path in missing:
            with suppress(OSError):
                path.rmdir()  # only if it is empty


def publish(temporary: Path, folder: Path, version: int | None, seal: Callable[[Path, int], None]) -> Path:
    """Rename a finished folder to its version; of several exports at once, each gets a number of its own.

    Args:
        temporary: the finished folder.
        folder: MODELS/NAME.
        version: None for the next.
        seal: writes into the folder what names its version; called again when another export took the number in the meantime.

    Raises:
        TargetError: `version` was taken in the meantime, or there is no next.
    """
    while True:
        number = next_version(folder) if version is None else version
        seal(temporary, number)
        _let_others_read(temporary)
        try:
            os.rename(temporary, folder / str(number))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            if version is not None:
                raise _taken(folder, version) from None
        else:
            return folder / str(number)


def _let_others_read(folder: Path) -> None:
    """Allow reading to all: a model server runs as another user, often in a container."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _taken(folder: Path, version: int) -> TargetError:
    return TargetError(
        f"`version` {version} of {folder.name} exists already, and a version never changes; leave --version out for the next."
    )
