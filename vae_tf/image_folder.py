"""A folder of a user's own images."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vae_tf.config import DataConfig
from vae_tf.errors import DataError
from vae_tf.images import Raw, Split, gather
from vae_tf.stores import Store

__all__ = ["image_files", "read_folder"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def read_folder(place: str, config: DataConfig, store: Store) -> Raw:
    """Read the image files below a folder, in the order of their paths.

    Sub-folders `train`, `validation` and `test` are the splits, if `train` or `test` is there. The folders below a split
    (or below `place`) name the classes, unless an image lies outside all of them. Animations give their first frame;
    transparency is ignored; the orientation noted by a camera is applied. Resizing makes images square.

    Args:
        place: the folder.
        config: of which `image_size` and `channels` are read; None where all images are alike.
        store: where the images are put.

    Returns:
        The splits, 256 levels.

    Raises:
        DataError: the folder is missing or empty, a file is unreadable, or the images differ in shape.
    """
    root = Path(place).expanduser()
    by_split = _by_split(root, image_files(place))
    classes = {path: path.parent.relative_to(base).as_posix() for base, paths in by_split.items() for path in paths}
    labelled = "." not in classes.values()
    numbers = {name: number for number, name in enumerate(sorted(set(classes.values())))} if labelled else {}
    splits = {}
    for base, paths in by_split.items():
        name = "train" if base == root else base.name
        x = gather(_decode_all(paths), len(paths), config, store, name)
        y = np.array([numbers[classes[path]] for path in paths], np.int64) if labelled else None
        splits[name] = Split(x, y)
    # A name that is not UTF-8 could not be written down.
    names = tuple(os.fsencode(name).decode(errors="backslashreplace") for name in numbers)
    return Raw(splits, levels=256, label_names=names or None)


def image_files(place: str) -> list[Path]:
    """Return the image files below a folder, in the order of their paths.

    Raises:
        DataError: there is no folder, or no image in it.
    """
    root = Path(place).expanduser()
    if not root.is_dir():
        raise DataError(f"`data.source`: there is no folder {root}. Give the folder that holds the images, as folder:PATH.")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file() and not p.name.startswith("."))
    if not files:
        raise DataError(f"`data.source`: no images below {root}. Files must end in {', '.join(_SUFFIXES)}.")
    return files


def _by_split(root: Path, files: list[Path]) -> dict[Path, list[Path]]:
    if not any((root / name).is_dir() for name in ("train", "test")):
        return {root: files}
    bases = [root / name for name in ("train", "validation", "test")]
    by_split = {base: [path for path in files if base in path.parents] for base in bases}
    if not by_split[bases[0]]:
        raise DataError(f"`data.source`: {root} has a folder train or test, so train must hold images; it has none. Move them there.")
    for path in files:
        if not any(base in path.parents for base in bases):
            raise DataError(
                f"`data.source`: {root} has a folder train or test, so all images must lie in train, validation or test; "
                f"{path} does not. Move or remove it."
            )
    return {base: paths for base, paths in by_split.items() if paths}


def _decode_all(paths: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    for path in paths:
        yield str(path), _decode(path)[np.newaxis]


def _decode(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"`data.source`: {path} cannot be read as an image ({error}). Repair or remove it.") from error
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits: Pillow would clip them to white
        raise DataError(f"`data.source`: images must have 8 bits per channel; {path} has Pillow mode {image.mode!r}. Convert it.")
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[..., np.newaxis]
    return np.asarray(image.convert("RGB"))
