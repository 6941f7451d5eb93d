"""Images as arrays of grey levels, in three splits, in memory or on disk."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from vae_tf.config import DataConfig
from vae_tf.errors import DataError
from vae_tf.memory import empty
from vae_tf.progress import progress
from vae_tf.rows import Rows, chunks
from vae_tf.stores import Store

__all__ = ["Images", "Raw", "Split", "blocks", "gather"]

_BLOCKS = 100


@final
@dataclass(frozen=True, eq=False)
class Split:
    """Images and, where the source has them, their labels.

    Args:
        x: uint8 [N, H, W, C], grey levels from 0 to levels - 1; or float32 [N, H, W, C] in [0, 1] where the images have no levels.
            `Rows` where they are on disk.
        y: int64 [N] class labels, or float32 [N, K] label vectors, or None.
    """

    x: np.ndarray | Rows
    y: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> "Split":
        """Return the examples at the positions `rows` (int [M]); those on disk are not read yet."""
        return Split(_taken(self.x, rows), None if self.y is None else self.y[rows])


@final
@dataclass(frozen=True, eq=False)
class Raw:
    """What a source holds, before anything is held out.

    Args:
        splits: `train`, and `validation` and `test` where the source has them.
        levels: the number of grey levels, or None for real values in [0, 1].
        label_names: the name of each class label, where the source has names.
        known: what `digests` returns, if it was called before.
    """

    splits: dict[str, Split]
    levels: int | None
    label_names: tuple[str, ...] | None = None
    known: Mapping[str, str] | None = None

    def digests(self) -> Mapping[str, str]:
        """Return short digests of images and labels, a hundred for each split: they tell where a set has changed.

        Returns:
            For `train images`, `train labels` and so on, the number of rows, and the digest of each of their `blocks`.
        """
        if self.known is not None:
            return self.known
        arrays = {
            f"{name} {kind}": array for name, split in self.splits.items() for kind, array in (("images", split.x), ("labels", split.y))
        }
        return {
            name: " ".join([str(len(array)), *(_digest(array[block]) for block in blocks(len(array)))])
            for name, array in arrays.items()
            if array is not None
        }


@final
@dataclass(frozen=True, eq=False)
class Images:
    """A data set, ready for training: three splits of images of one shape.

    Args:
        train: what the weights are fitted to.
        validation: held out, for choosing between models; may be empty.
        test: held out, for reporting; may be empty.
        levels: the number of grey levels (2: binary), or None for real values in [0, 1].
        label_names: the name of each class label, where the source has names.
        source: where the images come from, as `data.source` had it.
        digests: `Raw.digests` of what it held.
    """

    train: Split
    validation: Split
    test: Split
    levels: int | None
    label_names: tuple[str, ...] | None
    source: str
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def label_size(self) -> int | None:
        """The number of classes, or of values where labels are vectors; None without labels."""
        labels = [split.y for split in (self.train, self.validation, self.test) if split.y is not None and len(split)]
        if not labels:
            return None
        if labels[0].ndim == 2:
            return labels[0].shape[1]
        return len(self.label_names) if self.label_names else int(max(y.max() for y in labels)) + 1

    @property
    def in_memory(self) -> bool:
        """Whether the images are; else they are read from disk, batch by batch."""
        return isinstance(self.train.x, np.ndarray)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        height, width, channels = self.train.x.shape[1:]
        return height, width, channels

    def fingerprint(self, labels: bool = False) -> str:
        """Return SHA-256 over shape, type and bytes of the three splits: equal only for equal images in equal order.

        Args:
            labels: whether labels count as well.
        """
        digest, splits = hashlib.sha256(), (self.train, self.validation, self.test)
        arrays = [array for split in splits for array in ((split.x, split.y) if labels and split.y is not None else (split.x,))]
        with progress(sum(map(len, arrays)), "comparing images", "images", quiet=self.in_memory) as bar:
            for array in arrays:
                digest.update(f"{array.shape} {array.dtype}\n".encode())
                for part in chunks(array):
                    digest.update(np.ascontiguousarray(part).data)
                    bar.update(len(part))
        return digest.hexdigest()


def _taken(x: np.ndarray | Rows, rows: np.ndarray) -> np.ndarray | Rows:
    if isinstance(x, Rows):
        return x[rows]
    return x.take(rows, 0, empty((len(rows), *x.shape[1:]), x.dtype), "clip")


def _digest(rows: np.ndarray | Rows) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for part in chunks(rows):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def blocks(count: int) -> list[slice]:
    """Return rows in a hundred blocks of nearly equal size, in their order; as many as there are rows, if they are fewer."""
    number = max(1, min(_BLOCKS, count))
    size, larger = divmod(count, number)
    ends = [(block + 1) * size + min(block + 1, larger) for block in range(number)]
    return [slice(start, end) for start, end in zip([0, *ends], ends)]


def gather(parts: Iterable[tuple[str, np.ndarray]], total: int, config: DataConfig, store: Store, split: str) -> np.ndarray | Rows:
    """Give all images one shape and keep them; a bar on stderr shows the progress of more than a thousand.

    Args:
        parts: named arrays, uint8 or float32, [n, H, W, C] each; H, W and C may differ between parts.
        total: the number of images to come.
        config: of which `image_size` and `channels` are read; None means that images stay as they are.
        store: where.
        split: by which name.

    Returns:
        The images, [N, H, W, C], of the type of the parts.

    Raises:
        DataError: two parts differ in shape and no setting evens them out, or there is nothing at all; or as `store` says.
    """
    with progress(total, "reading images", "images", quiet=total <= 1000) as bar:
        return store.keep(split, total, _alike(parts, config, bar))


def _alike(parts: Iterable[tuple[str, np.ndarray]], config: DataConfig, bar: tqdm) -> Iterator[np.ndarray]:
    first_name, first_shape = "", None
    for name, part in parts:
        x = _conform(name, part, config.image_size, config.channels)
        if first_shape is None:
            first_name, first_shape = name, x.shape[1:]
            if x.size == 0:
                break
        if x.shape[1:] != first_shape:
            key = "`data.channels`" if x.shape[1:3] == first_shape[:2] else "`data.image_size`"
            raise DataError(
                f"`data.source`: images must have one shape; {first_name} is {_text(first_shape)}, "
                f"{name} is {_text(x.shape[1:])}. Set {key} to convert them all."
            )
        yield x
        bar.update(len(x))
    else:
        if first_shape is not None:
            return
    raise DataError(f"`data.source` holds no images{f' in {first_name}' if first_name else ''}.")


def _conform(name: str, x: np.ndarray, image_size: int | None, channels: int | None) -> np.ndarray:
    """Convert to `channels`, then resize by area-weighted averaging (a triangle filter: it cannot leave the range of the values)."""
    side = x.shape[1:3] if image_size is None else (image_size, image_size)
    depth = x.shape[3]
    if depth not in (1, 3):
        raise DataError(
            f"`data.source`: images must have 1 channel (grey) or 3 (RGB); {name} has {depth}, its shape being {x.shape} [N, H, W, C]. "
            "Select or reorder them."
        )
    if x.size == 0 or x.shape[1:] == (*side, channels or depth):
        return x
    y = tf.cast(x, tf.float32)
    if channels not in (None, depth):
        y = tf.image.rgb_to_grayscale(y) if channels == 1 else tf.image.grayscale_to_rgb(y)
    y = tf.image.resize(y, side, antialias=True).numpy()
    return np.rint(y).astype(np.uint8) if x.dtype == np.uint8 else np.clip(y, 0, 1)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
