"""What every chapter of a report is given: the model, its test images, and what several of them ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
import tensorflow as tf

from vae_tf import pipeline
from vae_tf.data import Images
from vae_tf.evaluation import Estimate, Evaluation, LogWeights, log_weights
from vae_tf.generator import noise
from vae_tf.latents import (
    LatentKL,
    active_units,
    batches,
    kl_of_latents,
    layer_names,
    layer_sizes,
    posterior_moments,
    standard_prior,
)
from vae_tf.model import VAE
from vae_tf.run import Run

__all__ = ["Subject", "Used"]

_SAMPLING = "importance sampling"  # as an evaluation names it
_MEASURED, _SAMPLES = 500, 100  # test images whose log p(x) is estimated, and samples of each
_ENCODED = 5000  # test images whose posterior is drawn from
_ROWS = 500  # latents decoded at once
_KL_IMAGES, _KL_SAMPLES = 2000, 10


class Used(NamedTuple):
    """What the latent dimensions carry."""

    kl: LatentKL
    active: np.ndarray  # bool [D]
    images: int  # averaged over


@final
@dataclass(frozen=True, eq=False)
class Subject:
    """A complete run under the eyes of a reader. Noise and choice of images follow from the seed alone.

    Attributes:
        run: the run.
        images: its images.
        rows: its history.
        evaluation: its evaluation, if there is one.
        seed: of the noise and of the choice of test images, at least 0.
    """

    run: Run
    images: Images
    rows: Sequence[Mapping[str, float]]
    evaluation: Evaluation | None
    seed: int

    @property
    def vae(self) -> VAE:
        """The model."""
        return self.run.vae

    @property
    def curve(self) -> dict[int, Estimate]:
        """The evaluation's log p(x) by importance sampling against the number of samples; empty where there is none."""
        return {} if self.evaluation is None else self.evaluation.curves.get(_SAMPLING, {})

    @property
    def effective_samples(self) -> tuple[float, int]:
        """How many of how many posterior samples of an image count, in the median: by the evaluation, else by `measured`."""
        if self.evaluation is not None and _SAMPLING in self.evaluation.effective_samples:
            found = self.evaluation.effective_samples[_SAMPLING]
            return found.median, found.samples
        return float(np.median(self.measured.effective_samples)), _SAMPLES

    @property
    def names(self) -> tuple[str, ...] | None:
        """The name of each class, where classes have names."""
        return self.images.label_names

    @cached_property
    def x(self) -> np.ndarray:
        """The test images as the model sees them, [N, H, W, C] float32."""
        return pipeline.test_images(self.images, self.run.config.data.binarize)

    @property
    def y(self) -> np.ndarray | None:
        """The labels that the model is given, [N] or [N, K]; None where it has no condition."""
        return None if self.vae.condition is None else self.images.test.y

    @property
    def classes(self) -> np.ndarray | None:
        """The class of each test image, int [N], whether or not the model is given it."""
        y = self.images.test.y
        return y if y is not None and y.ndim == 1 else None

    @cached_property
    def order(self) -> np.ndarray:
        """Positions of test images: one of each class first, by label, then a second of each, and so on."""
        order = self.random(0).permutation(len(self.x))
        if self.classes is None:
            return order
        by_class = order[np.argsort(self.classes[order], kind="stable")]
        y = self.classes[by_class]
        return by_class[np.lexsort((y, np.arange(len(y)) - np.searchsorted(y, y)))]

    @property
    def z(self) -> str:
        """What p(x | .) is given."""
        return "z" if self.y is None else "z, y"

    @property
    def evidence(self) -> str:
        """The name of the density of an image."""
        return "log p(x)" if self.y is None else "log p(x | y)"

    @property
    def posterior(self) -> str:
        """The name of the posterior."""
        return "q(z | x)" if self.y is None else "q(z | x, y)"

    def random(self, stream: int) -> np.random.Generator:
        """Return a source of random numbers of its own for each purpose."""
        return np.random.default_rng([self.seed, stream])

    def label(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the labels of the test images at the positions `rows`; None where the model has no condition."""
        return None if self.y is None else self.y[rows]

    def named(self, label: Any) -> str:
        """Return a label as a person reads it: the name or number of a class, the first numbers of a vector."""
        if label.ndim:
            return f"({', '.join(f'{value:g}' for value in label[:3].round(2))}{', …' if len(label) > 3 else ''})"
        return self.names[int(label)] if self.names else str(label)

    def prior(self, count: int, label: np.ndarray | None, stream: int = 0) -> np.ndarray:
        """Return z ~ p(z), [count, D], each given its label, [count] or [count, K], where the model has a condition."""
        generator = self.vae.generator.frozen()
        eps = noise(count, generator.noise_dim, int(self.random(stream).integers(2**31)))
        parts = range(0, count, _ROWS)
        rows = ((eps[i : i + _ROWS], None if label is None else label[i : i + _ROWS]) for i in parts)
        return np.concatenate([generator.from_noise(tf.constant(part), generator.beside(part, y)).numpy() for part, y in rows])

    def log_likelihoods(self, z: np.ndarray, x: np.ndarray, label: np.ndarray | None) -> np.ndarray:
        """Return log p(x | z), [M] nats.

        Args:
            z: [M, D].
            x: [M, H, W, C], or [1, H, W, C] for one image under all z.
            label: [M] or [M, K], if the model has a condition.
        """
        values = []
        for start in range(0, len(z), _ROWS):
            part = slice(start, start + _ROWS)
            px = self.vae.decode(tf.constant(z[part]), None if label is None else label[part])
            values.append(px.log_prob(x if len(x) == 1 else x[part]).numpy())
        return np.concatenate(values).astype(np.float64)

    def draws(self, px: Any, stream: int) -> np.ndarray:
        """Return one draw x ~ p(x | z) for each distribution of a batch, [B, H, W, C]."""
        uniform = self.random(stream).uniform(1e-6, 1 - 1e-6, (*px.batch_shape, *px.event_shape)).astype(np.float32)
        return self.vae.likelihood.draw(px, tf.constant(uniform)).numpy()

    @cached_property
    def measured_rows(self) -> np.ndarray:
        """Positions of the test images that `measured` is about."""
        return self.order[:_MEASURED]

    @cached_property
    def measured(self) -> LogWeights:
        """What importance sampling says of some test images."""
        rows = self.measured_rows
        return log_weights(self.vae, self.x[rows], self.label(rows), samples=_SAMPLES, seed=self.seed)

    @cached_property
    def encoded_rows(self) -> np.ndarray:
        """Positions of the test images that `encoded` is about, in random order."""
        return self.random(5).permutation(len(self.x))[:_ENCODED]

    @cached_property
    def encoded(self) -> np.ndarray:
        """Two draws of q(z | x) for each of many test images, [2, M, D]: the aggregated posterior, twice."""
        rows, z = self.encoded_rows, []
        for index, (part, x, y) in enumerate(batches(self.x[rows], self.label(rows), min(_ROWS, len(rows)))):
            z.append(self.vae.encode(x, y).sample(2, seed=tf.constant([self.seed, 100 + index])).numpy()[:, : len(part)])
        return np.concatenate(z, 1)

    @cached_property
    def used(self) -> Used:
        """What each latent dimension carries, from the evaluation where it says so."""
        found = self.evaluation
        if found is not None and found.kl_per_layer is not None:
            kl = LatentKL(np.array(found.kl_per_dimension), found.kl_per_layer, found.kl_matched)
            return Used(kl, np.array(found.active_units), found.kl.images)
        x, y = self.x[:_KL_IMAGES], None if self.y is None else self.y[:_KL_IMAGES]
        mean, stddev = posterior_moments(self.vae, x, y)
        parts = log_weights(self.vae, x, y, samples=_KL_SAMPLES).kl_terms
        return Used(kl_of_latents(self.vae, mean, stddev, y, parts), active_units(mean), len(mean))

    @cached_property
    def layers(self) -> dict[str, int] | None:
        """The size of each stochastic layer by name, top first; None for one layer."""
        sizes = layer_sizes(self.vae)
        return dict(zip(layer_names(len(sizes)), sizes)) if len(sizes) > 1 else None

    @cached_property
    def standard_prior(self) -> bool:
        """Whether p(z) is N(0, I)."""
        return standard_prior(self.vae.generator)
