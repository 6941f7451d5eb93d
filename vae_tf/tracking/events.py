"""Event files, which TensorBoard reads: TFRecords of `Event` messages."""

import os
import re
import socket
import time
from pathlib import Path
from typing import final

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.util.tensor_util import make_tensor_proto

from vae_tf import plots

__all__ = ["EventFile"]


@final
class EventFile:
    """A new event file in a folder. What it holds replaces what older files of the folder hold from the first step on.

    TensorFlow's own writer can not say the latter, and a training that is resumed from an older checkpoint would show epochs twice.

    Args:
        folder: created.
        first_step: the first step that may come.
    """

    def __init__(self, folder: Path, first_step: int):
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names; some may be made within one second.
        older = [int(found[1]) for path in folder.glob("*tfevents*") if (found := re.search(r"tfevents\.(\d+)", path.name))]
        order = f"{max([int(time.time()), *older]):010d}.{len(older):04d}"  # a clock may have been set back
        self._file = tf.io.TFRecordWriter(str(folder / f"events.out.tfevents.{order}.{socket.gethostname()}.{os.getpid()}"))
        self._add(Event(file_version="brain.Event:2"))
        self._add(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point of a curve."""
        self._add(Event(step=step, summary=scalar_pb(tag, value)))

    def histogram(self, tag: str, values: np.ndarray, step: int, description: str) -> None:
        """Add how values are spread."""
        self._add(Event(step=step, summary=histogram_pb(tag, values, description=description)))

    def image(self, tag: str, image: np.ndarray, step: int, description: str) -> None:
        """Add a picture, uint8 [height, width, C] with C 1, 3 or 4."""
        height, width, _ = image.shape
        value = make_tensor_proto([str(width).encode(), str(height).encode(), plots.png(image, small=False)])
        metadata = create_summary_metadata(display_name=None, description=description)
        self._add(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=value)])))

    def flush(self) -> None:
        """Hand everything to the operating system, so that it is seen, and there whatever happens to the process."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(event.SerializeToString())
