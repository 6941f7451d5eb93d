"""All numbers of a trained model on held-out data, each with its error."""

import json
from dataclasses import asdict, dataclass
from math import log, prod
from pathlib import Path
from typing import final

import numpy as np
import tensorflow as tf

from vae_tf.errors import ConfigError, DataError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.importance import log_weights
from vae_tf.files import replacing
from vae_tf.latents import active_units, kl_of_latents, posterior_moments
from vae_tf.model import VAE

__all__ = ["CAVEAT", "Evaluation", "evaluate"]

CAVEAT = (
    "+- is the standard error over images. Both estimates of log p(x) lie below it on average, plain Monte Carlo often far "
    "below, and +- does not cover that."
)


@final
@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found on held-out images; log densities per image in nats.

    Attributes:
        log_likelihood: log p(x) by importance sampling; log p(x | y) where the model has a condition, as its method says.
        log_likelihood_prior: log p(x) by plain Monte Carlo over the prior, on the first images only.
        log_likelihood_same_images: log p(x) by importance sampling on those same images, for comparison; None where they are all images.
        elbo: E_q[log p(x, z) - log q(z | x)].
        kl: E_q[log q(z | x) - log p(z)].
        reconstruction: E_q[log p(x | z)].
        bits_per_dimension: -log2 p(x) / (H W C); None where p(x) is a density.
        kl_per_dimension: [D], KL of each dimension given the layers above, averaged over images; where a layer's dimensions are bound
            together, of each posterior marginal to that of the prior, both moment-matched by normals, which do not add up to the KL.
        active_units: [D], whether the posterior mean of each latent dimension varies over images, Var_x E_q[z_d] > 0.01.
        seed: of the noise.
        kl_per_layer: name -> nats, the KL of each layer given those above, top first: their sum is the KL. None in files that do not say.
        kl_matched: the layers whose dimensions are bound together.
    """

    log_likelihood: Estimate
    log_likelihood_prior: Estimate
    log_likelihood_same_images: Estimate | None
    elbo: Estimate
    kl: Estimate
    reconstruction: Estimate
    bits_per_dimension: Estimate | None
    kl_per_dimension: tuple[float, ...]
    active_units: tuple[bool, ...]
    seed: int
    kl_per_layer: dict[str, float] | None = None
    kl_matched: tuple[str, ...] = ()

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1))

    def table(self) -> str:
        """Return the table that a person reads."""
        estimates = {name.replace("_", " "): value for name, value in vars(self).items() if isinstance(value, Estimate)}
        lines = [
            f"{name:<27} {e.value:>9.3f} +- {e.standard_error:<6.3f} {e.unit:<8} {e.images:>6} images, {e.method}"
            for name, e in estimates.items()
        ]
        if self.kl_per_layer and len(self.kl_per_layer) > 1:
            lines += [f"{f'kl of {name}':<27} {value:>9.3f} nats, given the layers above" for name, value in self.kl_per_layer.items()]
        lines.append(f"{'active units':<27} {sum(self.active_units):>9} of {len(self.active_units)}")
        return "\n".join([*lines, f"({CAVEAT})"])


def evaluate(
    vae: VAE,
    x: np.ndarray,
    label: np.ndarray | None = None,
    *,
    samples: int = 1000,
    seed: int = 0,
    prior_images: int = 1000,
    verbose: bool = True,
) -> Evaluation:
    """Estimate everything on held-out images.

    Args:
        vae: a trained model.
        x: [N, H, W, C] float32 in [0, 1], in the likelihood's support; at least 2 images, for one has no standard error.
        label: [N] or [N, K], if the model has a condition.
        samples: S per image for both estimators of log p(x), at least 1.
        seed: of the noise, at least 0.
        prior_images: plain Monte Carlo, which is there to be looked at rather than used, takes this many of the first images; at least 2.
        verbose: show progress.

    Returns:
        Estimates with standard errors over images.

    Raises:
        ConfigError: `samples` is below 1 or `prior_images` below 2, or `label` is missing or one too many.
        DataError: `x` holds fewer than 2 images, or lies outside the likelihood's support; or `label` is none of the condition's.
    """
    for name, value, lower in (("samples", samples, 1), ("prior_images", prior_images, 2), ("seed", seed, 0)):
        if not lower <= value < 2**31 - 1:
            raise ConfigError(f"`{name}` must be at least {lower} and below 2**31 - 1, got {value}.")
    if len(x) < 2:
        raise DataError(f"`x` must hold at least 2 images, for one has no standard error; got {len(x)}.")
    vae.likelihood.check(x)
    _check_label(vae, x, label)
    first, first_label = x[:prior_images], None if label is None else label[:prior_images]
    posterior = log_weights(vae, x, label, samples=samples, seed=seed, proposal="posterior", verbose=verbose)
    prior = log_weights(vae, first, first_label, samples=samples, seed=seed + 1, proposal="prior", verbose=verbose)
    mean, stddev = posterior_moments(vae, x, label)
    latents = kl_of_latents(vae, mean, stddev, label, posterior.kl_terms)
    given = "" if label is None else ", given the label y of each: log p(x | y)"
    method = f"importance sampling, {samples} posterior samples per image{given}"
    average = f"mean over {samples} posterior samples per image{given.partition(':')[0]}"
    bits = Estimate.over(-posterior.log_likelihood / (prod(x.shape[1:]) * log(2)), method, "bits/dim") if vae.likelihood.discrete else None
    return Evaluation(
        log_likelihood=Estimate.over(posterior.log_likelihood, method),
        log_likelihood_prior=Estimate.over(prior.log_likelihood, f"plain Monte Carlo, {samples} prior samples per image{given}"),
        log_likelihood_same_images=Estimate.over(posterior.log_likelihood[: len(first)], method) if len(first) < len(x) else None,
        elbo=Estimate.over(posterior.elbo, average),
        kl=Estimate.over(posterior.reconstruction - posterior.elbo, average),
        reconstruction=Estimate.over(posterior.reconstruction, average),
        bits_per_dimension=bits,
        kl_per_dimension=tuple(latents.per_dimension.tolist()),
        active_units=tuple(active_units(mean).tolist()),
        seed=seed,
        kl_per_layer=latents.per_layer,
        kl_matched=latents.matched,
    )


def _check_label(vae: VAE, x: np.ndarray, label: np.ndarray | None) -> None:
    if vae.condition is None or label is None:
        vae.generator.beside(tf.zeros([1, 1]), None if label is None else tf.zeros([1]))  # refuses one that is missing or too many
        return
    vae.condition.check(label)
    if len(label) != len(x):
        raise DataError(f"`label` must be one for each of the {len(x)} images, got {len(label)}.")
