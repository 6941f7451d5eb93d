"""Features for measures of sample quality: a small classifier of the data set's own images, trained here.

Features of a network trained on photographs mean nothing on digits. This one is trained on the labelled training images of the very
data set, as the model sees them, and its next to last layer describes images by what tells their classes apart. Its weights are a
function of (version, images, labels), whatever the seed of a run: they are kept in a cache, and runs on the same data share them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import final
from zipfile import BadZipFile

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import DataError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.two_samples import LEAST
from vae_tf.files import cache_folder, replacing
from vae_tf.images import Images, Split
from vae_tf.pipeline import fixed_images, test_images
from vae_tf.progress import progress
from vae_tf.rows import Rows, chunks, joined

__all__ = ["Classifier", "classifier"]

_NAME, _VERSION = "vae_tf-classifier", 1  # another version for whatever changes the weights: the network, its training
_FEATURES, _FILTERS = 64, (32, 64)
_BATCH, _STEPS, _LEARNING_RATE = 128, 1500, 2e-3
_SIZE = 500  # images described at once
_STREAM = 7  # of random numbers
_MOST_CLASSES = 1000


@final
@dataclass(frozen=True)
class Classifier:
    """Features of images, and whose they are.

    Attributes:
        name: of the network and its training.
        version: of them; features of two versions can not be compared.
        data: SHA-256 of the images and labels it was trained on, first 16 digits.
        weights: SHA-256 of its weights, first 16 digits: where these are equal, so are the features.
        accuracy: share of the test images whose class it finds.
        note: what was wrong with the cache; None where nothing was.
        variables: its weights by name.
    """

    name: str
    version: int
    data: str
    weights: str
    accuracy: Estimate
    note: str | None
    variables: dict[str, np.ndarray]

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the next to last layer, [N, 64] float64, standardized over the training images.

        Args:
            x: [N, H, W, C] float32 in [0, 1], as the model sees images.
        """
        raw = _by_batch(_features, self.variables, x)
        return (raw - self.variables["mean"]) / self.variables["stddev"]

    def __str__(self) -> str:
        return f"{self.name} {self.version}, trained on data {self.data}, weights {self.weights}, test accuracy {self.accuracy}"


def classifier(images: Images, binarize: str, *, cache: Path | None = None, verbose: bool = False) -> Classifier | str:
    """Return the classifier of a data set: from the cache, or trained now, on MNIST in about 20 seconds on two cores.

    It sees training and validation images, in an order of its own and with one binarization, so that runs with other seeds, which hold out
    other validation images, get the same one. Random numbers are its own, too: nobody's stream is moved.

    Args:
        images: the data set.
        binarize: as `data.binarize` has it: "dynamic" or "none".
        cache: a folder, created if missing; `cache_folder()` when None. A cache that can not be read or written is no obstacle.
        verbose: show progress.

    Returns:
        The classifier; or, in a sentence, why there can be none.
    """
    if images.train.y is None or images.test.y is None:
        return "the images have no labels to train a classifier on"
    if images.train.y.ndim != 1:
        return "labels are vectors, and the classifier needs classes"
    classes = int(images.train.y.max()) + 1
    if not 2 <= classes <= _MOST_CLASSES:
        return f"a classifier needs 2 to {_MOST_CLASSES} classes, and the images have {classes}"
    fewest = min(len(images.train), len(images.test))
    if fewest < LEAST:
        return f"there are {fewest} images of one kind, training or test, and {LEAST} are the least to compare samples with"
    train, y = _canonical([split for split in (images.train, images.validation) if len(split)])
    data = _digest([train.x, y, np.array([images.levels or 0]), np.array(binarize)])
    path = (cache_folder() if cache is None else Path(cache)) / f"{_NAME}-{_VERSION}-{data}.npz"
    shapes = _shapes(images.image_shape, classes)
    variables, note = _read(path, shapes)
    if variables is None:
        try:
            x = fixed_images(train, images.levels, seed=0, binarize=binarize)
        except DataError as error:  # no room on the disk
            return f"the classifier takes all images, and {error}"
        variables = _train(x, y, shapes, verbose)
        raw = _by_batch(_features, variables, x)
        variables |= {"mean": raw.mean(0), "stddev": raw.std(0) + 1e-6}
        try:
            with replacing(path) as temporary:
                np.savez(temporary, allow_pickle=False, **variables)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            note = f"the classifier could not be kept in its cache ({reason}; $VAE_TF_CACHE names another), and is trained again next time"
    logits = _by_batch(_logits, variables, test_images(images, binarize))
    accuracy = Estimate.over((logits.argmax(1) == images.test.y).astype(np.float64), "classifier of the features", "share")
    return Classifier(_NAME, _VERSION, data, _digest([variables[name] for name in sorted(variables)]), accuracy, note, variables)


def _canonical(splits: list[Split]) -> tuple[Split, np.ndarray]:
    """Return all images and their classes in the order of their contents, which does not tell how they were split."""
    x, y = joined([split.x for split in splits]), np.concatenate([split.y for split in splits])
    images = chain.from_iterable(chunks(x))
    keys = [hashlib.sha256(image.tobytes() + int(label).to_bytes(8, "little")).digest() for image, label in zip(images, y)]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    return Split(x[order]), y[order].astype(np.int64)


def _digest(arrays: Sequence[np.ndarray | Rows]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}\n".encode())
        for part in chunks(array) if array.shape else [array]:
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]


def _shapes(image_shape: tuple[int, int, int], classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each kernel, whose last axis is that of its bias: two convolutions of stride 2, two linear maps."""
    height, width, channels = image_shape
    flat = -(-height // 4) * -(-width // 4) * _FILTERS[1]
    return {
        "conv0": (5, 5, channels, _FILTERS[0]),
        "conv1": (3, 3, _FILTERS[0], _FILTERS[1]),
        "features": (flat, _FEATURES),
        "logits": (_FEATURES, classes),
    }


def _features(variables: dict[str, tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    for name in ("conv0", "conv1"):
        x = tf.nn.relu(tf.nn.conv2d(x, variables[name], 2, "SAME") + variables[f"{name} bias"])
    return tf.reshape(x, [tf.shape(x)[0], variables["features"].shape[0]]) @ variables["features"] + variables["features bias"]


def _logits(variables: dict[str, tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(_features(variables, x)) @ variables["logits"] + variables["logits bias"]


def _by_batch(
    function: Callable[[dict[str, tf.Tensor], tf.Tensor], tf.Tensor], variables: dict[str, np.ndarray], x: np.ndarray
) -> np.ndarray:
    weights = {name: tf.constant(value, tf.float32) for name, value in variables.items()}
    parts = [function(weights, tf.constant(x[start : start + _SIZE])).numpy() for start in range(0, len(x), _SIZE)]
    return np.concatenate(parts).astype(np.float64)


def _train(x: np.ndarray, y: np.ndarray, shapes: dict[str, tuple[int, ...]], verbose: bool) -> dict[str, np.ndarray]:
    """Minimise the cross entropy; kernels start as He et al. (2015), equation 10, have it."""
    rng = np.random.default_rng(_STREAM)
    weights: dict[str, tf.Variable] = {}
    for name, shape in shapes.items():
        weights[name] = tf.Variable(rng.normal(scale=np.sqrt(2 / np.prod(shape[:-1])), size=shape), dtype=tf.float32)
        weights[f"{name} bias"] = tf.Variable(tf.zeros(shape[-1:]))
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, _STEPS)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(list(weights.values()))

    @tf.function
    def step(images: tf.Tensor, classes: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = _logits(weights, images)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits))
        values = list(weights.values())
        optimizer.apply_gradients(zip(tape.gradient(loss, values), values))

    size = min(_BATCH, len(x))
    with progress(_STEPS, "classifier for features", "steps", quiet=not verbose) as bar:
        order = np.concatenate([rng.permutation(len(x)) for _ in range(-(-_STEPS * size // len(x)))])
        for start in range(0, _STEPS * size, size):
            rows = order[start : start + size]
            step(tf.constant(x[rows]), tf.constant(y[rows], tf.int32))
            bar.update()
    return {name: value.numpy() for name, value in weights.items()}


def _read(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, np.ndarray] | None, str | None]:
    """Return the weights in the cache, or None, and what was wrong with them."""
    expected = {**shapes, **{f"{name} bias": shape[-1:] for name, shape in shapes.items()}}
    expected |= {"mean": (_FEATURES,), "stddev": (_FEATURES,)}
    if not path.exists():
        return None, None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            variables = {name: arrays[name] for name in expected}
        if {name: value.shape for name, value in variables.items()} == expected and all(map(_sound, variables.values())):
            return variables, None
        reason = "weights of another shape, or not finite"
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile) as error:
        reason = str(error).splitlines()[0]
    return None, f"the classifier in its cache, {path.name}, was damaged ({reason}), and was trained again"


def _sound(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.floating) and bool(np.isfinite(values).all())
