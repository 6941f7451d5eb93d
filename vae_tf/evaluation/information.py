"""What latents tell about images: the mutual information I(x; z), and how far the aggregated posterior is from the prior.

With q(z) = E_x q(z | x), the aggregated posterior, the rate splits into what is told and what is spent in vain:

    E_x KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z))

q(z) is not known, but N images bracket it. With z_i ~ q(z | x_i):

    mean_i log q(z_i | x_i) - log 1/N     sum_j       q(z_i | x_j)  <=  I(x; z)      on average, and never above log N
    mean_i log q(z_i | x_i) - log 1/(N-1) sum_(j!=i)  q(z_i | x_j)  >=  I(x; z)      on average

E_x E_q[log q(z | x) - log r(z)] is never below I(x; z) either, whatever density r is: with the prior for r it is the rate, and a normal
fitted to draws of further images often comes nearer. The lowest of the three is reported.

Where the model has a condition y all of this is given y: an image is held against those of its own label, and I(x; z | y) and
E_y KL(q(z | y) || p(z | y)) are what is bracketed.
"""

from dataclasses import dataclass, replace
from math import log
from typing import NamedTuple, final

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from tqdm import tqdm

from vae_tf.errors import ConfigError, DataError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.latents import batches
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["Information", "information"]

_IMAGES, _DRAWS = 100, 500  # of which the pairs are worked on at once
_DEAR_IMAGES = 100  # where the density of q at a given z takes many passes of a network
_FITTED, _FITTED_PER_DIMENSION = 10_000, 20  # further images for the density r: at most, and at least for each coordinate of z


@final
@dataclass(frozen=True)
class Information:
    """The rate and its two parts, in nats; the same images and draws in all of them, so that their sums hold exactly.

    Attributes:
        rate: E KL(q(z | x) || p(z)), one draw per image.
        at_least: a lower bound of I(x; z).
        at_most: an upper bound of I(x; z).
        aggregated_kl_at_least: a lower bound of KL(q(z) || p(z)), the rate less `at_most`.
        aggregated_kl_at_most: an upper bound of KL(q(z) || p(z)), the rate less `at_least`.
        ceiling: what so few images allow `at_least` to reach.
    """

    rate: Estimate
    at_least: Estimate
    at_most: Estimate
    aggregated_kl_at_least: Estimate
    aggregated_kl_at_most: Estimate
    ceiling: float

    @property
    def saturated(self) -> bool:
        """Whether `at_least` says only that there were few images: less than log 2 is missing to the ceiling."""
        return self.ceiling - self.at_least.value < log(2)


def information(
    vae: VAE, x: np.ndarray, label: np.ndarray | None = None, *, images: int = 1000, seed: int = 0, verbose: bool = False
) -> Information | str:
    """Bracket I(x; z) and KL(q(z) || p(z)) by the posteriors of N images at each other's draws.

    The standard errors count that each image also stands in the mixtures of the others (an infinitesimal jackknife). Memory holds the N^2
    log densities; time grows with N^2 too.

    Args:
        vae: a trained model.
        x: [M, H, W, C] float32.
        label: [M] or [M, K], if the model has a condition.
        images: N, at least 2; as many are chosen at random. At most 100 where q is dear to evaluate at a given z.
        seed: of the choice and of the draws, at least 0.
        verbose: show progress.

    Returns:
        The brackets; or, in a sentence, why there are none.

    Raises:
        ConfigError: `images` is below 2.
        DataError: `x` holds fewer than 2 images.

    Source: Poole et al. (2019), section 2.5; the split of the rate, Hoffman and Johnson (2016).
    """
    if images < 2:
        raise ConfigError(f"`images` must be at least 2, for each is held against others; got {images}.")
    if len(x) < 2:
        raise DataError(f"`x` must hold at least 2 images, for each is held against others; got {len(x)}.")
    dear = "log_q_path" in vae.posterior.lacks
    kind = np.zeros(len(x), int) if label is None else np.unique(label, axis=0, return_inverse=True)[1]
    groups = _groups(kind, min(images, _DEAR_IMAGES if dear else images), np.random.default_rng(seed))
    if not groups:
        return "each image has a label of its own, so that none can be held against others of the same label"
    parts = []
    with progress(sum(len(group) ** 2 for group, _ in groups), "information in the latents", "pairs", quiet=not verbose) as bar:
        for index, (group, further) in enumerate(groups):
            key = tf.random.fold_in(tf.constant([seed, 3]), index)
            z, log_q, log_prior = _draws(vae, x, label, group, key)
            pairs = _pairs(vae, x[group], None if label is None else label[group], z, bar)
            np.fill_diagonal(pairs, log_q)  # as drawn, where it is most exact
            enough = len(further) >= _FITTED_PER_DIMENSION * z.shape[1]
            log_r = _log_normal(_draws(vae, x, label, further, tf.random.fold_in(key, -1))[0], z) if enough else log_prior
            against = _against(log_q, log_prior), _against(log_q, log_r)
            parts.append((*against, _against_mixture(pairs, others_only=False), _against_mixture(pairs, others_only=True)))
    sizes = np.array([len(group) for group, _ in groups])
    ceiling = float(sizes @ np.log(sizes) / sizes.sum())
    few = ", few of them, since q is dear to evaluate" if dear else ""
    given = ", given the label of each" if label is not None else ""
    rate, fitted, lower, upper = (_Terms(*map(np.concatenate, zip(*terms))) for terms in zip(*parts))
    uppers = {"the prior": rate, "a normal fitted to draws of further images": fitted, "the posteriors of the other images": upper}
    return _information(rate, lower, uppers, ceiling, few + given)


class _Terms(NamedTuple):
    """What is averaged over images, and the influence of each image on that average, [N] float64."""

    values: np.ndarray
    influence: np.ndarray

    def less(self, other: "_Terms") -> "_Terms":
        return _Terms(self.values - other.values, self.influence - other.influence)

    def estimate(self, method: str) -> Estimate:
        return replace(Estimate.over(self.influence, method), value=float(self.values.mean()))


def _information(rate: _Terms, lower: _Terms, uppers: dict[str, _Terms], ceiling: float, how: str) -> Information:
    reached = f"; so many images allow {ceiling:.2f} at most" if ceiling - lower.values.mean() < log(2) else ""
    name, upper = min(uppers.items(), key=lambda item: item[1].values.mean())
    return Information(
        rate=rate.estimate(f"one draw per image{how}"),
        at_least=lower.estimate(f"lower bound, against the posteriors of these images{how}{reached}"),
        at_most=upper.estimate(f"upper bound, against {name}{how}"),
        aggregated_kl_at_least=rate.less(upper).estimate(f"lower bound, rate less the upper bound of I(x; z){how}"),
        aggregated_kl_at_most=rate.less(lower).estimate(f"upper bound, rate less the lower bound of I(x; z){how}"),
        ceiling=ceiling,
    )


def _against(log_q: np.ndarray, log_r: np.ndarray) -> _Terms:
    """Return log q - log r for a density r that no image of these had a part in."""
    return _Terms(log_q - log_r, log_q - log_r)


def _log_normal(others: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the log density at z [N, D] of the normal with the moments of others [M, D], [N] float64."""
    others = others.astype(np.float64)
    return multivariate_normal(others.mean(0), np.atleast_2d(np.cov(others.T)), allow_singular=True).logpdf(z)


def _groups(kind: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Choose images at random, `count` of them; return those of each kind that are not alone, and further images of that kind."""
    order = rng.permutation(len(kind))
    chosen, rest = order[:count], order[count:]
    groups = [(chosen[kind[chosen] == one], rest[kind[rest] == one][:_FITTED]) for one in np.unique(kind[chosen])]
    return [(group, further) for group, further in groups if len(group) > 1]


def _draws(
    vae: VAE, x: np.ndarray, label: np.ndarray | None, images: np.ndarray, key: tf.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return z_i ~ q(z | x_i) of N images, [N, D], with log q(z_i | x_i) and log p(z_i), [N] float64."""
    parts = []
    for index, (rows, *batch) in enumerate(batches(x[images], None if label is None else label[images], min(_IMAGES, len(images)))):
        z, log_q = vae.encode(*batch).experimental_sample_and_log_prob(seed=tf.random.fold_in(key, index))
        log_prior = vae.prior.log_prob(z, vae.generator.beside(z, batch[1]))
        parts.append([value.numpy()[: len(rows)] for value in (z, log_q, log_prior)])
    z, log_q, log_prior = map(np.concatenate, zip(*parts))
    return z, log_q.astype(np.float64), log_prior.astype(np.float64)


def _pairs(vae: VAE, x: np.ndarray, label: np.ndarray | None, z: np.ndarray, bar: tqdm) -> np.ndarray:
    """Return log q(z_i | x_j), [N, N] float32."""
    pairs = np.empty((len(z), len(x)), np.float32)
    for columns, *batch in batches(x, label, min(_IMAGES, len(x))):
        q = vae.encode(*batch)
        for start in range(0, len(z), _DRAWS):
            block = q.log_prob(tf.constant(z[start : start + _DRAWS, None])).numpy()[:, : len(columns)]
            pairs[start : start + _DRAWS, columns] = block
            bar.update(block.size)
    return pairs


def _against_mixture(pairs: np.ndarray, others_only: bool) -> _Terms:
    """Return log q(z_i | x_i) less the log of the mixture of all posteriors, or of all but its own, at z_i."""
    count = len(pairs)
    mixture, share = np.empty(count), np.zeros(count)  # share: what x_j brings to the mixtures at all z_i, 1 on average
    for start in range(0, count, _DRAWS):
        block = pairs[start : start + _DRAWS].astype(np.float64)
        if others_only:
            block[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        total = logsumexp(block, 1)
        mixture[start : start + _DRAWS] = total - log(count - others_only)
        share += np.exp(block - total[:, None]).sum(0)
    values = np.diag(pairs) - mixture
    return _Terms(values, values + 1 - share)
