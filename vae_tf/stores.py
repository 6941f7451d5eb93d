"""Where images are put as a source yields them: memory, or files."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain
from math import inf
from pathlib import Path
from typing import final

import numpy as np

from vae_tf.errors import DataError
from vae_tf.files import cache_folder, replacing
from vae_tf.memory import empty
from vae_tf.rows import Mapped, Rows

__all__ = ["InMemory", "OnDisk", "Store", "TooLarge", "scratch"]


class TooLarge(Exception):
    """The images do not fit in memory: no mistake of the user's, they are put elsewhere."""


class Store(ABC):
    """Takes what a source yields, split by split."""

    @abstractmethod
    def keep(self, split: str, total: int, parts: Iterator[np.ndarray]) -> np.ndarray | Rows:
        """Return the parts, [n, H, W, C] each and `total` images in all, as one.

        Args:
            split: its name.
            total: the number of images.
            parts: of one type and shape, at least one.
        """


@final
class InMemory(Store):
    """Arrays.

    Args:
        most_bytes: what all splits may take.
    """

    def __init__(self, most_bytes: float = inf):
        self._most_bytes, self._bytes = most_bytes, dict[str, int]()

    def keep(self, split: str, total: int, parts: Iterator[np.ndarray]) -> np.ndarray:
        """Return an array.

        Raises:
            TooLarge: with this split there are too many bytes; nothing more than its first part was read.
        """
        first = next(parts)
        self._bytes[split] = total * first[:1].nbytes
        if sum(self._bytes.values()) > self._most_bytes:
            raise TooLarge
        x, done = empty((total, *first.shape[1:]), first.dtype), 0
        for part in chain([first], parts):
            x[done : done + len(part)] = part
            done += len(part)
        return x


@final
class OnDisk(Store):
    """Files in a folder, one for each split.

    Args:
        folder: an existing one.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def keep(self, split: str, total: int, parts: Iterator[np.ndarray]) -> Rows:
        """Return the rows of a file.

        Raises:
            DataError: there is no room for it.
        """
        first = next(parts)
        path = self._folder / self.name(split)
        _write(path, (total, *first.shape[1:]), chain([first], parts))
        return Rows([Mapped.open(path)])

    @staticmethod
    def name(split: str) -> str:
        """Return the name of the file of a split."""
        return f"{split}-images.npy"


def scratch(shape: tuple[int, ...], parts: Iterator[np.ndarray]) -> np.ndarray:
    """Return an array that is on disk as long as it is used, and is not to be written to.

    Args:
        shape: of all parts as one.
        parts: of one type, at least one.

    Raises:
        DataError: there is no room for it.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".") as folder:
        path = Path(folder) / "scratch.npy"
        _write(path, shape, parts)
        return Mapped.open(path).array  # which holds on to the file when its name is gone


def _write(path: Path, shape: tuple[int, ...], parts: Iterator[np.ndarray]) -> None:
    """Write an .npy file part by part, whole or not at all.

    Args:
        path: the file.
        shape: of all parts as one.
        parts: of one type, at least one.

    Raises:
        DataError: there is no room for it.
    """
    first = next(parts)
    needed, free = shape[0] * first[:1].nbytes, shutil.disk_usage(path.parent).free
    try:
        if needed > free:
            raise OSError(f"{free / 1e6:,.0f} MB are free")
        with replacing(path) as temporary, temporary.open("wb") as file:
            about = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, about)
            for part in chain([first], parts):
                file.write(np.ascontiguousarray(part).data)
    except OSError as error:
        raise DataError(
            f"`data.in_memory`: images that are read from disk need {needed / 1e6:,.0f} MB in {cache_folder()} "
            f"({error.strerror or error}). Make room, name another folder by $VAE_TF_CACHE, or set data.in_memory=true."
        ) from error
