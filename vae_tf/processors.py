"""How many processors there are for this process."""

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

from vae_tf.control_groups import GROUPS, OWN, around

__all__ = ["THREADS", "available"]

THREADS = "TF_NUM_INTRAOP_THREADS"  # how many TensorFlow takes for one operation, for users to set
#: share of time and its period, by the name of the controller
_FILES = {"": ("cpu.max",), "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us")}


def available(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Return how many processors this process may keep busy: those of the machine that it may use, and its container's share of time.

    Args:
        groups: where Linux tells of the limits of containers, jobs and services.
        own: the file that tells in which of them this process is.
    """
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for folder, names in around(_FILES, groups, own):
        with suppress(OSError, ValueError):  # "max" is no limit
            quota, period = (int(word) for name in names for word in (folder / name).read_text().split())
            found += [max(1, ceil(quota / period))] * (quota > 0)
    return min(found)
