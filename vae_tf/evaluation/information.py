"""What latents tell about images: the mutual information I(x; z), and how far the aggregated posterior is from the prior.

With q(z) = E_x q(z | x), the aggregated posterior, the rate splits into what is told and what is spent in vain:

    E_x KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z))

q(z) is not known, but N images bracket it. With z_i ~ q(z | x_i):

    mean_i log q(z_i | x_i) - log 1/N     sum_j       q(z_i | x_j)  <=  I(x; z)      on average, and never above log N
    mean_i log q(z_i | x_i) - log 1/(N-1) sum_(j!=i)  q(z_i | x_j)  >=  I(x; z)      on average

and the rate is never below I(x; z) either. Where the model has a condition y all of this is given y: an image is held against
those of its own label, and I(x; z | y) and E_y KL(q(z | y) || p(z | y)) are what is bracketed.
"""

from dataclasses import dataclass, replace
from math import log
from typing import NamedTuple, final

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp
from tqdm import tqdm

from vae_tf.errors import ConfigError, DataError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.latents import batches
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["Information", "information"]

_IMAGES, _DRAWS = 100, 500  # of which the pairs are worked on at once
_DEAR_IMAGES = 100  # where the density of q at a given z takes many passes of a network


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

    Source: Poole et al. (2019), section 2.5; the split of the rate, Hoffman and Johnson (2016), section 2.
    """
    if images < 2:
        raise ConfigError(f"`images` must be at least 2, for each is held against others; got {images}.")
    if len(x) < 2:
        raise DataError(f"`x` must hold at least 2 images, for each is held against others; got {len(x)}.")
    dear = "log_q_path" in vae.posterior.lacks
    rows = np.random.default_rng(seed).permutation(len(x))[: min(images, _DEAR_IMAGES if dear else images)]
    groups = [rows] if label is None else [rows[kind] for kind in _by_label(label[rows])]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return "each image has a label of its own, so that none can be held against others of the same label"
    parts = []
    with progress(sum(len(group) ** 2 for group in groups), "information in the latents", "pairs", quiet=not verbose) as bar:
        for index, group in enumerate(groups):
            one_label = None if label is None else label[group]
            z, log_q, log_prior = _draws(vae, x[group], one_label, tf.random.fold_in(tf.constant([seed, 3]), index))
            pairs = _pairs(vae, x[group], one_label, z, bar)
            np.fill_diagonal(pairs, log_q)  # as drawn, where it is most exact
            rate = _Terms(log_q - log_prior, log_q - log_prior)
            parts.append((rate, _against_mixture(pairs, others_only=False), _against_mixture(pairs, others_only=True)))
    ceiling = sum(len(group) * log(len(group)) for group in groups) / sum(map(len, groups))
    few = ", few of them, since q is dear to evaluate" if dear else ""
    given = ", given the label of each" if label is not None else ""
    rate, lower, upper = (_Terms(*map(np.concatenate, zip(*kind))) for kind in zip(*parts))
    return _information(rate, lower, upper, ceiling, few + given)


class _Terms(NamedTuple):
    """What is averaged over images, and the influence of each image on that average, [N] float64."""

    values: np.ndarray
    influence: np.ndarray

    def less(self, other: "_Terms") -> "_Terms":
        return _Terms(self.values - other.values, self.influence - other.influence)

    def estimate(self, method: str) -> Estimate:
        return replace(Estimate.over(self.influence, method), value=float(self.values.mean()))


def _information(rate: _Terms, lower: _Terms, upper: _Terms, ceiling: float, how: str) -> Information:
    reached = f"; so many images allow {ceiling:.2f} at most" if ceiling - lower.values.mean() < log(2) else ""
    others, rest = "by the posteriors of the other images", "rate less the upper bound of I(x; z)"
    if rate.values.mean() < upper.values.mean():
        upper, others, rest = (
            rate,
            "by the rate, since the posteriors of the other images give no lower one",
            "as of any KL, no better bound found",
        )
    return Information(
        rate=rate.estimate(f"one draw per image{how}"),
        at_least=lower.estimate(f"lower bound, by the posteriors of these images{how}{reached}"),
        at_most=upper.estimate(f"upper bound, {others}{how}"),
        aggregated_kl_at_least=rate.less(upper).estimate(f"lower bound, {rest}{how}"),
        aggregated_kl_at_most=rate.less(lower).estimate(f"upper bound, rate less the lower bound of I(x; z){how}"),
        ceiling=ceiling,
    )


def _by_label(label: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each label."""
    kinds, kind = np.unique(label, axis=0, return_inverse=True)
    return [np.flatnonzero(kind == index) for index in range(len(kinds))]


def _draws(vae: VAE, x: np.ndarray, label: np.ndarray | None, key: tf.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return z_i ~ q(z | x_i), [N, D], with log q(z_i | x_i) and log p(z_i), [N] float64."""
    parts = []
    for index, (rows, *batch) in enumerate(batches(x, label, min(_IMAGES, len(x)))):
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
