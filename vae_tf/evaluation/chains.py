"""Markov chains that travel between a distribution that can be drawn and p(x, z), for annealed importance sampling."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, log
from typing import NamedTuple, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import ConfigError
from vae_tf.evaluation.importance import largest_tensor
from vae_tf.latents import batches
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["STARTS", "Annealing", "Chains", "Travel", "inverse_temperatures"]

STARTS = ("prior", "posterior")

_STEEPNESS = 4.0  # of the sigmoid that spaces the temperatures
_ROWS, _LARGEST = 2000, 2**23  # chains at once, and values of one tensor: a gradient keeps all tensors on the way
_PILOT_IMAGES, _PILOT_MOVES = 10, 200  # moves at least, over all temperatures
_FIRST_SIZE, _ACCEPTANCE, _RATE = 0.1, 0.65, 0.2  # where the pilot starts, what it aims at, how fast the logarithm of its step follows
_SPREAD = 0.9  # share by which steps vary: moves of equal length would carry some coordinates once around, to where they were
_DRAWN = 100  # images simulated at once


class Travel(NamedTuple):
    """What chains C of N images brought back."""

    log_weights: np.ndarray  # [C, N] float64, nats
    acceptance: np.ndarray  # [N], averaged over chains and moves


#: (rows, images [B, H, W, C], labels, key) -> where the chains of these images start, [C, B, D]
_First = Callable[[np.ndarray, tf.Tensor, tf.Tensor | None, tf.Tensor], tf.Tensor]


def inverse_temperatures(count: int) -> np.ndarray:
    """Return 0 = b_0 < .. < b_count = 1, [count + 1] float64, on a sigmoid: densest at both ends.

    Source: Wu, Burda, Salakhutdinov and Grosse (2017), section 4.
    """
    curve = 1 / (1 + np.exp(-_STEEPNESS * np.linspace(-1, 1, count + 1)))
    return (curve - curve[0]) / (curve[-1] - curve[0])


@final
@dataclass(frozen=True)
class Annealing:
    """How chains travel.

    Attributes:
        temperatures: moves of each chain, at least 1; the more, the closer.
        chains: C per image, at least 1, and for each way.
        leapfrog: steps of each move, at least 1.
        start: "prior" or "posterior": where chains of a lower bound start, and those of an upper bound end.
        seed: of all noise, at least 0; equal seeds give equal numbers.

    Raises:
        ConfigError: an attribute is out of range.
    """

    temperatures: int = 1000
    chains: int = 16
    leapfrog: int = 5
    start: str = "prior"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("temperatures", 1), ("chains", 1), ("leapfrog", 1), ("seed", 0)):
            if not least <= getattr(self, name) < 2**31 - 1:
                raise ConfigError(f"`{name}` must be at least {least} and below 2**31 - 1, got {getattr(self, name)}.")
        if self.start not in STARTS:
            raise ConfigError(f"`start` must be one of {', '.join(STARTS)}, got {self.start!r}.")

    def __str__(self) -> str:
        return f"annealed importance sampling, {self.temperatures} temperatures, {self.chains} chains from the {self.start}"


@final
class Chains:
    """Chains along f_b = f_0^(1 - b) f_1^b, from f_0, the prior or the posterior, to f_1(z) = p(x, z), for one model.

    Args:
        vae: a trained model.
        annealing: how they travel.
    """

    def __init__(self, vae: VAE, annealing: Annealing):
        self.vae, self.chains, self.seed = vae, annealing.chains, annealing.seed
        self.path = inverse_temperatures(annealing.temperatures)
        self._from_start = tf.function(partial(_from_start, vae, annealing.start, annealing.chains), autograph=False)
        self._slope = tf.function(partial(_slope, vae, annealing.start), autograph=False)
        move = partial(_move, vae, annealing.start, annealing.leapfrog)
        self._move = tf.function(move, autograph=False, jit_compile=vae.jit_compile)
        self.method = str(annealing)

    def simulate(self, count: int, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return images x ~ p(x | z), [count, H, W, C], and the z ~ p(z) of each, [count, D], for labels [count] or [count, K]."""
        generator, key = self.vae.generator, self._key(3)
        eps = tf.random.stateless_normal([count, generator.noise_dim], key)
        z = generator.from_noise(eps, generator.beside(eps, label))
        images = []
        for index, (rows, part, labels) in enumerate(batches(z.numpy(), label, min(count, _DRAWN))):
            # The values are multiples of 2^-23: half a step up keeps them off 0.
            shape = [len(part), *generator.image_shape]
            uniform = tf.random.stateless_uniform(shape, tf.random.fold_in(key, index), minval=2.0**-24)
            images.append(self.vae.likelihood.draw(generator.decode(part, labels), uniform).numpy()[: len(rows)])
        return np.concatenate(images), z.numpy()

    def pilot(self, x: np.ndarray, label: np.ndarray | None, verbose: bool) -> np.ndarray:
        """Return a step size for each temperature after the first, found by chains of their own for images spread over `x`."""
        chosen = np.unique(np.linspace(0, len(x) - 1, _PILOT_IMAGES).astype(int))
        x, label = x[chosen], None if label is None else label[chosen]
        _, x, label = next(batches(x, label, self._images_at_once(x, label)))
        each = ceil(_PILOT_MOVES / (len(self.path) - 1))
        total, key, log_size = each * (len(self.path) - 1), self._key(4), log(_FIRST_SIZE)
        z = self._from_start(x, label, key)
        sizes = np.empty(len(self.path) - 1)
        with progress(total, "step sizes of the chains", "moves", quiet=not verbose) as bar:
            for number in range(total):
                stage = number // each
                z, _, acceptance = self._moved(z, x, label, self.path[stage + 1], exp(log_size), tf.random.fold_in(key, number))
                log_size += _RATE * (float(np.mean(acceptance)) - _ACCEPTANCE)
                sizes[stage] = exp(log_size)
                bar.update(1)
        return sizes

    def forward(self, x: np.ndarray, label: np.ndarray | None, sizes: np.ndarray, verbose: bool) -> Travel:
        """Travel from the start to the posterior: E[w] = p(x)."""

        def start(rows: np.ndarray, images: tf.Tensor, labels: tf.Tensor | None, key: tf.Tensor) -> tf.Tensor:
            return self._from_start(images, labels, key)

        return self._travel(x, label, start, zip(np.diff(self.path), self.path[1:], sizes), self._key(5), verbose)

    def backward(self, x: np.ndarray, label: np.ndarray | None, z: np.ndarray, sizes: np.ndarray, verbose: bool) -> Travel:
        """Travel from exact draws z [N, D] of the posteriors to the start: E[w] = 1 / p(x)."""

        def start(rows: np.ndarray, images: tf.Tensor, labels: tf.Tensor | None, key: tf.Tensor) -> tf.Tensor:
            here = z[np.resize(rows, len(images))]
            return tf.constant(np.broadcast_to(here, (self.chains, *here.shape)))

        # The mirror image of `forward`: move, and then collect on the way to the next temperature. The move at the end of the way, at 0,
        # changes no weight.
        path = self.path[::-1]
        stages = zip([0.0, *np.diff(path)], path, [*sizes[::-1], sizes[0]])
        return self._travel(x, label, start, stages, self._key(6), verbose)

    def _travel(
        self,
        x: np.ndarray,
        label: np.ndarray | None,
        start: _First,
        stages: Iterable[tuple[float, float, float]],
        key: tf.Tensor,
        verbose: bool,
    ) -> Travel:
        """Collect log w += rise * log(f_1 / f_0) and move, for each stage (rise, inverse temperature, step size)."""
        stages, log_w, accepted = list(stages), np.zeros((self.chains, len(x))), np.zeros(len(x))
        with progress(len(x) * len(stages), "log p(x), annealed importance sampling", "moves", quiet=not verbose) as bar:
            for index, (rows, images, labels) in enumerate(batches(x, label, self._images_at_once(x, label))):
                own = tf.random.fold_in(key, index)
                z = start(rows, images, labels, own)
                for number, (rise, temperature, size) in enumerate(stages):
                    z, slope, acceptance = self._moved(z, images, labels, temperature, size, tf.random.fold_in(own, number))
                    log_w[:, rows] += rise * slope[:, : len(rows)]
                    accepted[rows] += acceptance[: len(rows)] / len(stages)
                    bar.update(len(rows))
        return Travel(log_w, accepted)

    def _moved(
        self, z: tf.Tensor, x: tf.Tensor, label: tf.Tensor | None, temperature: float, size: float, seed: tf.Tensor
    ) -> tuple[tf.Tensor, np.ndarray, np.ndarray]:
        z, slope, acceptance = self._move(z, x, label, tf.constant(temperature, tf.float32), tf.constant(size, tf.float32), seed)
        return z, slope.numpy().astype(np.float64), acceptance.numpy().astype(np.float64)

    def _images_at_once(self, x: np.ndarray, label: np.ndarray | None) -> int:
        size = min(len(x), max(1, _ROWS // self.chains))
        while size > 1:
            _, *batch = next(batches(x, label, size))
            largest = largest_tensor(self._slope, tf.zeros([self.chains, size, self.vae.prior.latent_dim]), *batch)
            if largest <= _LARGEST:
                break
            size = max(1, size * _LARGEST // (largest + 1))
        return size

    def _key(self, stream: int) -> tf.Tensor:
        return tf.constant([self.seed, stream])


def _from_start(vae: VAE, start: str, chains: int, x: tf.Tensor, label: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
    if start == "posterior":
        return vae.encode(x, label).experimental_sample_and_log_prob(chains, seed=seed)[0]
    eps = tf.random.stateless_normal([chains, x.shape[0], vae.generator.noise_dim], seed)
    return vae.generator.from_noise(eps, vae.generator.beside(eps, label))


def _path(vae: VAE, start: str, x: tf.Tensor, label: tf.Tensor | None) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return the function z [C, B, D] -> log f_0 and log(f_1 / f_0), [C, B] each."""
    q = vae.encode(x, label) if start == "posterior" else None

    def path(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_prior = vae.prior.log_prob(z, vae.generator.beside(z, label))
        log_likelihood = vae.decode(z, label).log_prob(x)
        if q is None:
            return log_prior, log_likelihood
        log_q = q.log_prob(z)
        return log_q, log_prior + log_likelihood - log_q

    return path


def _slope(vae: VAE, start: str, z: tf.Tensor, x: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
    return tfp.math.value_and_gradient(lambda z: tf.add_n(_path(vae, start, x, label)(z)), z)[1]


def _move(
    vae: VAE,
    start: str,
    leapfrog: int,
    z: tf.Tensor,
    x: tf.Tensor,
    label: tf.Tensor | None,
    temperature: tf.Tensor,
    size: tf.Tensor,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return z after one move at a temperature, log(f_1 / f_0) [C, B] before it, and the probability of acceptance [B]."""
    path = _path(vae, start, x, label)

    def log_density(z: tf.Tensor) -> tf.Tensor:
        log_start, slope = path(z)
        return log_start + temperature * slope

    own, rest = tf.unstack(tf.random.split(seed, 2))
    sizes = size * tf.random.stateless_uniform([*z.shape[:2], 1], own, 1 - _SPREAD, 1 + _SPREAD)
    kernel = tfp.mcmc.HamiltonianMonteCarlo(log_density, step_size=sizes, num_leapfrog_steps=leapfrog)
    moved, results = kernel.one_step(z, kernel.bootstrap_results(z), seed=rest)
    return moved, path(z)[1], tf.reduce_mean(tf.exp(tf.minimum(results.log_accept_ratio, 0.0)), 0)
