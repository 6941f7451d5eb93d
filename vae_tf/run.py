"""Run folders: what one holds, and how a complete one comes back.

config.yaml           the complete configuration
data.json             what the data were: image shape, grey levels, split sizes, fingerprint
history.csv           one row per epoch
checkpoints/          the last two, within epochs too: weights, optimizer, position, what callbacks remember
tensorboard/          curves, pictures and latents for TensorBoard
mlflow.json           which MLflow run it is, if it is one
model.weights.h5      the trained weights; present when the run is complete
evaluation.json, .npz  what `evaluate` found: in all, and for each test image
report.html           written by `report`

Restoring rebuilds the model from the configuration and loads weights: no code is read from a run folder.
"""

import json
import reprlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, final

import numpy as np
from pydantic import Field, PositiveInt, TypeAdapter, ValidationError

from vae_tf import config as configs
from vae_tf import data, pipeline
from vae_tf.build import build
from vae_tf.config import Config
from vae_tf.data import Images
from vae_tf.errors import DataError, RunError
from vae_tf.files import replacing
from vae_tf.images import blocks
from vae_tf.model import VAE

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "DATA",
    "EVALUATION",
    "HISTORY",
    "LARGEST",
    "PER_IMAGE",
    "REPORT",
    "WEIGHTS",
    "DataSummary",
    "Run",
    "load",
]

CONFIG, DATA, WEIGHTS = "config.yaml", "data.json", "model.weights.h5"
HISTORY, CHECKPOINTS = "history.csv", "checkpoints"
EVALUATION, PER_IMAGE, REPORT = "evaluation.json", "evaluation.npz", "report.html"

LARGEST = 4096  # height and width of images
_Size = Annotated[int, Field(ge=1, le=LARGEST)]
_Digests = Annotated[str, Field(pattern=r"^\d{1,10}( [0-9a-f]{8})+$")]


@final
@dataclass(frozen=True)
class DataSummary:
    """What a run remembers of its images, in `data.json`: enough to rebuild the model, and to notice that they changed.

    Attributes:
        source: `data.source` of the configuration.
        image_shape: (H, W, C).
        levels: grey levels as the model sees them, None for real values.
        label_size: number of classes, or of values of a label; None where the model has no condition.
        label_names: the name of each class, where the model has a condition and the classes have names.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        fingerprint: SHA-256 of the images, and of their labels where the model has a condition.
        digests: of blocks of the images, and labels, in the order of the source: they tell where it has changed.
    """

    source: str
    image_shape: tuple[_Size, _Size, _Size]
    levels: Annotated[int, Field(ge=2, le=2**16)] | None
    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    fingerprint: str
    label_size: PositiveInt | None = None
    label_names: tuple[str, ...] | None = None
    digests: dict[str, _Digests] | None = None

    @classmethod
    def of(cls, images: Images, config: Config) -> "DataSummary":
        """Summarise loaded images."""
        sizes = {name: len(getattr(images, name)) for name in ("train", "validation", "test")}
        levels = data.seen_levels(images, config.data)
        labelled = config.model.condition is not None
        return cls(
            images.source,
            images.image_shape,
            levels,
            **sizes,
            fingerprint=images.fingerprint(labelled),
            label_size=images.label_size if labelled else None,
            label_names=images.label_names if labelled else None,
            digests={name: digests for name, digests in images.digests.items() if labelled or not name.endswith("labels")},
        )

    @classmethod
    def read(cls, path: Path) -> "DataSummary":
        """Read it from `data.json`.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(f"`{path}` is missing or damaged ({str(error).splitlines()[0]}); restore it or train again.") from None

    def require(self, found: "DataSummary") -> None:
        """Refuse images that are not those of the run.

        Raises:
            RunError: `found` differs.
        """
        if replace(found, digests=self.digests) != self:
            key = next(key for key, value in asdict(self).items() if asdict(found)[key] != value)
            raise RunError(
                f"the images of `{self.source}` are not those of the run: {key} is {getattr(found, key)!r}, it was "
                f"{getattr(self, key)!r}{self._changed(found)}; restore them, or train again."
            )

    def _changed(self, found: "DataSummary") -> str:
        """Say where the first change is, if it is known."""
        for name, digests in (self.digests or {}).items():
            (count, *before), (_, *now) = digests.split(), (found.digests or {}).get(name, "0").split()
            if len(before) == len(now) and before != now:
                first = next(i for i, (old, new) in enumerate(zip(before, now)) if old != new)
                rows = blocks(int(count))[first]
                return f", and the first that changed is among the {name} {rows.start} to {rows.stop - 1}, counted from 0"
        return ""

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1))


@final
@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        folder: where it lives.
        config: the complete configuration.
        data: what it remembers of its images.
        vae: the trained model, compiled.
    """

    folder: Path
    config: Config
    data: DataSummary
    vae: VAE

    def images(self, data_dir: str | None = None) -> Images:
        """Load the images it was trained on.

        Args:
            data_dir: where `tensorflow_datasets` keeps prepared sets; None for its default.

        Raises:
            DataError: they are missing or unreadable.
            RunError: they are not the images of the training.
        """
        images = data.load(self.config.data, self.config.seed, data_dir)
        self.data.require(DataSummary.of(images, self.config))
        return images

    def test_images(self, data_dir: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Load the test images as the model sees them, [N, H, W, C] float32: one binarization, the same for every run.

        Returns:
            Images, and their labels, [N] or [N, K]; None where the model has no condition.
        """
        images = self.images(data_dir)
        x = pipeline.test_images(images, self.config.data.binarize)
        return x, None if self.vae.condition is None else images.test.y

    def labels(self, count: int, label: str | None = None) -> np.ndarray | None:
        """Return the labels of `count` images to be generated, [count] or [count, K]; None where the model has no condition.

        Args:
            count: at least 1.
            label: that of all images, as a person writes it: the name of a class, or its number, or the K numbers of a vector with commas
                between them. None for all classes in turn.

        Raises:
            DataError: the model has no condition, or `label` is none of its labels, or it is missing where labels are vectors.
        """
        condition, names = self.vae.condition, self.data.label_names or ()
        if condition is None:
            if label is not None:
                raise DataError(f"`label` must be left out: `{self.folder}` was trained without labels; got {label!r}.")
            return None
        classes = condition.label.dtype.is_integer
        if label is None:
            if not classes:
                raise DataError(f"`label` must be given, {condition.size} numbers with commas between them: labels are vectors.")
            return np.arange(count) % condition.size
        try:
            one = np.array(names.index(label) if label in names else int(label)) if classes else np.array(label.split(","), np.float32)
            labels = np.broadcast_to(one, (count, *one.shape))
            condition.check(labels)
        except ValueError:
            rule = f"a class from 0 to {condition.size - 1}" if classes else f"{condition.size} finite numbers with commas between them"
            named = f", or its name ({reprlib.repr(list(names))})" if names else ""
            raise DataError(f"`label` must be {rule}{named}, got {label!r}.") from None
        return labels


def load(folder: str | Path) -> Run:
    """Return a complete run: rebuilt from its configuration, with its weights.

    Raises:
        RunError: the folder is missing, incomplete or damaged.
    """
    folder = Path(folder)
    if not (folder / CONFIG).exists():
        raise RunError(f"`{folder}` is no run folder: {CONFIG} is missing; train one with `python -m vae_tf train PRESET --run {folder}`.")
    if not (folder / WEIGHTS).exists():
        raise RunError(f"`{folder}` is not complete: {WEIGHTS} is missing; finish it with `python -m vae_tf train ... --resume`.")
    config, summary = configs.read(folder / CONFIG), DataSummary.read(folder / DATA)
    steps_per_epoch = summary.train // config.training.batch_size
    vae = build(config, summary.image_shape, summary.levels, steps_per_epoch, summary.label_size)
    # Schedules stand where the training ended, or would have, so that `vae.evaluate` reports the loss of the end.
    vae.optimizer.iterations.assign(config.training.epochs * steps_per_epoch)
    try:
        vae.load_weights(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, RuntimeError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"`{folder / WEIGHTS}` is damaged or of another model ({reason}); restore it or train again.") from None
    if not all(np.isfinite(weight.numpy()).all() for weight in vae.weights):
        raise RunError(f"`{folder / WEIGHTS}` holds weights that are no finite numbers; restore it or train again.")
    return Run(folder, config, summary, vae)
