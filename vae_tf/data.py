"""From a named source to images in three splits.

Sources: `digits`, `tfds:NAME`, `folder:PATH`, `npz:PATH`. Images are grey levels, in memory or, where they do not fit, on disk.
"""

from collections.abc import Callable
from math import inf
from pathlib import Path

import numpy as np

from vae_tf.config import DataConfig
from vae_tf.converted import converted
from vae_tf.errors import ConfigError, DataError
from vae_tf.image_folder import image_files, read_folder
from vae_tf.images import Images, Raw, Split
from vae_tf.memory import free_bytes
from vae_tf.sources import npz_file, read_digits, read_npz, read_tfds, tfds_files
from vae_tf.stores import InMemory, Store, TooLarge

__all__ = ["Images", "Split", "load", "seen_levels"]

_VALIDATION, _TEST = 1, 2  # a stream of random numbers each
_COPIES = 3  # what a training takes, at most, for each byte of its images


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
    splits, levels, names, digests = raw.splits, raw.levels, raw.label_names, raw.digests()
    del raw  # what is not held out is copied in memory: the whole goes
    for key, share, stream in (("test", config.test, [0, _TEST]), ("validation", config.validation, [seed, _VALIDATION])):
        if key not in splits:
            splits = splits | dict(zip(("train", key), _hold_out(splits["train"], share, np.random.default_rng(stream))))
    shapes = {name: split.x.shape[1:] for name, split in splits.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"`data.source`: all splits of {config.source} must have one image shape; got {shapes}. Set `data.image_size`.")
    if not len(splits["train"]):
        raise DataError(f"`data.source`: {config.source} leaves no image to train on. Lower `data.validation` or `data.test`.")
    return Images(**splits, levels=levels, label_names=names, source=config.source, digests=digests)


def seen_levels(images: Images, config: DataConfig) -> int | None:
    """Return the number of grey levels in the images that the model sees: 2 after binarization; None for real values."""
    return 2 if config.binarize == "dynamic" else images.levels


def _read(config: DataConfig, data_dir: str | None) -> Raw:
    read = _reader(config, data_dir)
    if config.in_memory is not False:
        try:
            return read(InMemory(inf if config.in_memory else free_bytes() / _COPIES))
        except TooLarge:
            pass
    return converted(read, config, *_origin(config, data_dir))


def _reader(config: DataConfig, data_dir: str | None) -> Callable[[Store], Raw]:
    kind, _, place = config.source.partition(":")
    if config.source == "digits":
        return lambda store: read_digits(config, store)
    if kind == "tfds" and place:
        return lambda store: read_tfds(place, config, data_dir, store)
    if kind == "folder" and place:
        return lambda store: read_folder(place, config, store)
    if kind == "npz" and place:
        return lambda store: read_npz(place, config, store)
    raise ConfigError(f"`data.source` must be 'digits', 'tfds:NAME', 'folder:PATH' or 'npz:PATH'; got {config.source!r}.")


def _origin(config: DataConfig, data_dir: str | None) -> tuple[str, list[Path]]:
    """Return the full name of a source that `_reader` knows, and its files."""
    kind, _, place = config.source.partition(":")
    if kind == "tfds":
        files = tfds_files(place, data_dir)
        return f"tfds:{files[0].parent.resolve()}", files
    if kind == "digits":
        return kind, []
    files = image_files(place) if kind == "folder" else [npz_file(place)]
    return f"{kind}:{Path(place).expanduser().resolve()}", files


def _hold_out(split: Split, share: float, rng: np.random.Generator) -> tuple[Split, Split]:
    """Split off the share: (rest, held out), both in their old order."""
    count = max(1, round(share * len(split)))
    order = rng.permutation(len(split))
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))
