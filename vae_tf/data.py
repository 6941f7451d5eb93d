"""From a named source to images in three splits.

Sources: `digits`, `tfds:NAME`, `folder:PATH`, `npz:PATH`. Images are held in memory as grey levels.
"""

import numpy as np

from vae_tf.config import DataConfig
from vae_tf.errors import ConfigError, DataError
from vae_tf.image_folder import read_folder
from vae_tf.images import Images, Raw, Split
from vae_tf.sources import read_digits, read_npz, read_tfds

__all__ = ["Images", "Split", "load", "seen_levels"]

_VALIDATION, _TEST = 1, 2  # a stream of random numbers each


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
