"""Checkpoints of a training: after each epoch, all that is needed to go on exactly."""

import logging
import shutil
from pathlib import Path
from typing import final

import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import RunError
from vae_tf.history import History
from vae_tf.model import VAE

__all__ = ["Keeper"]

_log = logging.getLogger("vae_tf")
_KEPT = 2


@final
class Keeper(keras.callbacks.Callback):
    """Writes history and checkpoint after each epoch.

    The history comes first: its rows beyond the checkpoint are dropped on restoring. `epoch-N.index` is the last file of a
    checkpoint to appear, so one without it was not finished and is not seen.

    Args:
        vae: the compiled model.
        folder: of the checkpoints; created.
        history: of the run.
    """

    def __init__(self, vae: VAE, folder: Path, history: History):
        super().__init__()
        vae.optimizer.build(vae.trainable_variables)
        self.folder, self.history = folder, history
        self._epochs = tf.Variable(0, dtype=tf.int64)
        self._checkpoint = tf.train.Checkpoint(model=vae, optimizer=vae.optimizer, epochs=self._epochs)

    @property
    def epochs(self) -> int:
        """The number of complete epochs."""
        return int(self._epochs.numpy())

    def restore(self) -> int:
        """Restore the newest checkpoint that is whole and return its number of epochs, 0 when nothing was written yet.

        Raises:
            RunError: there are checkpoints, and all are damaged; or the history is.
        """
        numbers = self._numbers()
        for number in reversed(numbers):
            path = self.folder / f"epoch-{number}"
            try:
                self._checkpoint.read(str(path)).assert_consumed()
            except (tf.errors.OpError, IndexError, ValueError, RuntimeError, AssertionError) as error:
                _log.warning("`%s` is damaged (%s)", path, str(error).splitlines()[0])
                continue
            self.history.keep(self.epochs)
            return self.epochs
        if numbers:
            raise RunError(f"all checkpoints in `{self.folder}` are damaged; train again in another folder.")
        self.history.keep(0)
        return 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self.history.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write both.

        Raises:
            RunError: the disk is full; the epochs before stay.
        """
        self.history.add(epoch + 1, logs or {})
        self._epochs.assign(epoch + 1)
        try:
            self._checkpoint.write(str(self.folder / f"epoch-{epoch + 1}"))
        except tf.errors.OpError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"no checkpoint can be written to `{self.folder}` ({reason}); make room and go on with --resume.") from None
        self._tidy()

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("epoch-")) for path in self.folder.glob("epoch-*.index"))

    def _tidy(self) -> None:
        """Remove all but the newest checkpoints, and what killed processes left."""
        kept = {f"epoch-{number}" for number in self._numbers()[-_KEPT:]}
        for path in self.folder.iterdir():
            if path.name.split(".")[0] not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
