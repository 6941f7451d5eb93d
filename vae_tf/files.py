"""Files that appear whole or not at all, and folders that one process has to itself."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["cache_folder", "locked", "replacing", "sync", "tidy"]


def cache_folder() -> Path:
    """Return where things are kept that can be made again: $VAE_TF_CACHE, else ~/.cache/vae_tf."""
    return Path(os.environ.get("VAE_TF_CACHE") or Path.home() / ".cache" / "vae_tf")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on an exception it is removed.

    Args:
        path: the file to write; its folder is created if missing.
    """
    path = Path(path).resolve()  # a link stays a link; what it leads to is written
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "is no regular file, and is left alone", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays last: writers choose the format by it.
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        sync(temporary)  # or a machine that stops may leave the new name and nothing in it
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which file it was
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def tidy(folder: Path) -> None:
    """Remove the temporary files of `replacing` that killed processes left in a folder; nobody else may be writing there."""
    for path in folder.glob(".[0-9]*-*"):
        path.unlink()


def sync(*paths: Path) -> None:
    """Bring files, or the names in folders, to the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock ends with the process, however it ends.

    Args:
        folder: created if missing.

    Raises:
        BlockingIOError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
