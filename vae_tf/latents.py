"""What latents do: moments of posterior and prior, the KL of each dimension, and which of them are active."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from vae_tf.generator import Generator, noise
from vae_tf.model import VAE

__all__ = ["active_units", "batches", "kl_per_dimension", "posterior_moments", "prior_draws", "prior_moments", "standard_prior"]

_ENCODED = 200  # images encoded at once: a posterior may average over a hundred draws of each
_PRIOR_DRAWS, _LABEL_DRAWS = 10_000, 1000  # in all, and for each label
_LABELS = 10  # drawn for at once
_ACTIVE_VARIANCE = 0.01


def posterior_moments(vae: VAE, x: np.ndarray, label: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of q(z | x), [N, D] float64 each; of flows and layers, averages over fixed draws.

    Args:
        vae: a trained model.
        x: images [N, H, W, C].
        label: [N] or [N, K], if the model has a condition.
    """
    posteriors = (vae.encode(*batch) for _, *batch in batches(x, label, min(_ENCODED, len(x))))
    mean, stddev = zip(*((q.mean().numpy(), q.stddev().numpy()) for q in posteriors))
    return np.concatenate(mean)[: len(x)].astype(np.float64), np.concatenate(stddev)[: len(x)].astype(np.float64)


def standard_prior(generator: Generator) -> bool:
    """Return whether p(z) is N(0, I): the prior leaves its noise as it is, whatever the label."""
    eps = noise(100, generator.noise_dim, 0)
    label = None if generator.condition is None else tf.zeros([1, *generator.condition.label.shape[1:]], generator.condition.label.dtype)
    return np.array_equal(eps, generator.from_noise(tf.constant(eps), generator.beside(eps, label)).numpy())


def prior_draws(generator: Generator, label: np.ndarray | None = None, count: int = _PRIOR_DRAWS) -> np.ndarray:
    """Return fixed draws from the prior, all of the same noise.

    Args:
        generator: of the model.
        label: [M] or [M, K], if the model has a condition.
        count: how many, at least 1; with labels, for each of them.

    Returns:
        z ~ p(z), [count, D] float32; with labels, z ~ p(z | y), [count, M, D].
    """
    eps, from_noise = noise(count, generator.noise_dim, 0), generator.frozen().from_noise
    if label is None:
        return np.concatenate([from_noise(tf.constant(part), None).numpy() for part in np.array_split(eps, -(-count // _LABEL_DRAWS))])
    rows = tf.constant(np.repeat(eps[:, None], len(label), 1))
    return from_noise(rows, generator.beside(rows, tf.constant(label))).numpy()


def prior_moments(generator: Generator, label: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each coordinate under the prior.

    Exactly 0 and 1 for a standard normal prior; otherwise those of 10,000 fixed draws, or of 1,000 for each label.

    Args:
        generator: of the model.
        label: [N] or [N, K], if the model has a condition.

    Returns:
        [D] float64 each; [N, D] where the prior may be another for each label.
    """
    if standard_prior(generator):
        return np.zeros(generator.prior.latent_dim), np.ones(generator.prior.latent_dim)
    if label is None:
        z = prior_draws(generator).astype(np.float64)
        return z.mean(0), z.std(0)
    kinds, kind = np.unique(label, axis=0, return_inverse=True)
    draws = (prior_draws(generator, kinds[i : i + _LABELS], _LABEL_DRAWS).astype(np.float64) for i in range(0, len(kinds), _LABELS))
    mean, stddev = map(np.concatenate, zip(*((z.mean(0), z.std(0)) for z in draws)))
    return mean[kind], stddev[kind]


def kl_per_dimension(
    mean: np.ndarray, stddev: np.ndarray, prior_mean: np.ndarray | float = 0.0, prior_stddev: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return KL(N(m_d, s_d^2) || N(m'_d, s'_d^2)) averaged over images, [D] nats, with m' and s' the prior's.

    Exact where posterior and prior are normals with independent coordinates. Otherwise each marginal is replaced by the normal with its
    moments, and the sum over dimensions, which are not independent, is not the KL of the model.

    Args:
        mean: [N, D], of the posteriors.
        stddev: [N, D], above 0.
        prior_mean: [D] or [N, D], as `prior_moments` gives it.
        prior_stddev: like `prior_mean`, above 0.

    Source: Kingma and Welling (2014), appendix B.
    """
    scaled = ((mean - prior_mean) ** 2 + stddev**2) / prior_stddev**2
    return np.mean(0.5 * (scaled - 1) - np.log(stddev / prior_stddev), 0)


def active_units(mean: np.ndarray) -> np.ndarray:
    """Return which latent dimensions tell images apart, Var_x(E_q[z_d | x]) > 0.01, [D] bool.

    Args:
        mean: [N, D], of the posteriors.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    return np.var(mean, 0) > _ACTIVE_VARIANCE


def batches(x: np.ndarray, label: np.ndarray | None, size: int) -> Iterator[tuple[Any, tf.Tensor, tf.Tensor | None]]:
    """Yield (rows, images, labels): all batches have one shape, so the last is filled up with copies that the caller drops.

    Args:
        x: [N, H, W, C].
        label: [N] or [N, K], or None.
        size: images per batch.
    """
    for start in range(0, len(x), size):
        rows = np.arange(start, min(start + size, len(x)))
        filled = np.resize(rows, size)
        yield rows, tf.constant(x[filled]), None if label is None else tf.constant(label[filled])
