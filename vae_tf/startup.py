"""Starting TensorFlow on a command line."""

import os
import sys
import tempfile

__all__ = ["start_tensorflow"]


def start_tensorflow() -> None:
    """Import TensorFlow with its start-up notices held back; they are shown if the start fails.

    The notices are written by C++ to file descriptor 2, whatever the logging settings, and would bury the answer that a user waits for.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            import tensorflow as tf
            from absl import logging

            tf.zeros(1)  # looks for devices
            logging.set_verbosity(logging.ERROR)
        except Exception:
            notices.seek(0)
            os.write(kept, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
