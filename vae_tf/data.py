"""From a named source to batches: what training and evaluation see.

Sources: `digits`, `tfds:NAME`, `folder:PATH`, `npz:PATH`. Images are held in memory as grey levels and become float32
[B, H, W, C] in [0, 1] batch by batch. Order, binarization and corruption are functions of (seed, epoch, step), so that a
training that is resumed sees the very batches it would have seen.
"""

from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from vae_tf.config import DataConfig
from vae_tf.corruption import corrupt as corrupted
from vae_tf.errors import ConfigError, DataError
from vae_tf.image_folder import read_folder
from vae_tf.images import Images, Raw, Split
from vae_tf.noise import sixteen_bits_rows
from vae_tf.sources import read_digits, read_npz, read_tfds

__all__ = [
    "Images",
    "Split",
    "as_float",
    "fixed_images",
    "load",
    "seen_levels",
    "steps_per_epoch",
    "test_images",
    "training_batches",
    "validation_batches",
]

_VALIDATION, _TEST, _FIXED = 1, 2, 3  # a stream of random numbers each
_BITS = 2**16  # values of a random 16-bit integer: P(x = 1) is the grey value to within 2^-16


def load(config: DataConfig, seed: int, data_dir: str | None = None) -> Images:
    """Read and check the images of `config.source`; all that could stop a training later is refused here.

    Splits that the source does not have are held out at random: first the share `test` of the training images, then the
    share `validation` of those that remain, at least one image each. Equal seeds hold out equal validation images; test images are the
    same whatever the seed, so that runs can be compared.

    Args:
        config: the section `data` of a configuration.
        seed: the seed of the configuration, >= 0.
        data_dir: the folder of prepared sets, for `tfds:NAME`.

    Returns:
        Training, validation and test images of one shape.

    Raises:
        ConfigError: a key of `config` is out of range or names nothing.
        DataError: images are missing, unreadable or out of range.
    """
    raw = _read(config, data_dir)
    if config.binarize == "dynamic" and raw.levels == 2:
        raise ConfigError(f"`data.binarize` must be 'none' for {config.source}: its images hold 0 and 1 only; got 'dynamic'.")
    splits = raw.splits
    for key, share, stream in (("test", config.test, [0, _TEST]), ("validation", config.validation, [seed, _VALIDATION])):
        if key not in splits:
            splits = splits | dict(zip(("train", key), _hold_out(splits["train"], share, np.random.default_rng(stream))))
    shapes = {name: split.x.shape[1:] for name, split in splits.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"`data.source`: all splits of {config.source} must have one image shape; got {shapes}. Set `data.image_size`.")
    if not len(splits["train"]):
        raise DataError(f"`data.source`: {config.source} leaves no image to train on. Lower `data.validation` or `data.test`.")
    return Images(**splits, levels=raw.levels, label_names=raw.label_names, source=config.source, digests=raw.digests())


def seen_levels(images: Images, config: DataConfig) -> int | None:
    """Return the number of grey levels in the images that the model sees: 2 after binarization; None for real values."""
    return 2 if config.binarize == "dynamic" else images.levels


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
        images, classes = tf.constant(split.x), tf.constant(split.y) if labels else None

    def batch(rows: tf.Tensor, key: tf.Tensor, first: tf.Tensor) -> Any:
        x = as_float(tf.gather(images, rows), levels)
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
        return batches.map(lambda rows, step, first: batch(rows, tf.random.fold_in(epoch_key, step), first))

    endless = tf.data.Dataset.counter(first_epoch).flat_map(epoch_batches)
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
    if (replicas := parts * pieces) == 1:
        return tf.data.Dataset.from_tensor_slices(x if y is None else (x, y)).batch(batch_size)
    batch_size += -batch_size % replicas
    rows = np.append(np.arange(len(x)), np.zeros(-len(x) % replicas, int))
    with tf.device("CPU"):
        columns = [
            tf.constant(column) for column in (x[rows], (x if y is None else y)[rows], (rows == np.arange(len(rows))).astype(np.float32))
        ]
    starts = np.arange(0, len(rows), batch_size)
    sizes = np.minimum(batch_size, len(rows) - starts) // replicas
    firsts = starts[:, None] + sizes[:, None] * np.arange(part * pieces, (part + 1) * pieces)
    seen = tf.data.Dataset.from_tensor_slices((firsts.ravel(), np.repeat(sizes, pieces)))
    return seen.map(lambda first, size: tuple(column[first : first + size] for column in columns))


def fixed_images(split: Split, levels: int | None, *, seed: int, binarize: str) -> np.ndarray:
    """Return a split as the model sees it, for validation and test: one binarization, the same at every call.

    Args:
        split: N images.
        levels: their number of grey levels, or None.
        seed: the seed of the binarization.
        binarize: "dynamic" draws every pixel from Bernoulli(grey value) once; "none" does not.

    Returns:
        float32 [N, H, W, C] in [0, 1].
    """
    x = as_float(split.x, levels)
    if binarize == "none":
        return x
    return _bernoulli(x, np.random.default_rng([seed, _FIXED]).integers(_BITS, size=x.shape, dtype=np.uint16))


def test_images(images: Images, binarize: str) -> np.ndarray:
    """Return the test split as every model sees it, float32 [N, H, W, C]: one binarization, whatever the seed of the training.

    Args:
        images: of which `test` is read.
        binarize: as in `fixed_images`.
    """
    return fixed_images(images.test, images.levels, seed=0, binarize=binarize)


def _read(config: DataConfig, data_dir: str | None) -> Raw:
    kind, _, place = config.source.partition(":")
    if config.source == "digits":
        return read_digits(config)
    if kind == "tfds" and place:
        return read_tfds(place, config, data_dir)
    if kind == "folder" and place:
        return read_folder(place, config)
    if kind == "npz" and place:
        return read_npz(place, config)
    raise ConfigError(f"`data.source` must be 'digits', 'tfds:NAME', 'folder:PATH' or 'npz:PATH'; got {config.source!r}.")


def _hold_out(split: Split, share: float, rng: np.random.Generator) -> tuple[Split, Split]:
    """Split off the share: (rest, held out), both in their old order."""
    count = max(1, round(share * len(split)))
    order = rng.permutation(len(split))
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))


def _bernoulli(p, bits):
    """One draw per pixel: r < 2^16 p for r uniform on 0..2^16 - 1, so that 0 and 1 stay what they are."""
    threshold = p * np.float32(_BITS)
    return tf.cast(tf.cast(bits, tf.float32) < threshold, tf.float32) if tf.is_tensor(p) else (bits < threshold).astype(np.float32)
