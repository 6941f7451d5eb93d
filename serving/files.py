"""Files appear whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from serving.errors import ServingError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file beside its place, then rename it.

    Args:
        path: The file; its folder must exist.
        content: All bytes of it.
        mode: Its permissions.

    Raises:
        ServingError: It cannot be written; what was there before is untouched.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise ServingError(f"cannot write {path}: {error.strerror}") from None
