"""log p(x) by importance sampling and by plain Monte Carlo.

Both estimators average p-hat(x) = (1/S) sum_s w_s with E[w_s] = p(x):

    plain Monte Carlo       z_s ~ p(z)        w_s = p(x | z_s)
    importance sampling     z_s ~ q(z | x)    w_s = p(x | z_s) p(z_s) / q(z_s | x)

and report log p-hat, which lies below log p(x) on average (Jensen) and approaches it as S grows: far sooner with the posterior,
which looks where p(x | z) is not negligible. Whether S is large enough shows twice: in the curve of log p-hat over the first samples
of the same draw, which must have settled, and in the effective sample size (sum_s w_s)^2 / sum_s w_s^2, from 1, where one sample says
all, to S. The standard error is that of the mean over images. Where the model has a condition all of this is given the label y of the
image, and log p(x | y) is what is estimated. A model that was trained on corrupted images is evaluated on clean ones.
"""

from collections.abc import Callable
from functools import partial
from math import log
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vae_tf.answers import kl_terms
from vae_tf.latents import batches
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["LogWeights", "largest_tensor", "log_weights"]

_ROWS = 2000  # decoder rows at once, whatever the number of samples: fewer where they would need much memory
_SAMPLES = 100  # of them at most for one image
_LARGEST = 2**25  # values of one tensor
_COUNTS = (1, 10, 100, 1000, 5000, 10_000, 100_000, 1_000_000)  # of samples, along the curve


class LogWeights(NamedTuple):
    """What an estimator says of each of N images, in nats, [N] float64."""

    log_likelihood: np.ndarray  # log (1/S) sum_s w_s
    elbo: np.ndarray  # mean_s log w_s
    reconstruction: np.ndarray  # mean_s log p(x | z_s)
    kl_terms: tuple[np.ndarray, ...]  # mean_s of log q - log p in parts, one [N, d] per layer, top first; none under the prior
    effective_samples: np.ndarray  # (sum_s w_s)^2 / sum_s w_s^2, from 1 to S; no nats
    curve: dict[int, np.ndarray]  # log p-hat of the first 1, 10, 100, 1000, 5000 .. S of the same samples


def log_weights(
    vae: VAE,
    x: np.ndarray,
    label: np.ndarray | None = None,
    *,
    samples: int,
    seed: int = 0,
    proposal: str = "posterior",
    verbose: bool = False,
) -> LogWeights:
    """Estimate log p(x) of each image, log p(x | y) given labels y, in memory that does not grow with the number of samples.

    Args:
        vae: a trained model.
        x: [N, H, W, C] float32.
        label: [N] or [N, K], if the model has a condition.
        samples: S per image, at least 1.
        seed: of the noise; equal seeds give equal numbers.
        proposal: "posterior" for importance sampling, "prior" for plain Monte Carlo.
        verbose: show progress.

    Returns:
        Values per image; under the prior, `elbo` and `reconstruction` are both mean_s log p(x | z_s).

    Source: Rezende, Mohamed and Wierstra (2014), appendix E; Burda, Grosse and Salakhutdinov (2016), equation 8; for the effective sample
        size, Kong (1992).
    """
    one = _posterior_chunk if proposal == "posterior" else _prior_chunk
    compiled = partial(tf.function, autograph=False, jit_compile=vae.jit_compile)
    step = tf.function(partial(one, vae, compiled), autograph=False)
    total, squares = np.full((2, len(x)), -np.inf)  # log sum_s w_s, log sum_s w_s^2
    curve = {count: np.empty(len(x)) for count in sorted({*(c for c in _COUNTS if c < samples), samples})}
    sums: list[np.ndarray] = []
    title = f"log p(x), {'importance sampling' if proposal == 'posterior' else 'plain Monte Carlo'}"
    size, chunk = _shares(one, vae, x, label, samples)
    with progress(len(x) * samples, title, "samples", quiet=not verbose) as bar:
        for index, (rows, *batch) in enumerate(batches(x, label, size)):
            for start in range(0, samples, chunk):
                count = min(chunk, samples - start)
                key = tf.random.fold_in(tf.random.fold_in(tf.constant([seed, 2]), index), start)
                log_w, *parts = (part.numpy().astype(np.float64) for part in step(*batch, count, key))
                running = np.logaddexp(total[rows], np.logaddexp.accumulate(log_w[:, : len(rows)]))
                for number in range(start + 1, start + count + 1):
                    if number in curve:
                        curve[number][rows] = running[number - start - 1] - log(number)
                total[rows] = running[-1]
                squares[rows] = np.logaddexp(squares[rows], np.logaddexp.reduce(2 * log_w[:, : len(rows)]))
                sums = sums or [np.zeros((len(x), *part.shape[1:])) for part in parts]
                for whole, part in zip(sums, parts):
                    whole[rows] += part[: len(rows)]
                bar.update(count * len(rows))
    elbo, reconstruction, *terms = (whole / samples for whole in sums)
    return LogWeights(total - log(samples), elbo, reconstruction, tuple(terms), np.exp(2 * total - squares), curve)


def largest_tensor(function: Callable[..., Any], *arguments: Any) -> int:
    """Return how many values the largest tensor holds that a `tf.function` makes of such arguments."""
    graph = function.get_concrete_function(*arguments).graph  # type: ignore[attr-defined]
    shapes = [output.shape for operation in graph.get_operations() for output in operation.outputs]
    return max(shape.num_elements() or 0 for shape in shapes if shape.rank)


def _posterior_chunk(
    vae: VAE, compiled: Callable[..., Any], x: tf.Tensor, label: tf.Tensor | None, samples: int, seed: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    q = vae.encode(x, label)
    z, log_q = q.experimental_sample_and_log_prob(samples, seed=seed)
    # Noise is slow under XLA, and another than outside it: only what follows is compiled.
    log_prior, log_likelihood, *prior_terms = compiled(_joint)(vae, z, x, label)
    log_w = log_likelihood + log_prior - log_q
    # Where the posterior has no parts neither has the KL, and the density at a given z, which parts are made of, may be dear.
    terms = (log_q[..., None],) if "kl_terms" in vae.posterior.lacks else vae.posterior.terms(q, z)
    parts = kl_terms(tuple(tf.reduce_sum(term, 0) for term in terms), tuple(prior_terms))
    return log_w, tf.reduce_sum(log_w, 0), tf.reduce_sum(log_likelihood, 0), *parts


def _joint(vae: VAE, z: tf.Tensor, x: tf.Tensor, label: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
    condition = vae.generator.beside(z, label)
    log_prior = vae.prior.log_prob(z, condition)
    terms = (log_prior[..., None],) if "kl_terms" in vae.posterior.lacks else vae.prior.terms(z, condition)
    return log_prior, _log_likelihood(vae, z, x, label), *(tf.reduce_sum(term, 0) for term in terms)


def _prior_chunk(
    vae: VAE, compiled: Callable[..., Any], x: tf.Tensor, label: tf.Tensor | None, samples: int, seed: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    eps = tf.random.stateless_normal([samples, x.shape[0], vae.generator.noise_dim], seed)
    z = vae.generator.from_noise(eps, vae.generator.beside(eps, label))
    log_w = compiled(_log_likelihood)(vae, z, x, label)
    total = tf.reduce_sum(log_w, 0)
    return log_w, total, total


def _log_likelihood(vae: VAE, z: tf.Tensor, x: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
    return vae.decode(z, label).log_prob(x)


def _shares(chunk: Any, vae: VAE, x: np.ndarray, label: np.ndarray | None, samples: int) -> tuple[int, int]:
    """Return how many images, and samples of each, are worked on at once, so that no tensor on the way is too large.

    A component of a mixture, a grey level or a channel of a feature map multiplies the values of a row; the traced graph tells how many.
    """
    traced, rows = tf.function(partial(chunk, vae, lambda part: part), autograph=False), _ROWS
    while True:
        count = min(samples, _SAMPLES, rows)
        size = rows // count
        _, *batch = next(batches(x, label, size))
        largest = largest_tensor(traced, *batch, count, tf.constant([0, 0]))
        if largest <= _LARGEST or rows == 1:
            return size, count
        rows = max(1, rows * _LARGEST // (largest + 1))
