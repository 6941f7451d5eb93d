"""Progress of long work, on standard error."""

import sys

from tqdm import tqdm

__all__ = ["progress"]


def progress(total: int, title: str, unit: str, *, quiet: bool = False) -> tqdm:
    """Return a bar for `total` units of work: lively on a terminal, a line now and then in a log, nothing for half a second.

    Args:
        total: how much there is to do.
        title: what is being done.
        unit: the name of one unit.
        quiet: show nothing.
    """
    every_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=title, unit=f" {unit}", unit_scale=True, mininterval=every_s, delay=0.5, disable=quiet)
