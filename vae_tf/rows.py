"""Images on disk that are used as an array is: indexing chooses rows, and `np.asarray` reads them."""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np

__all__ = ["Mapped", "Rows", "chunks", "joined"]

_CHUNK_BYTES = 2**24
_ALIGNED = 4  # rows: a chunk then has a whole number of 64-bit random numbers for its 16-bit ones, whatever the size of an image


@final
@dataclass(frozen=True, eq=False)
class Mapped:
    """The array in an .npy file, which is read where it is used.

    Attributes:
        array: [N, ...], not to be written to.
        pages: the memory that stands for the file.
    """

    array: np.ndarray
    pages: mmap.mmap

    @classmethod
    def open(cls, path: Path) -> "Mapped":
        """Map a file; nothing is unpickled.

        Raises:
            OSError: it can not be opened.
            ValueError: it is damaged.
        """
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            begin, pages = file.tell(), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        pages.madvise(mmap.MADV_RANDOM)  # or each image that is read would bring its neighbours along
        return cls(np.frombuffer(pages, dtype, prod(shape), begin).reshape(shape), pages)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Read rows, without Python's lock: several threads may wait for the disk at a time."""
        if len(positions) > 1 and 0 <= positions[-1] - positions[0] < 2 * len(positions):  # neighbours: read at once, and ahead
            size, begin = self.array[:1].nbytes, int(positions[0]) * self.array[:1].nbytes // mmap.PAGESIZE * mmap.PAGESIZE
            self.pages.madvise(mmap.MADV_WILLNEED, begin, min((int(positions[-1]) + 2) * size, len(self.pages)) - begin)
        return self.array.take(positions, axis=0)


@final
class Rows:
    """Some rows of files. The system keeps in memory what fits there and is read again and again; this process keeps nothing.

    Args:
        files: of one type, and of one shape but for the number of rows.
        positions: int [M], of the rows among those of all files, one file after the other; None for all of them.
    """

    def __init__(self, files: Sequence[Mapped], positions: np.ndarray | None = None):
        self._files, self._ends = tuple(files), np.cumsum([len(file.array) for file in files])
        self._positions = np.arange(self._ends[-1]) if positions is None else positions
        self.dtype = files[0].array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, ...), as of an array."""
        return (len(self), *self._files[0].array.shape[1:])

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, rows: slice | np.ndarray) -> "Rows":
        return Rows(self._files, self._positions[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if len(self._files) == 1:
            return self._files[0].take(self._positions)
        found = np.empty(self.shape, self.dtype)
        for file, begin, end in zip(self._files, [0, *self._ends], self._ends):
            here = (self._positions >= begin) & (self._positions < end)
            found[here] = file.take(self._positions[here] - begin)
        return found

    def after(self, other: "Rows") -> "Rows":
        """Return the rows of another, and then these."""
        return Rows((*other._files, *self._files), np.concatenate([other._positions, self._positions + other._ends[-1]]))


def joined(arrays: Sequence[np.ndarray | Rows]) -> np.ndarray | Rows:
    """Return all rows, one array after the other; on disk where all are."""
    rows = [array for array in arrays if isinstance(array, Rows)]
    if len(rows) < len(arrays):
        return np.concatenate([np.asarray(array) for array in arrays])
    whole = rows[0]
    for more in rows[1:]:
        whole = more.after(whole)
    return whole


def chunks(x: np.ndarray | Rows) -> Iterator[np.ndarray]:
    """Yield all rows in their order, some megabytes at a time."""
    count = max(_ALIGNED, _CHUNK_BYTES // max(1, prod(x.shape[1:]) * x.dtype.itemsize) // _ALIGNED * _ALIGNED)
    for start in range(0, len(x), count):
        yield np.asarray(x[start : start + count])
