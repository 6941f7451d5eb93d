"""What is refused before a training begins, while nothing is written yet."""

from dataclasses import replace
from pathlib import Path

from vae_tf import config as configs
from vae_tf import pipeline
from vae_tf.config import Config, TrainingConfig
from vae_tf.data import Images, Split
from vae_tf.errors import DataError, RunError
from vae_tf.model import VAE
from vae_tf.progress import progress
from vae_tf.rows import chunks
from vae_tf.run import CONFIG, LARGEST, DataSummary

__all__ = ["check_folder", "check_images", "identity"]

_FREE = ("non_finite", "steps_per_execution")  # of `training`


def check_images(vae: VAE, images: Images, config: Config) -> None:
    """Refuse now what would be refused later.

    Args:
        vae: the model.
        images: of which all are looked at.
        config: the complete configuration.

    Raises:
        DataError: images are outside the support of the likelihood, labels are none, or too few to give a standard error.
    """
    height, width, channels = images.image_shape
    if max(images.image_shape) > LARGEST:
        raise DataError(f"images must be at most {LARGEST} high and wide, got {height} x {width} x {channels}; set `data.image_size`.")
    if len(images.test) < 2:
        raise DataError(f"`{images.source}` leaves {len(images.test)} test image(s), and at least 2 are needed; raise `data.test`.")
    splits = {"training": images.train, "validation": images.validation, "test": images.test}
    with progress(sum(map(len, splits.values())), "checking images", "images", quiet=images.in_memory) as bar:
        for name, split in splits.items():
            if vae.condition is not None:
                if split.y is None:
                    raise DataError(f"`model.condition` needs a label for each image, and the {name} images of {images.source} have none.")
                vae.condition.check(split.y)
            for part in chunks(split.x):
                vae.likelihood.check(pipeline.fixed_images(Split(part), images.levels, seed=config.seed, binarize=config.data.binarize))
                bar.update(len(part))


def identity(config: Config, summary: DataSummary) -> str:
    """Return what tells a training from others, whose checkpoints are not its own.

    Args:
        config: the complete configuration.
        summary: of its images.
    """
    return f"{_what_counts(config)!r} {summary.fingerprint}"


def _what_counts(config: Config) -> Config:
    """Return a configuration without what may differ when a run goes on.

    Rollbacks may be added: up to there, none would have been made. On the others no number depends.
    """
    training = replace(config.training, **{name: getattr(TrainingConfig, name) for name in _FREE})
    return replace(config, training=training, data=replace(config.data, in_memory=None))


def check_folder(folder: Path, config: Config, resume: bool) -> None:
    """Refuse a folder that a training would spoil.

    Args:
        folder: for the run.
        config: the complete configuration.
        resume: whether a run in it is to go on.

    Raises:
        RunError: it holds something else, or another run.
    """
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return  # hidden files are what a killed process left
    if not (folder / CONFIG).exists():
        raise RunError(f"`{folder}` exists and is no run folder; choose another for --run, nothing was changed.")
    if not resume:
        raise RunError(f"`{folder}` holds a run already; choose another for --run, or continue it with --resume.")
    stored, now = (_what_counts(one) for one in (configs.read(folder / CONFIG), config))
    if stored != now:
        different = configs.difference(stored.to_dict(), now.to_dict())
        raise RunError(f"`{folder}` holds a run of another configuration ({different}); choose another for --run.")
