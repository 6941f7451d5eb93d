"""Where a prepared set of TensorFlow Datasets is damaged: which file, and which record in it."""

from typing import Any

import tensorflow as tf

from vae_tf.errors import reason

__all__ = ["first_damage"]


def first_damage(builder: Any, split: str) -> str | None:
    """Read the files of a split one after the other, record by record, and return what is wrong first; None where all is well.

    Args:
        builder: of the set, prepared as TFRecord files.
        split: its name.

    Returns:
        The record, counted from 1, the file, and what was said about it; or the file, and how many records it lacks.
    """
    info = builder.info.splits[split]
    for path, length in zip(info.filepaths, info.shard_lengths):
        records = tf.data.TFRecordDataset(str(path)).map(builder.info.features.deserialize_example)
        read = 0
        try:
            for _ in records:
                read += 1
        except tf.errors.NotFoundError:
            return f"the file {path.name} is missing"
        except tf.errors.OpError as error:
            return f"record {read + 1} of {length} in {path.name}: {reason(error)}"
        if read != length:
            return f"{path.name} holds {read} records, and should hold {length}"
    return None
