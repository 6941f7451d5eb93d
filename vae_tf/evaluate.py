"""Numbers with their error: log p(x) by importance sampling and by plain Monte Carlo, the bound and its parts, active units.

Both estimators average p-hat(x) = (1/S) sum_s w_s with E[w_s] = p(x):

    plain Monte Carlo       z_s ~ p(z)        w_s = p(x | z_s)
    importance sampling     z_s ~ q(z | x)    w_s = p(x | z_s) p(z_s) / q(z_s | x)

and report log p-hat, which lies below log p(x) on average (Jensen) and approaches it as S grows: far sooner with the posterior,
which looks where p(x | z) is not negligible. The standard error is that of the mean over images. Where the model has a condition
all of this is given the label y of the image, and log p(x | y) is what is estimated. A model that was trained on corrupted images is
evaluated on clean ones.
"""

import json
from dataclasses import asdict, dataclass
from math import log, prod, sqrt
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import tensorflow as tf

from vae_tf.errors import ConfigError, DataError
from vae_tf.files import replacing
from vae_tf.latents import active_units, batches, kl_of_latents, posterior_moments
from vae_tf.model import VAE
from vae_tf.progress import progress

__all__ = ["CAVEAT", "Estimate", "Evaluation", "LogWeights", "evaluate", "log_weights"]

_ROWS = 2000  # decoder rows at once, whatever the number of samples: fewer where they would need much memory
_SAMPLES = 100  # of them at most for one image
_LARGEST = 2**25  # values of one tensor

CAVEAT = (
    "+- is the standard error over images. Both estimates of log p(x) lie below it on average, plain Monte Carlo often far "
    "below, and +- does not cover that."
)


class LogWeights(NamedTuple):
    """What an estimator says of each of N images, in nats, [N] float64."""

    log_likelihood: np.ndarray  # log (1/S) sum_s w_s
    elbo: np.ndarray  # mean_s log w_s
    reconstruction: np.ndarray  # mean_s log p(x | z_s)
    kl_terms: tuple[np.ndarray, ...]  # mean_s of log q - log p in parts, one [N, d] per layer, top first; none under the prior


@final
@dataclass(frozen=True)
class Estimate:
    """A mean over images with its standard error.

    Attributes:
        value: the mean over images.
        standard_error: sample standard deviation over images / sqrt(images).
        images: how many.
        unit: of the value.
        method: how it was estimated.
    """

    value: float
    standard_error: float
    images: int
    unit: str
    method: str

    @classmethod
    def over(cls, per_image: np.ndarray, method: str, unit: str = "nats") -> "Estimate":
        """Average values [N], N at least 2, each image with the same weight."""
        error = float(np.std(per_image, ddof=1)) / sqrt(len(per_image))
        return cls(float(np.mean(per_image)), error, len(per_image), unit, method)

    def __str__(self) -> str:
        return f"{self.value:.2f} +- {self.standard_error:.2f} {self.unit} ({self.images} images, {self.method})"


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


def _check_label(vae: VAE, x: np.ndarray, label: np.ndarray | None) -> None:
    if vae.condition is None or label is None:
        vae.generator.beside(tf.zeros([1, 1]), None if label is None else tf.zeros([1]))  # refuses one that is missing or too many
        return
    vae.condition.check(label)
    if len(label) != len(x):
        raise DataError(f"`label` must be one for each of the {len(x)} images, got {len(label)}.")
