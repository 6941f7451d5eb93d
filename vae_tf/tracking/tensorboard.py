"""TensorBoard: curves by epoch, pictures of what the model makes of images and of noise, what each latent carries, and the projector."""

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import tensorflow as tf

from vae_tf import plots
from vae_tf.latents import active_units, kl_of_latents, layer_names, layer_sizes, moments_and_terms, posterior_moments
from vae_tf.tracking.base import Outcome, Tracker, Training
from vae_tf.tracking.events import EventFile
from vae_tf.tracking.projector import write_projector

__all__ = ["TENSORBOARD", "TensorBoard"]

TENSORBOARD = "tensorboard"  # in the run folder

_PICTURES = 10  # times in a training: as many as TensorBoard shows of each kind if nobody asks for more
_SHOWN, _FEW, _PIXELS = 64, 8, 2**20  # images in a picture at most, and at least, as far as they have so many pixels
_PAIRS, _CLASSES = 4, 20  # how many stand side by side
_MEASURED = 100  # images whose KL is looked at
_CURVES = 64  # latent dimensions that get a curve each
_PROJECTED = 2000  # images


@final
class TensorBoard(Tracker):
    """Writes event files to `tensorboard/` in the run folder: `train` and `validation`, whose curves lie over each other.

    The steps are epochs. Ten times in a training, evenly spread, there are also reconstructions, samples, and the KL of each latent
    dimension, of fixed validation images and fixed noise; at the end the means of q(z | x) of validation images, for the projector.

    Args:
        training: what is followed.
    """

    def __init__(self, training: Training):
        super().__init__(training)
        epochs = training.config.training.epochs
        self._pictured = {round(epoch) for epoch in np.linspace(1, epochs, min(_PICTURES, epochs))}
        self._shown = max(_FEW, min(_SHOWN, _PIXELS // int(np.prod(training.x.shape[1:3]))))
        self._written = len(training.rows)

    def begin(self) -> None:
        """Open new files; what older ones hold of epochs that come again is forgotten."""
        folder = self.training.folder / TENSORBOARD
        self._train, self._validation = (EventFile(folder / name, self._written + 1) for name in ("train", "validation"))

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write curves; and pictures, if it is time for some."""
        new = [row for row in rows if row["epoch"] > self._written]
        for row in new:
            for name, value in row.items():
                file = self._validation if name.startswith("val_") else self._train
                if name != "epoch":
                    file.scalar(f"epoch/{name.removeprefix('val_')}", value, int(row["epoch"]))
        self._flush()
        self._written = int(rows[-1]["epoch"])
        if any(int(row["epoch"]) in self._pictured for row in new):
            self._images(self._written)
            self._kl(self._written)
            self._flush()

    def end(self, outcome: Outcome) -> None:
        """Write the projector's files, if the training is complete."""
        self._train.close()
        self._validation.close()
        if outcome == "complete":
            x, label, y = self._some(_PROJECTED)
            vae = self.training.vae
            sizes = layer_sizes(vae)
            layers = np.split(posterior_moments(vae, x, label)[0], np.cumsum(sizes)[:-1], axis=1)
            folder = self.training.folder / TENSORBOARD / "validation"
            write_projector(folder, dict(zip(layer_names(len(sizes)), layers)), x, y, self.training.label_names)

    def _flush(self) -> None:
        self._train.flush()
        self._validation.flush()

    def _some(self, count: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return images at even distances, what the model is given beside them, and their labels if they have any."""
        training = self.training
        rows = np.unique(np.linspace(0, len(training.x) - 1, count).astype(int))
        return training.x[rows], None if training.label is None else training.label[rows], None if training.y is None else training.y[rows]

    def _images(self, step: int) -> None:
        vae, (x, label, _) = self.training.vae, self._some(self._shown // 2)
        made = vae(tf.constant(x) if label is None else (tf.constant(x), tf.constant(label))).numpy()
        pairs = plots.pair_grid(x, made, _PAIRS)
        self._validation.image(
            "pictures/reconstructions", pairs, step, "Validation images, and the mean of p(x given z) at the mean of q(z given x)."
        )
        labels, columns = self._labels()
        samples = vae.generate(self._shown if labels is None else len(labels), 0, labels)
        told = "" if columns is None else " One class in each column."
        grid = plots.image_grid(samples, columns)
        self._validation.image(
            "pictures/samples", grid, step, f"Means of p(x given z) for the same draws of the prior in every epoch.{told}"
        )

    def _labels(self) -> tuple[np.ndarray | None, int | None]:
        """Return labels for samples, and how many of these stand side by side: all classes in turn, or those of validation images."""
        condition = self.training.vae.condition
        if condition is None:
            return None, None
        if not condition.label.dtype.is_integer:
            return self._some(self._shown)[1], None
        columns = condition.size if condition.size <= min(_CLASSES, self._shown) else None
        return np.arange(self._shown - self._shown % (columns or 1)) % condition.size, columns

    def _kl(self, step: int) -> None:
        vae, (x, label, _) = self.training.vae, self._some(_MEASURED)
        mean, stddev, *parts = (part.numpy().astype(np.float64) for part in moments_and_terms(vae, x, label))
        kl, sizes = kl_of_latents(vae, mean, stddev, label, parts), layer_sizes(vae)
        layers = dict(zip(layer_names(len(sizes)), sizes))
        bars = plots.kl_bars(kl.per_dimension, active_units(mean), layers if len(sizes) > 1 else None)
        told = f"KL of each latent dimension in nats, averaged over {len(x)} validation images"
        self._validation.histogram("kl_per_dimension", kl.per_dimension, step, f"{told}.")
        self._validation.image("pictures/kl_per_dimension", plots.pixels(bars), step, f"{told}, the largest first.")
        if len(layers) > 1:
            for name, value in kl.per_layer.items():
                self._validation.scalar(f"kl_per_layer/{name}", value, step)
        if len(kl.per_dimension) <= _CURVES:
            dimensions = [f"{name}_{index + 1:02d}" for name, size in layers.items() for index in range(size)]
            for name, value in zip(dimensions, kl.per_dimension):
                self._validation.scalar(f"kl_per_dimension/{name}", value, step)
