"""What latents do: moments of posterior and prior, the KL of each dimension, and which of them are active."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vae_tf import answers
from vae_tf.generator import Generator, noise
from vae_tf.model import VAE

__all__ = [
    "LatentKL",
    "active_units",
    "batches",
    "kl_of_latents",
    "kl_per_dimension",
    "layer_names",
    "layer_sizes",
    "moments_and_terms",
    "posterior_moments",
    "prior_draws",
    "prior_moments",
    "standard_prior",
]

_ENCODED = 200  # images encoded at once: a posterior may average over a hundred draws of each
_PRIOR_DRAWS, _LABEL_DRAWS = 10_000, 1000  # in all, and for each label
_LABELS = 10  # drawn for at once
_ACTIVE_VARIANCE = 0.01
_DRAWS = 10  # of each image
_STREAM = 2  # of noise; 0 and 1 are those of training and validation


class LatentKL(NamedTuple):
    """The KL of a model in parts, in nats averaged over images."""

    per_dimension: np.ndarray  # [D]
    per_layer: dict[str, float]  # given the layers above, top first; they add up to the KL
    matched: tuple[str, ...]  # layers whose dimensions are bound together: theirs are of marginals, and do not add up


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


def moments_and_terms(vae: VAE, x: np.ndarray, label: np.ndarray | None = None) -> tuple[tf.Tensor, ...]:
    """Return what `kl_of_latents` asks: mean and standard deviation of q(z | x), and log q - log p averaged over ten fixed draws.

    Args:
        vae: a model.
        x: images [N, H, W, C], few enough to be encoded at once.
        label: [N] or [N, K], if the model has a condition.

    Returns:
        [N, D] twice, and one [N, d] per layer.
    """
    given = None if label is None else tf.constant(label)
    q = vae.encode(tf.constant(x), given)
    z, _ = q.experimental_sample_and_log_prob(_DRAWS, seed=tf.constant([vae.seed, _STREAM]))
    terms = answers.kl_terms(vae.posterior.terms(q, z), vae.prior.terms(z, vae.generator.beside(z, given)))
    return q.mean(), q.stddev(), *(tf.reduce_mean(term, 0) for term in terms)


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


def layer_names(count: int) -> tuple[str, ...]:
    """Return the names of layers, top first, as in the layout of the noise: z for one, else zL .. z1."""
    return ("z",) if count == 1 else tuple(f"z{index}" for index in range(count, 0, -1))


def layer_sizes(vae: VAE) -> tuple[int, ...]:
    """Return the size of each layer of latents, top first."""
    layered = next((piece for piece in (vae.posterior, vae.prior) if hasattr(piece, "latent_dims")), None)
    return (vae.prior.latent_dim,) if layered is None else layered.latent_dims


def kl_of_latents(vae: VAE, mean: np.ndarray, stddev: np.ndarray, label: np.ndarray | None, parts: Sequence[np.ndarray]) -> LatentKL:
    """Return the KL of each dimension and of each layer.

    Where draws tell it, KL_d = E_q[log q(z_d | x, layers above) - log p(z_d | layers above)], whose sum is the KL. For a normal with
    independent coordinates and a standard normal prior this is `kl_per_dimension`, exact without draws. Where the coordinates of a layer
    are bound together there is no such sum, and `kl_per_dimension` of the marginals stands in its place.

    Args:
        vae: a trained model.
        mean: [N, D], of the posteriors, as `posterior_moments` gives it.
        stddev: like `mean`.
        label: [N] or [N, K], if the model has a condition.
        parts: log q - log p of the same images, averaged over draws, as `LogWeights.kl_terms` has it: one [N, d] per layer, top first.
    """
    sizes, widths = layer_sizes(vae), tuple(part.shape[1] for part in parts)
    drawn, names = [part.mean(0) for part in parts], layer_names(len(sizes))
    per_layer = dict(zip(layer_names(len(parts)), (float(part.sum()) for part in drawn)))
    exact = len(sizes) == 1 and standard_prior(vae.generator)
    if widths == sizes and not exact:
        return LatentKL(np.concatenate(drawn), per_layer, ())
    moments = kl_per_dimension(mean, stddev, *prior_moments(vae.generator, label))
    if widths == sizes:
        return LatentKL(moments, per_layer, ())
    if len(parts) != len(sizes):
        return LatentKL(moments, per_layer, names)
    told = [width == size for width, size in zip(widths, sizes)]
    by_layer = np.split(moments, np.cumsum(sizes)[:-1])
    per_dimension = np.concatenate([part if known else layer for part, known, layer in zip(drawn, told, by_layer)])
    return LatentKL(per_dimension, per_layer, tuple(name for name, known in zip(names, told) if not known))


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
