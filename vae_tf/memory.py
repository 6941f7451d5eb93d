"""How much memory there is, and arrays in it that TensorFlow can use as they are."""

from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

from vae_tf.control_groups import GROUPS, OWN, around

__all__ = ["empty", "free_bytes", "shared"]

_ALIGNMENT = 64  # bytes
#: limit, use, and the part of the use that can be given back at once, of Linux's control groups, by the name of their controller
_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_bytes(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Return what a process may still take without any other having to give way: of the machine's memory, and of its container's.

    Args:
        groups: where Linux tells of the limits of containers, jobs and services.
        own: the file that tells in which of them this process is.
    """
    free = [psutil.virtual_memory().available]
    for folder, (limit, use, cached) in around(_FILES, groups, own):
        with suppress(OSError, ValueError, KeyError):  # "max" is no limit
            stat = dict(line.split(maxsplit=1) for line in (folder / "memory.stat").read_text().splitlines())
            free.append(int((folder / limit).read_text()) - int((folder / use).read_text()) + int(stat[cached]))
    return max(0, min(free))


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array that `shared` need not copy."""
    size = prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % _ALIGNMENT
    return raw[begin : begin + size].view(dtype).reshape(shape)


def shared(x: np.ndarray) -> tf.Tensor:
    """Return an array as a tensor, without a second copy in memory where it can be; nobody may write to it any more."""
    usable = x.ctypes.data % _ALIGNMENT == 0 and x.flags.c_contiguous and x.flags.writeable
    return tf.experimental.dlpack.from_dlpack(x.__dlpack__()) if usable else tf.constant(x)
