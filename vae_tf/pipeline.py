"""What training and evaluation see: images as float32 [B, H, W, C] in [0, 1], batch by batch.

Order, binarization and corruption are functions of (seed, epoch, step, row), so that a training that is resumed, or shared by
several workers, sees the very batches it would have seen.
"""

from functools import partial
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from vae_tf.corruption import corrupt as corrupted
from vae_tf.errors import ConfigError
from vae_tf.images import Images, Split
from vae_tf.memory import shared
from vae_tf.noise import sixteen_bits_rows
from vae_tf.rows import Rows, chunks
from vae_tf.stores import scratch

__all__ = ["as_float", "fixed_images", "steps_per_epoch", "test_images", "training_batches", "validation_batches"]

_FIXED = 3  # a stream of random numbers; 1 and 2 hold images out
_READERS = 4  # batches that are read from disk at a time
_BITS = 2**16  # values of a random 16-bit integer: P(x = 1) is the grey value to within 2^-16


def as_float(x: np.ndarray | tf.Tensor, levels: int | None) -> np.ndarray | tf.Tensor:
    """Return grey levels as real values, u / (levels - 1), in [0, 1].

    Args:
        x: uint8 [..., H, W, C] in 0..levels - 1, or float32 in [0, 1] where `levels` is None; NumPy array or tensor.
        levels: the number of grey levels, or None.

    Returns:
        float32, of the shape and kind of `x`.
    """
    u = tf.cast(x, tf.float32) if tf.is_tensor(x) else x.astype(np.float32)
    return u if levels is None else u / np.float32(levels - 1)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return the number of whole batches in a split, N // batch_size; the remainder is another one in every epoch.

    Raises:
        ConfigError: there are fewer images than one batch takes.
    """
    if not 1 <= batch_size <= len(split):
        raise ConfigError(f"`training.batch_size` must be in 1..{len(split)}, the number of training images; got {batch_size}.")
    return len(split) // batch_size


def training_batches(
    split: Split,
    levels: int | None,
    *,
    batch_size: int,
    seed: int,
    binarize: str,
    labels: bool = False,
    corrupt: str = "none",
    corruption: float | None = None,
    first_epoch: int = 0,
    first_step: int = 0,
    share: tuple[int, int] = (0, 1),
    pieces: int = 1,
) -> tf.data.Dataset:
    """Return shuffled batches without end, a pure function of the seed: epoch e is the same wherever the pipeline started.

    Workers that share the batches get, side by side, what one worker would get: order, binarization and corruption of an image
    do not depend on who reads it.

    Args:
        split: the training images.
        levels: their number of grey levels, or None.
        batch_size: B, at most the number of images.
        seed: the seed of order, binarization and corruption.
        binarize: "dynamic" draws every pixel from Bernoulli(grey value), anew in every epoch; "none" does not.
        labels: whether batches hold the labels of `split` beside its images.
        corrupt: "none", or the kind of corruption of a copy that stands before each image.
        corruption: how much of it.
        first_epoch: the epoch to begin with, `steps_per_epoch(split, batch_size)` batches each.
        first_step: the batch of that epoch to begin with; those before it are not made.
        share: (i, n) for part i, from 0, of n equal parts of each batch.
        pieces: of that part, equal and one after the other.

    Returns:
        Batches x of float32 [B / (n pieces), H, W, C] in [0, 1], or (x, y) with labels; with corruption, the pair (corrupted, x) is in
        the place of x: ((corrupted, x),) or ((corrupted, x), y).

    Raises:
        ConfigError: `batch_size` exceeds the number of images, or has no such equal parts.
    """
    steps, (part, parts) = steps_per_epoch(split, batch_size), share
    if batch_size % (parts * pieces):
        raise ConfigError(f"`training.batch_size` must be a multiple of {parts * pieces}, for as many devices share it; got {batch_size}.")
    size = batch_size // (parts * pieces)
    with tf.device("CPU"):
        images = split.x if isinstance(split.x, Rows) else shared(split.x)
        classes = tf.constant(split.y) if labels else None

    def batch(read: tf.Tensor, rows: tf.Tensor, key: tf.Tensor, first: tf.Tensor) -> Any:
        x = as_float(read, levels)
        if binarize == "dynamic":
            x = _bernoulli(x, tf.reshape(sixteen_bits_rows(key, size, prod(x.shape[1:]), first), x.shape))
        x = x if corruption is None else (corrupted(x, corrupt, corruption, tf.random.fold_in(key, 1), first), x)
        if labels:
            return x, tf.gather(classes, rows)
        return x if corruption is None else (x,)

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # Order and noise come from keys made of (seed, epoch, step), not from tf.data's own shuffle: that one cannot be resumed exactly.
        epoch_key = tf.random.fold_in(tf.constant([seed, 0], tf.int64), epoch)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), tf.random.fold_in(epoch_key, 0))
        rows = tf.reshape(order[: steps * batch_size], [steps, parts, pieces, size])[:, part]
        firsts = (part * pieces + tf.range(pieces)) * size  # where each piece begins in its batch
        columns = tf.reshape(rows, [-1, size]), tf.repeat(tf.range(1, steps + 1), pieces), tf.tile(firsts, [steps])
        begun = pieces * tf.where(epoch == first_epoch, first_step, 0)
        batches = tf.data.Dataset.from_tensor_slices(tuple(column[begun:] for column in columns))
        return batches.map(lambda rows, step, first: (rows, tf.random.fold_in(epoch_key, step), first))

    endless = tf.data.Dataset.counter(first_epoch).flat_map(epoch_batches)
    if isinstance(images, Rows):  # several batches are awaited at a time, also over the end of an epoch
        read = partial(_read, images)
        endless = endless.map(lambda rows, *others: (read(rows), rows, *others), num_parallel_calls=_READERS, deterministic=True).map(batch)
    else:
        endless = endless.map(lambda rows, *others: batch(tf.gather(images, rows), rows, *others))
    return endless.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)).prefetch(tf.data.AUTOTUNE)


def validation_batches(
    x: np.ndarray, y: np.ndarray | None, batch_size: int, share: tuple[int, int] = (0, 1), pieces: int = 1
) -> tf.data.Dataset:
    """Return batches of images in their order, as `vae.evaluate` takes them.

    Where several share them, images of weight zero fill up the last batch, so that all have equally much to do.

    Args:
        x: images [N, H, W, C].
        y: their labels, or None.
        batch_size: B.
        share: as in `training_batches`.
        pieces: as in `training_batches`.

    Returns:
        Batches x, (x, y), or (x, y or x, weight) where several share them.
    """
    part, parts = share
    replicas = parts * pieces
    batch_size += -batch_size % replicas
    whole = len(x) + -len(x) % replicas
    starts = np.arange(0, whole, batch_size)
    sizes = np.minimum(batch_size, whole - starts) // replicas
    firsts = starts[:, None] + sizes[:, None] * np.arange(part * pieces, (part + 1) * pieces)

    def batch(first: tf.Tensor, size: tf.Tensor) -> Any:
        rows = tf.range(first, first + size)
        inside = rows < len(x)
        # Read from arrays, not from constants: those would be copies, and all in memory.
        columns = [_read(column, tf.where(inside, rows, 0)) for column in (x, y) if column is not None]
        if replicas > 1:
            return columns[0], columns[-1], tf.cast(inside, tf.float32)
        return tuple(columns) if len(columns) > 1 else columns[0]

    return tf.data.Dataset.from_tensor_slices((firsts.ravel(), np.repeat(sizes, pieces))).map(batch).prefetch(1)


def fixed_images(split: Split, levels: int | None, *, seed: int, binarize: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Return a split as the model sees it, for validation and test: one binarization, the same at every call.

    Args:
        split: N images.
        levels: their number of grey levels, or None.
        seed: the seed of the binarization.
        binarize: "dynamic" draws every pixel from Bernoulli(grey value) once; "none" does not.
        rows: int [M], the positions of those that are wanted, each as it is among all; None for all.

    Returns:
        float32 [N, H, W, C], or [M, H, W, C], in [0, 1]; all images of a split on disk are an array on disk, too.

    Raises:
        DataError: there is no room on the disk.
    """
    rng = np.random.default_rng([seed, _FIXED])

    def fixed(part: np.ndarray) -> np.ndarray:
        x = as_float(part, levels)
        return x if binarize == "none" else _bernoulli(x, rng.integers(_BITS, size=x.shape, dtype=np.uint16))

    if isinstance(split.x, Rows) and len(split) and rows is None:
        return scratch(split.x.shape, map(fixed, chunks(split.x)))
    found, begin = np.empty((len(split) if rows is None else len(rows), *split.x.shape[1:]), np.float32), 0
    for part in map(fixed, chunks(split.x)):
        end = begin + len(part)
        if rows is None:
            found[begin:end] = part
        else:
            wanted = (begin <= rows) & (rows < end)
            found[wanted] = part[rows[wanted] - begin]
        begin = end
    return found


def test_images(images: Images, binarize: str) -> np.ndarray:
    """Return the test split as every model sees it, float32 [N, H, W, C]: one binarization, whatever the seed of the training.

    Args:
        images: of which `test` is read.
        binarize: as in `fixed_images`.
    """
    return fixed_images(images.test, images.levels, seed=0, binarize=binarize)


def _read(array: np.ndarray | Rows, rows: tf.Tensor) -> tf.Tensor:
    read = tf.numpy_function(lambda rows: np.asarray(array[rows]), [rows], array.dtype, stateful=False)
    return tf.ensure_shape(read, [*rows.shape, *array.shape[1:]])


def _bernoulli(p, bits):
    """One draw per pixel: r < 2^16 p for r uniform on 0..2^16 - 1, so that 0 and 1 stay what they are."""
    threshold = p * np.float32(_BITS)
    return tf.cast(tf.cast(bits, tf.float32) < threshold, tf.float32) if tf.is_tensor(p) else (bits < threshold).astype(np.float32)
