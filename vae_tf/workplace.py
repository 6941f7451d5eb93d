"""Where each of the processes of a training works: the chief in the run folder, the others in copies of it that are thrown away."""

import hashlib
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tensorflow as tf

from vae_tf.cluster import Cluster, named
from vae_tf.errors import RunError
from vae_tf.files import locked

__all__ = ["no_room", "program", "workplace"]

_LATE_S = 10.0  # with which a file system of several machines shows a new file


def program() -> tuple[str, ...]:
    """Return what runs here: versions, and a digest of this package."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    return platform.python_version(), tf.__version__, sources.hexdigest()


@contextmanager
def workplace(cluster: Cluster, folder: Path, describe: Callable[[], None]) -> Iterator[Path]:
    """Yield where this process writes: the chief in the run folder, which is locked, the others in a copy that is thrown away.

    Checkpoints hold what is spread over the workers, so all must write them; and all read what they begin with.

    Args:
        cluster: who trains.
        folder: the run folder.
        describe: called by the chief alone, when the folder is its own.

    Raises:
        BlockingIOError: another process trains in the folder.
        RunError: not all see the folder, or there is no room for a copy.
    """
    with ExitStack() as stack:
        with cluster.together():
            if cluster.chief:
                stack.enter_context(locked(folder))
                describe()
        if cluster.workers > 1:
            _check_seen(cluster, folder)
        with cluster.together():  # then it may change
            place = folder if cluster.chief else _copy(folder, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        yield place


def no_room(error: object) -> RunError:
    """Return what to say where a copy can not be written, which is gone when it is read."""
    return RunError(
        f"this worker can not keep its copy of the run in the temporary folder `{tempfile.gettempdir()}` ({error}); "
        "make room there, or name another by $TMPDIR, and start all again with the same command and --resume."
    )


def _check_seen(cluster: Cluster, folder: Path) -> None:
    """Let the chief mark its folder, and the others look."""
    number = secrets.randbits(62)
    if cluster.chief:
        (folder / f".{number}-mark").touch()
    mark = folder / f".{cluster.gather(number)[0][0]}-mark"
    end_s = time.monotonic() + _LATE_S
    while not (seen := mark.exists()) and time.monotonic() < end_s:
        time.sleep(0.1)
    blind = [index for index, row in enumerate(cluster.gather(seen)) if not row[0]]
    if cluster.chief:
        mark.unlink()
    if blind:
        raise RunError(f"{named(blind)} can not see the `{folder}` of worker 0: it must be one folder that all of them see.")


def _copy(folder: Path, place: Path) -> Path:
    try:
        return shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns("tensorboard", ".*"))
    except OSError as error:
        raise no_room(error.args[0][0][2] if isinstance(error, shutil.Error) else error) from None
