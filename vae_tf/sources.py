"""Sources of images other than folders: the digits of scikit-learn, TensorFlow Datasets, NumPy archives."""

import zipfile
import zlib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from vae_tf.config import DataConfig
from vae_tf.damage import first_damage
from vae_tf.errors import ConfigError, DataError, reason
from vae_tf.images import Raw, Split, gather
from vae_tf.rows import chunks
from vae_tf.stores import InMemory, Store

__all__ = ["read_digits", "read_npz", "read_tfds", "tfds_files"]

_SPLITS = ("train", "validation", "test")
_CHUNK = 1000


def read_digits(config: DataConfig, store: Store) -> Raw:
    """Read scikit-learn's embedded handwritten digits: 1,797 images of 8 x 8 pixels, 17 grey levels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = digits.images.astype(np.uint8)[..., np.newaxis]
    images = gather([("digits", x)], len(x), config, store, "train")
    return Raw({"train": Split(images, digits.target.astype(np.int64))}, levels=17, label_names=tuple(map(str, digits.target_names)))


def read_tfds(name: str, config: DataConfig, data_dir: str | None, store: Store | None = None) -> Raw:
    """Read a prepared image data set of TensorFlow Datasets; nothing is ever downloaded.

    Args:
        name: `set`, `set/config`, `set:version` or `set/config:version`.
        config: of which `image_size` and `channels` are read; None means that images stay as they are.
        data_dir: the folder of prepared sets; None: the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
        store: where the images are put; memory when None.

    Returns:
        The set's own splits; 2 levels where no value exceeds 1 (as in binarized_mnist), else 256.

    Raises:
        ConfigError: there is no set, configuration or version of that name.
        DataError: the set is not prepared, damaged, or holds no 8-bit images.
    """
    import tensorflow_datasets as tfds

    builder, store = _builder(name, data_dir), InMemory() if store is None else store
    features = dict(builder.info.features.items())
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise DataError(f"`data.source`: {name!r} must have a feature `image` of 8-bit images; it has {', '.join(features)}.")
    if "train" not in builder.info.splits:
        raise DataError(f"`data.source`: {name!r} must have a split `train`; it has {', '.join(builder.info.splits) or 'none'}.")
    names = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
    try:
        splits = {s: _read_split(builder, s, names is not None, config, store) for s in _SPLITS if s in builder.info.splits}
    except (tf.errors.OpError, NotImplementedError) as error:
        damaged = [] if isinstance(error, NotImplementedError) else [first_damage(builder, s) for s in _SPLITS if s in builder.info.splits]
        what = next(filter(None, damaged), reason(error))
        raise DataError(f"`data.source`: {name!r} in {builder.data_dir} cannot be read ({what}). Prepare it again.") from error
    return Raw(splits, _levels(splits), names)


def tfds_files(name: str, data_dir: str | None) -> list[Path]:
    """Return the files of a prepared set; arguments and exceptions as of `read_tfds`."""
    return [path for path in Path(_builder(name, data_dir).data_dir).iterdir() if path.is_file()]


def _builder(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # it warns of every set that is not prepared: said better below
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        prepared = builder.is_prepared()
    except tfds.core.DatasetNotFoundError as error:
        known = get_close_matches(name.split("/")[0].split(":")[0], tfds.list_builders(with_community_datasets=False), n=1)
        hint = f"Did you mean 'tfds:{known[0]}'?" if known else "All are listed at https://www.tensorflow.org/datasets/catalog/overview."
        raise ConfigError(f"`data.source`: TensorFlow Datasets knows no set {name!r}. {hint}") from error
    except (AssertionError, ImportError, ValueError) as error:
        raise ConfigError(f"`data.source`: TensorFlow Datasets refuses {name!r}: {' '.join(str(error).split())[:300]}") from error
    finally:
        logging.set_verbosity(verbosity)
    if not prepared:
        folder = str(builder.data_dir_root)
        raise DataError(
            f"`data.source`: the set {name!r} is not prepared in {folder}. Name the folder that has it by --data-dir or TFDS_DATA_DIR, "
            f'or prepare it where there is a network: python -c "import tensorflow_datasets as tfds; '
            f'tfds.builder({name!r}, data_dir={folder!r}).download_and_prepare()"'
        )
    return builder


def npz_file(place: str) -> Path:
    """Return the file of a NumPy archive.

    Raises:
        DataError: there is none.
    """
    path = Path(place).expanduser()
    if not path.is_file():
        raise DataError(f"`data.source`: there is no file {path}. Give an archive written by numpy.savez, as npz:PATH.")
    return path


def read_npz(place: str, config: DataConfig, store: Store) -> Raw:
    """Read images from a NumPy archive: `x`, or `x_train` and, if there, `x_validation` and `x_test`; labels `y...` likewise.

    Labels are classes, integers [N], or vectors, numbers [N, K].

    Args:
        place: the file, as `numpy.savez` writes it; arrays of objects are refused, nothing is unpickled.
        config: of which `image_size` and `channels` are read; None means that images stay as they are.
        store: where the images are put; each array of the archive is in memory for a while all the same.

    Returns:
        The splits; 2 levels where all values are 0 or 1, else 256 for uint8 and None for real values in [0, 1].

    Raises:
        DataError: the file, or an array in it, breaks a rule.
    """
    path = npz_file(place)
    if not zipfile.is_zipfile(path):
        raise DataError(f"`data.source`: {path} is no NumPy archive, or damaged. Write it with numpy.savez or savez_compressed.")
    with _open(path) as archive:
        found = archive.files
        if ("x" in found) == ("x_train" in found):
            raise DataError(
                f"`data.source`: {path} must hold one of the arrays `x` and `x_train` (optional: `x_validation`, `x_test` and "
                f"labels `y...`); it holds {', '.join(found) or 'none'}. Rename them."
            )
        keys = {"train": "x" if "x" in found else "x_train", "validation": "x_validation", "test": "x_test"}
        splits = {}
        for split, key in keys.items():
            if key in found:
                x = _checked_images(f"{path}[{key}]", _array(path, archive, key))
                parts = ((f"{path}[{key}]", x[i : i + _CHUNK]) for i in range(0, max(len(x), 1), _CHUNK))
                labels = "y" + key[1:]
                y = _checked_labels(f"{path}[{labels}]", _array(path, archive, labels), len(x)) if labels in found else None
                splits[split] = Split(gather(parts, len(x), config, store, split), y)
    if len({s.x.dtype for s in splits.values()}) > 1:
        raise DataError(f"`data.source`: the images in {path} must be all uint8 or all float; the splits differ. Store them alike.")
    if len({s.y.shape[1:] for s in splits.values() if s.y is not None}) > 1:
        raise DataError(f"`data.source`: the labels in {path} must be all classes, or all vectors of one length; the splits differ.")
    if next(iter(splits.values())).x.dtype != np.uint8 and all(map(_binary, splits.values())):
        splits = {name: Split(store.keep(name, len(s), (x.astype(np.uint8) for x in chunks(s.x))), s.y) for name, s in splits.items()}
    return Raw(splits, _levels(splits))


def _read_split(builder: Any, split: str, labelled: bool, config: DataConfig, store: Store) -> Split:
    import tensorflow_datasets as tfds

    keys = ("image", "label") if labelled else ("image",)
    data = builder.as_dataset(split=split, read_config=tfds.ReadConfig(try_autocache=False))
    data = data.map(lambda example: {key: example[key] for key in keys})
    data = data.batch(_CHUNK if None not in builder.info.features["image"].shape else 1).prefetch(1)
    labels: list[np.ndarray] = []

    def parts() -> Iterator[tuple[str, np.ndarray]]:
        for position, batch in enumerate(data.as_numpy_iterator()):
            labels.append(batch.get("label"))
            yield f"{split} image {position}", batch["image"]

    x = gather(parts(), builder.info.splits[split].num_examples, config, store, split)
    return Split(x, np.concatenate(labels).astype(np.int64) if labelled else None)


def _levels(splits: dict[str, Split]) -> int | None:
    if splits["train"].x.dtype != np.uint8:
        return None
    return 2 if max(x.max() for split in splits.values() for x in chunks(split.x)) <= 1 else 256


def _binary(split: Split) -> bool:
    return all(((x == 0) | (x == 1)).all() for x in chunks(split.x))


_UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def _open(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(f"`data.source`: {path} cannot be read ({error}). Write it again with numpy.savez.") from error


def _array(path: Path, archive: Any, key: str) -> np.ndarray:
    try:
        array = archive[key]
    except _UNREADABLE as error:
        raise DataError(f"`data.source`: the array {key} in {path} cannot be read ({error}). Write it again, without objects.") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"`data.source`: {key} in {path} is no array. Write the archive with numpy.savez.")
    return array


def _checked_images(name: str, x: np.ndarray) -> np.ndarray:
    """Return the images as uint8 or float32 [N, H, W, C], or refuse them."""
    if x.ndim not in (3, 4) or x.size == 0:
        raise DataError(f"`data.source`: {name} must be [N, H, W] or [N, H, W, C] with at least one image; its shape is {x.shape}.")
    x = x if x.ndim == 4 else x[..., np.newaxis]
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise DataError(f"`data.source`: {name} must be uint8 in 0..255 or float in [0, 1]; it is {x.dtype}. Convert it with astype.")
    _check_finite(name, x)
    outside = (x < 0) | (x > 1)
    if outside.any():
        raise DataError(
            f"`data.source`: {name} must lie in [0, 1] as it is float; it spans [{x.min():g}, {x.max():g}], {_first(outside)}. Rescale it, "
            "or store uint8."
        )
    return x.astype(np.float32)


def _checked_labels(name: str, y: np.ndarray, count: int) -> np.ndarray:
    if y.shape == (count,) and y.dtype.kind in "iu":
        return y.astype(np.int64)
    if y.ndim != 2 or len(y) != count or not y.size or y.dtype.kind not in "iufb":
        raise DataError(
            f"`data.source`: {name} must be {count} integers or vectors of numbers, one for each image; it is {y.dtype} of shape {y.shape}."
        )
    y = y.astype(np.float32)
    _check_finite(name, y)
    return y


def _check_finite(name: str, values: np.ndarray) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise DataError(f"`data.source`: {name} must be finite; it holds {wrong.sum()} NaN or infinite values, {_first(wrong)}.")


def _first(wrong: np.ndarray) -> str:
    """Say which row is the first with a wrong value."""
    return f"first in row {int(np.argmax(wrong.reshape(len(wrong), -1).any(1)))}, counted from 0"
