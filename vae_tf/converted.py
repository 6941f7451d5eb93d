"""Data sets that do not fit in memory: a source is converted once, into files whose rows can be read in any order.

The files are kept in `$VAE_TF_CACHE`, or ~/.cache/vae_tf, in a folder for each source and way to prepare it. A source whose files changed
is converted anew. They are written elsewhere and renamed, under a lock, so that several processes may want the same.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
from pydantic import TypeAdapter

from vae_tf.config import DataConfig, without_folders
from vae_tf.errors import DataError, reason
from vae_tf.files import cache_folder, replacing, sync
from vae_tf.images import Raw, Split
from vae_tf.rows import Mapped, Rows
from vae_tf.stores import OnDisk, Store

__all__ = ["converted"]

_log = logging.getLogger("vae_tf")

_VERSION = 1  # another one for whatever changes the files
_ABOUT = "about.json"


@dataclass(frozen=True)
class _About:
    """What the files of a conversion are of."""

    stamp: str
    labelled: Mapping[str, bool]  # by split
    levels: int | None
    label_names: tuple[str, ...] | None
    digests: Mapping[str, str]


def converted(read: Callable[[Store], Raw], config: DataConfig, place: str, files: Sequence[Path]) -> Raw:
    """Return what a source holds, its images on disk.

    Args:
        read: reads the source into a store.
        config: of which `source`, `image_size` and `channels` are read.
        place: where the source is, by its full name.
        files: all that it is made of.

    Raises:
        DataError: as `read`; or there is no room in the cache, or it can not be written.
    """
    key = hashlib.sha256(repr((place, config.image_size, config.channels)).encode()).hexdigest()[:12]
    name = re.sub(r"\W+", "-", without_folders(config.source).partition(":")[2])[:60]
    folder = cache_folder() / "images" / f"{name}-{key}"
    stamp = _stamp(files)
    try:
        with _alone(folder):
            if (raw := _found(folder, stamp)) is None:
                shutil.rmtree(folder, ignore_errors=True)  # who has it open still has it
                _convert(read, folder, stamp)
                raw = _found(folder, stamp)
    except OSError as error:
        raise DataError(
            f"`data.in_memory`: images can not be converted into files in {folder} ({reason(error)}). "
            "Make room, name another folder by $VAE_TF_CACHE, or set data.in_memory=true."
        ) from error
    assert raw is not None, "it was just written"
    return raw


def _convert(read: Callable[[Store], Raw], folder: Path, stamp: str) -> None:
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        raw = read(OnDisk(temporary))
        for name, split in raw.splits.items():
            if split.y is not None:
                np.save(temporary / _labels(name), split.y)
        about = _About(stamp, {name: split.y is not None for name, split in raw.splits.items()}, raw.levels, raw.label_names, raw.digests())
        with replacing(temporary / _ABOUT) as path:
            path.write_text(json.dumps(asdict(about), indent=1))
        sync(*temporary.iterdir(), temporary)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _found(folder: Path, stamp: str) -> Raw | None:
    """Return what was converted before; None where there is nothing, or it is damaged, or the source has changed."""
    try:
        about = TypeAdapter(_About).validate_json((folder / _ABOUT).read_bytes())
        splits = {name: _split(folder, name, labelled) for name, labelled in about.labelled.items()}
        whole = Raw(splits, about.levels, about.label_names).digests() == about.digests
    except (OSError, ValueError, EOFError, TokenError):
        return None
    return Raw(splits, about.levels, about.label_names, about.digests) if whole and about.stamp == stamp else None


def _split(folder: Path, name: str, labelled: bool) -> Split:
    x = Rows([Mapped.open(folder / OnDisk.name(name))])
    return Split(x, np.load(folder / _labels(name), allow_pickle=False) if labelled else None)


def _labels(split: str) -> str:
    return f"{split}-labels.npy"


def _stamp(files: Sequence[Path]) -> str:
    """Return a digest of names, sizes and times: it tells that a source has changed without reading it."""
    digest = hashlib.sha256(f"{_VERSION}\n".encode())
    for path in sorted(files):
        status = path.stat()
        digest.update(os.fsencode(os.path.abspath(path)) + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process after the other look at a folder and make it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process converts the same images; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
