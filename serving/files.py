"""Files appear whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from serving.errors import InvalidArgumentError, ServingError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file beside its place, then rename it. A symbolic link stays; what it leads to is written.

    Args:
        path: The file; its folder must exist.
        content: All bytes of it.
        mode: Its permissions.

    Raises:
        InvalidArgumentError: Something other than a file is in its place: a folder, a device, a pipe.
        ServingError: It cannot be written; what was there before is untouched.
    """
    place = os.path.realpath(path)
    if os.path.lexists(place) and not os.path.isfile(place):
        raise InvalidArgumentError(f"cannot write {path}: what is there is no regular file")
    try:
        descriptor, name = tempfile.mkstemp(dir=os.path.dirname(place), prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            os.replace(name, place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise ServingError(f"cannot write {path}: {error.strerror}") from None
