"""log p(x) by annealed importance sampling, and brackets of it on images that the model itself has made.

A chain travels from a start f_0 that can be drawn exactly to f_1(z) = p(x, z), along f_b = f_0^(1 - b) f_1^b:

    start "prior"        f_b(z) = p(z) p(x | z)^b               asks nothing of the encoder: an independent check of its estimates
    start "posterior"    f_b(z) = q(z | x)^(1 - b) p(x, z)^b

At each inverse temperature b it collects log w += (b_t - b_(t-1)) log(f_1(z) / f_0(z)) and moves by Hamiltonian Monte Carlo, which leaves
f_b as it is. E[w] = p(x), so that log mean_c w_c over chains lies below log p(x) on average. The step size of each temperature is found
in a pilot run on some of the images, with noise of its own, and then held, but for random lengths that ask nothing of the chains: a step
that followed the chains that count would bias them.

Where x comes from the model, with z* ~ p(z) and x ~ p(x | z*), z* is an exact draw of p(z | x), and chains that travel from it back to
f_0 have E[1 / w] = 1 / p(x): -log mean_c (1 / w_c) lies above log p(x) on average. Both ways together bracket it.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import tensorflow as tf

from vae_tf.errors import ConfigError
from vae_tf.evaluation.chains import Annealing, Chains, Travel
from vae_tf.evaluation.estimate import Estimate
from vae_tf.model import VAE

__all__ = ["Annealed", "Annealing", "Bidirectional", "annealed", "bidirectional"]

_USUAL = Annealing()


@final
@dataclass(frozen=True)
class Annealed:
    """What the chains say of each of N images.

    Attributes:
        log_likelihood: [N] float64, nats; log p(x | y) where the model has a condition.
        effective_samples: [N], (sum_c w_c)^2 / sum_c w_c^2, from 1 to the number of chains.
        acceptance: [N], of the moves, averaged over chains and temperatures.
        method: how it was done.
    """

    log_likelihood: np.ndarray
    effective_samples: np.ndarray
    acceptance: np.ndarray
    method: str

    @property
    def estimate(self) -> Estimate:
        """The mean over images, of which there must be at least 2."""
        return Estimate.over(self.log_likelihood, self.method)


@final
@dataclass(frozen=True)
class Bidirectional:
    """A bracket of log p(x) for images that the model has made.

    Attributes:
        x: the images, [N, H, W, C] float32, for other estimators to be tried on.
        label: theirs, [N] or [N, K]; None where the model has no condition.
        lower: chains from the start to the posterior: below log p(x) on average.
        upper: chains from an exact draw of the posterior to the start: above it on average.
    """

    x: np.ndarray
    label: np.ndarray | None
    lower: Annealed
    upper: Annealed

    @property
    def gap(self) -> Estimate:
        """Upper minus lower bound: what both together may be wrong by, on average."""
        return Estimate.over(self.upper.log_likelihood - self.lower.log_likelihood, f"upper minus lower bound, {self.lower.method}")


def annealed(vae: VAE, x: np.ndarray, label: np.ndarray | None = None, annealing: Annealing = _USUAL, verbose: bool = True) -> Annealed:
    """Estimate log p(x) of each image, log p(x | y) given labels y, by annealed importance sampling.

    Args:
        vae: a trained model.
        x: [N, H, W, C] float32, in the likelihood's support.
        label: [N] or [N, K], if the model has a condition.
        annealing: how chains travel.
        verbose: show progress.

    Raises:
        ConfigError: `label` is missing or one too many.

    Source: Neal (2001), equations 3 to 11; Hamiltonian moves and schedule as in Wu, Burda, Salakhutdinov and Grosse (2017).
    """
    journey = Chains(vae, annealing)
    vae.generator.beside(tf.zeros([len(x), 1]), label)  # refuses a label that is missing or too many
    sizes = journey.pilot(x, label, verbose)
    return _below(journey, journey.forward(x, label, sizes, verbose))


def bidirectional(
    vae: VAE, count: int = 100, label: np.ndarray | None = None, annealing: Annealing = _USUAL, verbose: bool = True
) -> Bidirectional:
    """Bracket log p(x) of images that the model makes, by annealed importance sampling both ways.

    Args:
        vae: a trained model.
        count: N images, at least 2.
        label: one for each image, [N] or [N, K], if the model has a condition.
        annealing: how chains travel, and the seed of the images too.
        verbose: show progress.

    Raises:
        ConfigError: `count` is out of range; or `label` is missing, one too many, or not one for each image.

    Source: Grosse, Ghahramani and Adams (2015), section 3; Wu, Burda, Salakhutdinov and Grosse (2017), section 4.
    """
    if count < 2:
        raise ConfigError(f"`count` must be at least 2, for one image has no standard error; got {count}.")
    if label is not None and len(label) != count:
        raise ConfigError(f"`label` must be one for each of the {count} images, got {len(label)}.")
    journey = Chains(vae, annealing)
    x, z = journey.simulate(count, label)
    sizes = journey.pilot(x, label, verbose)
    lower = _below(journey, journey.forward(x, label, sizes, verbose))
    back = journey.backward(x, label, z, sizes, verbose)
    upper = Annealed(-_log_mean(back.log_weights), _effective(back.log_weights), back.acceptance, f"{journey.method}, backwards")
    return Bidirectional(x, label, lower, upper)


def _below(journey: Chains, travel: Travel) -> Annealed:
    return Annealed(_log_mean(travel.log_weights), _effective(travel.log_weights), travel.acceptance, journey.method)


def _log_mean(log_w: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(log_w) - np.log(len(log_w))


def _effective(log_w: np.ndarray) -> np.ndarray:
    return np.exp(2 * np.logaddexp.reduce(log_w) - np.logaddexp.reduce(2 * log_w))
