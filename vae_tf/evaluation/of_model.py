"""All numbers of a trained model on held-out data, each with its error."""

from dataclasses import replace
from math import log, prod

import numpy as np
import tensorflow as tf

from vae_tf.errors import ConfigError, DataError
from vae_tf.evaluation.annealed import Annealing, annealed, bidirectional
from vae_tf.evaluation.dead_units import without_dead_units
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.importance import LogWeights, log_weights
from vae_tf.evaluation.information import information
from vae_tf.evaluation.per_image import PerImage
from vae_tf.evaluation.result import EffectiveSamples, Evaluation
from vae_tf.latents import active_units, kl_of_latents, posterior_moments
from vae_tf.model import VAE

__all__ = ["ANNEALED", "evaluate", "evaluate_each"]

#: the topics of annealed importance sampling in `Evaluation.further`
ANNEALED = ("log p(x) of test images by annealed importance sampling", "log p(x) of images that the model made")

_SAMPLING, _PLAIN = "importance sampling", "plain Monte Carlo"
#: temperatures of annealed importance sampling, from the prior, as a check of the encoder, and from the posterior, for a close bracket
_FAR, _NEAR = 1000, 500


def evaluate(
    vae: VAE,
    x: np.ndarray,
    label: np.ndarray | None = None,
    *,
    samples: int = 1000,
    seed: int = 0,
    prior_images: int = 1000,
    annealed_images: int = 0,
    verbose: bool = True,
) -> Evaluation:
    """Estimate everything that held-out images alone tell.

    Args:
        vae: a trained model.
        x: [N, H, W, C] float32 in [0, 1], in the likelihood's support; at least 2 images, for one has no standard error.
        label: [N] or [N, K], if the model has a condition.
        samples: S per image for both estimators of log p(x), at least 1.
        seed: of the noise, at least 0.
        prior_images: plain Monte Carlo, and the model without its dead dimensions, which are there to be looked at rather than used, take
            this many of the first images; at least 2.
        annealed_images: of the first test images, and of images that the model makes, for the check by annealed importance sampling, which
            is slow; 0 for none, else at least 2.
        verbose: show progress.

    Returns:
        Estimates with standard errors over images.

    Raises:
        ConfigError: a number is out of range, or `label` is missing or one too many.
        DataError: `x` holds fewer than 2 images, or lies outside the likelihood's support; or `label` is none of the condition's.
    """
    return evaluate_each(
        vae, x, label, samples=samples, seed=seed, prior_images=prior_images, annealed_images=annealed_images, verbose=verbose
    )[0]


def evaluate_each(
    vae: VAE,
    x: np.ndarray,
    label: np.ndarray | None = None,
    *,
    samples: int,
    seed: int,
    prior_images: int,
    annealed_images: int,
    verbose: bool,
) -> tuple[Evaluation, PerImage]:
    """As `evaluate`, and return the values of each image too."""
    _check(x, samples=samples, seed=seed, prior_images=prior_images, annealed_images=annealed_images)
    vae.likelihood.check(x)
    _check_label(vae, x, label)
    first, first_label = x[:prior_images], None if label is None else label[:prior_images]
    posterior = log_weights(vae, x, label, samples=samples, seed=seed, proposal="posterior", verbose=verbose)
    prior = log_weights(vae, first, first_label, samples=samples, seed=seed + 1, proposal="prior", verbose=verbose)
    mean, stddev = posterior_moments(vae, x, label)
    latents = kl_of_latents(vae, mean, stddev, label, posterior.kl_terms)
    active = active_units(mean)
    given = "" if label is None else ", given the label y of each: log p(x | y)"
    method = f"importance sampling, {samples} posterior samples per image{given}"
    average = f"mean over {samples} posterior samples per image{given.partition(':')[0]}"
    bits = Estimate.over(-posterior.log_likelihood / (prod(x.shape[1:]) * log(2)), method, "bits/dim") if vae.likelihood.discrete else None
    found = Evaluation(
        log_likelihood=Estimate.over(posterior.log_likelihood, method),
        log_likelihood_prior=Estimate.over(prior.log_likelihood, f"plain Monte Carlo, {samples} prior samples per image{given}"),
        log_likelihood_same_images=Estimate.over(posterior.log_likelihood[: len(first)], method) if len(first) < len(x) else None,
        elbo=Estimate.over(posterior.elbo, average),
        kl=Estimate.over(posterior.reconstruction - posterior.elbo, average),
        reconstruction=Estimate.over(posterior.reconstruction, average),
        bits_per_dimension=bits,
        kl_per_dimension=tuple(latents.per_dimension.tolist()),
        active_units=tuple(active.tolist()),
        seed=seed,
        kl_per_layer=latents.per_layer,
        kl_matched=latents.matched,
        samples=samples,
        effective_samples={
            name: EffectiveSamples.over(w.effective_samples, samples) for name, w in ((_SAMPLING, posterior), (_PLAIN, prior))
        },
        curves={name: _curve(w, name) for name, w in ((_SAMPLING, posterior), (_PLAIN, prior))},
    )
    difference = Estimate.over(prior.log_likelihood - posterior.log_likelihood[: len(first)], "paired by image")
    found = replace(found, further={"what the encoder is worth": {f"{_PLAIN} less {_SAMPLING}": difference}})
    found = _with_information(found, vae, x, label, seed, verbose)
    found = _without_dead_units(found, vae, first, first_label, active, posterior.log_likelihood[: len(first)], verbose)
    if annealed_images:
        count = min(annealed_images, len(x))
        found = _with_annealed(found, vae, x[:count], None if label is None else label[:count], posterior.log_likelihood[:count], verbose)
    found = replace(found, notes=(*found.notes, *_higher(found)))
    each = PerImage(posterior.log_likelihood, posterior.elbo, posterior.effective_samples, PerImage.fingerprint(x))
    return found, each


def _check(x: np.ndarray, *, samples: int, seed: int, prior_images: int, annealed_images: int) -> None:
    """Refuse numbers out of range, and fewer than 2 images.

    Raises:
        ConfigError: a number is out of range.
        DataError: `x` holds fewer than 2 images.
    """
    least = {"samples": (samples, 1), "prior_images": (prior_images, 2), "seed": (seed, 0)}
    if annealed_images:
        least["annealed_images"] = (annealed_images, 2)
    for name, (value, lower) in least.items():
        if not lower <= value < 2**31 - 1:
            raise ConfigError(f"`{name}` must be at least {lower} and below 2**31 - 1, got {value}.")
    if len(x) < 2:
        raise DataError(f"`x` must hold at least 2 images, for one has no standard error; got {len(x)}.")


def _curve(weights: LogWeights, name: str) -> dict[int, Estimate]:
    return {count: Estimate.over(values, f"{name}, {count} samples per image") for count, values in weights.curve.items()}


def _with_information(found: Evaluation, vae: VAE, x: np.ndarray, label: np.ndarray | None, seed: int, verbose: bool) -> Evaluation:
    told = information(vae, x, label, seed=seed, verbose=verbose)
    if isinstance(told, str):
        return replace(found, notes=(*found.notes, f"no mutual information: {told}"))
    section = {
        "I(x; z), at least": told.at_least,
        "I(x; z), at most": told.at_most,
        "KL(q(z) || p(z)), at least": told.aggregated_kl_at_least,
        "KL(q(z) || p(z)), at most": told.aggregated_kl_at_most,
    }
    return replace(found, further=found.further | {"information in the latents": section})


def _without_dead_units(
    found: Evaluation, vae: VAE, x: np.ndarray, label: np.ndarray | None, active: np.ndarray, log_likelihood: np.ndarray, verbose: bool
) -> Evaluation:
    told = without_dead_units(
        vae, x, label, active=active, log_likelihood=log_likelihood, samples=found.samples, seed=found.seed, verbose=verbose
    )
    if isinstance(told, str):
        return replace(found, notes=(*found.notes, f"log p(x) without the dead latent dimensions was not estimated: {told}"))
    section = {"log p(x) without them": told.log_likelihood, "what they are worth": told.loss}
    return replace(found, further=found.further | {"dead latent dimensions removed": section})


def _with_annealed(
    found: Evaluation, vae: VAE, x: np.ndarray, label: np.ndarray | None, log_likelihood: np.ndarray, verbose: bool
) -> Evaluation:
    chains = annealed(vae, x, label, Annealing(_FAR, start="prior", seed=found.seed), verbose)
    made = bidirectional(vae, len(x), label, Annealing(_NEAR, start="posterior", seed=found.seed), verbose)
    sampled = log_weights(vae, made.x, made.label, samples=found.samples, seed=found.seed, verbose=verbose).log_likelihood
    tests = {
        "annealed": chains.estimate,
        _SAMPLING: Estimate.over(log_likelihood, found.log_likelihood.method),
        f"annealed importance sampling less {_SAMPLING}": Estimate.over(chains.log_likelihood - log_likelihood, "paired by image"),
    }
    simulated = {
        "lower bound": made.lower.estimate,
        "upper bound": made.upper.estimate,
        "upper less lower bound": made.gap,
        _SAMPLING: Estimate.over(sampled, found.log_likelihood.method),
        f"{_SAMPLING} below the upper bound": Estimate.over(made.upper.log_likelihood - sampled, "paired by image"),
    }
    return replace(found, further=found.further | dict(zip(ANNEALED, (tests, simulated))))


def _higher(found: Evaluation) -> list[str]:
    return [
        f"{name} found {one.value:.{one.digits}f} +- {one.standard_error:.{one.digits}f} nats more than {_SAMPLING} on the same "
        f"{one.images} images; both lie below log p(x) on average, so it is that much higher, at least: the posterior misses some of where "
        "these images are explained"
        for name, one in found.higher.items()
    ]


def _check_label(vae: VAE, x: np.ndarray, label: np.ndarray | None) -> None:
    if vae.condition is None or label is None:
        vae.generator.beside(tf.zeros([1, 1]), None if label is None else tf.zeros([1]))  # refuses one that is missing or too many
        return
    vae.condition.check(label)
    if len(label) != len(x):
        raise DataError(f"`label` must be one for each of the {len(x)} images, got {len(label)}.")
