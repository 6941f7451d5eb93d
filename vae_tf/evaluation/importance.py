"""log p(x) by importance sampling and by plain Monte Carlo.

Both estimators average p-hat(x) = (1/S) sum_s w_s with E[w_s] = p(x):

    plain Monte Carlo       z_s ~ p(z)        w_s = p(x | z_s)
    importance sampling     z_s ~ q(z | x)    w_s = p(x | z_s) p(z_s) / q(z_s | x)

and report log p-hat, which lies below log p(x) on average (Jensen) and approaches it as S grows: far sooner with the posterior,
which looks where p(x | z) is not negligible. The standard error is that of the mean over images. Where the model has a condition
all of this is given the label y of the image, and log p(x | y) is what is estimated. A model that was trained on corrupted images is
evaluated on clean ones.
"""

from math import log
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vae_tf.latents import batches
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["LogWeights", "log_weights"]

_ROWS = 2000  # decoder rows at once, whatever the number of samples: fewer where they would need much memory
_SAMPLES = 100  # of them at most for one image
_LARGEST = 2**25  # values of one tensor


class LogWeights(NamedTuple):
    """What an estimator says of each of N images, in nats, [N] float64."""

    log_likelihood: np.ndarray  # log (1/S) sum_s w_s
    elbo: np.ndarray  # mean_s log w_s
    reconstruction: np.ndarray  # mean_s log p(x | z_s)
    kl_terms: tuple[np.ndarray, ...]  # mean_s of log q - log p in parts, one [N, d] per layer, top first; none under the prior


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

    Source: Rezende, Mohamed and Wierstra (2014), appendix E; Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    step = tf.function(_posterior_chunk if proposal == "posterior" else _prior_chunk, jit_compile=vae.jit_compile)
    total = np.full(len(x), -np.inf)
    sums: list[np.ndarray] = []
    title = f"log p(x), {'importance sampling' if proposal == 'posterior' else 'plain Monte Carlo'}"
    size, chunk = _shares(step, vae, x, label, samples)
    with progress(len(x) * samples, title, "samples", quiet=not verbose) as bar:
        for index, (rows, *batch) in enumerate(batches(x, label, size)):
            for start in range(0, samples, chunk):
                count = min(chunk, samples - start)
                key = tf.random.fold_in(tf.random.fold_in(tf.constant([seed, 2]), index), start)
                parts = [part.numpy().astype(np.float64)[: len(rows)] for part in step(vae, *batch, count, key)]
                total[rows] = np.logaddexp(total[rows], parts[0])
                sums = sums or [np.zeros((len(x), *part.shape[1:])) for part in parts[1:]]
                for whole, part in zip(sums, parts[1:]):
                    whole[rows] += part
                bar.update(count * len(rows))
    elbo, reconstruction, *kl_terms = (whole / samples for whole in sums)
    return LogWeights(total - log(samples), elbo, reconstruction, tuple(kl_terms))


def _posterior_chunk(vae: VAE, x: tf.Tensor, label: tf.Tensor | None, samples: int, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    draw = vae.draw(x, samples, seed, label=label)
    log_w = draw.log_likelihood + draw.log_prior - draw.log_q
    # Where the posterior has no parts neither has the KL, and the density at a given z, which parts are made of, may be dear.
    parts = ((draw.log_q - draw.log_prior)[..., None],) if "kl_terms" in vae.posterior.lacks else draw.kl_terms()
    return tf.reduce_logsumexp(log_w, 0), *(tf.reduce_sum(value, 0) for value in (log_w, draw.log_likelihood, *parts))


def _prior_chunk(vae: VAE, x: tf.Tensor, label: tf.Tensor | None, samples: int, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    eps = tf.random.stateless_normal([samples, x.shape[0], vae.generator.noise_dim], seed)
    log_w = vae.generator(eps, label).log_prob(x)
    total = tf.reduce_sum(log_w, 0)
    return tf.reduce_logsumexp(log_w, 0), total, total


def _shares(step: Any, vae: VAE, x: np.ndarray, label: np.ndarray | None, samples: int) -> tuple[int, int]:
    """Return how many images, and samples of each, are worked on at once, so that no tensor on the way is too large.

    A component of a mixture, a grey level or a channel of a feature map multiplies the values of a row; the traced graph tells how many.
    """
    rows = _ROWS
    while True:
        chunk = min(samples, _SAMPLES, rows)
        size = rows // chunk
        _, *batch = next(batches(x, label, size))
        graph = step.get_concrete_function(vae, *batch, chunk, tf.constant([0, 0])).graph
        shapes = [output.shape for operation in graph.get_operations() for output in operation.outputs]
        largest = max(shape.num_elements() or 0 for shape in shapes if shape.rank)
        if largest <= _LARGEST or rows == 1:
            return size, chunk
        rows = max(1, rows * _LARGEST // (largest + 1))
