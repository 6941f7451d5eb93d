"""Sigma: the same decoder with its scale swept, where the likelihood has one."""

from functools import partial
from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import plots
from vae_tf.evaluation import Estimate
from vae_tf.likelihood.grey import GreyDistribution
from vae_tf.report.picture import Chapter, Picture
from vae_tf.report.subject import Subject

__all__ = ["SigmaLoss", "Swept", "deviation", "rescaled", "scale_of", "sigma", "sigma_loss", "sweep_sigma"]

tfd = tfp.distributions

_ROWS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the model's sigma: of the draws
_FACTORS = 2.0 ** np.arange(-3, 3.01, 0.5)  # and of the curves
_NEARBY = 2.0 ** np.arange(-0.5, 0.51, 0.05)  # times the best of those: a second look, in steps of 3.5 %
_WORTH, _SURE = 1.0, 2  # nats per image, and standard errors, from which on a loss is worth a word
_COLUMNS = 6
_IMAGES, _SAMPLES, _BATCH = 100, 50, 10
_AVERAGED, _AT_ONCE = 200, 10  # draws whose standard deviation stands in where there is no formula


def scale_of(px: Any) -> tf.Tensor | None:
    """Return the scale of each value of p(x | z) in units of the value range, as its family has it; None where it has none."""
    scale = getattr(px.distribution, "scale", None)
    if scale is None or not isinstance(px.distribution, GreyDistribution):
        return scale
    return scale / px.distribution.top


def rescaled(px: Any, factor: float) -> tfd.Distribution:
    """Return p(x | z) with every scale multiplied by `factor`."""
    one = px.distribution
    return tfd.Independent(one.copy(scale=one.scale * factor), px.reinterpreted_batch_ndims)


def deviation(subject: Subject, px: Any) -> np.ndarray:
    """Return the standard deviation of each value of p(x | z), [B, H, W, C]; by draws where there is no formula."""
    try:
        return np.broadcast_to(px.stddev().numpy(), (*px.batch_shape, *px.event_shape))
    except NotImplementedError:
        draws = [px.sample(_AT_ONCE, seed=tf.constant([subject.seed, 1000 + index])).numpy() for index in range(_AVERAGED // _AT_ONCE)]
        return np.concatenate(draws).std(0)


def sigma(subject: Subject) -> Chapter | None:
    """Return the pictures of sigma; None for a likelihood without one."""
    if scale_of(subject.vae.decode(*_prior(subject, 1))) is None:
        return None
    return Chapter("Sigma", [partial(_draws, subject), partial(_curves, subject)])


class Swept(NamedTuple):
    """What a sweep over factors of sigma gives, [K] each; and the errors of the decoder's locations."""

    elbos: np.ndarray  # [K, N], of each image
    log_likelihood: np.ndarray
    roughness: np.ndarray  # of draws: mean squared difference of neighbours, that of the test images being 1
    means: float  # the same of the means
    rmse: float
    mae: float

    @property
    def elbo(self) -> np.ndarray:
        """The average over images, [K]."""
        return self.elbos.mean(1)


class SigmaLoss(NamedTuple):
    """What the model's own sigma loses against the best of a sweep over test images, with encoder and decoder as they are."""

    nats: float  # ELBO per image at the best sigma less that at the model's own, at least 0
    standard_error: float  # of that difference, over images
    own: float  # the model's one sigma, in units of the value range; 1 where each value has a sigma of its own
    best: float  # the best one, in the same units


def sigma_loss(subject: Subject) -> SigmaLoss | None:
    """Return what the model's own sigma, learned or set, loses against the best of a sweep; None for a likelihood without one."""
    px = subject.vae.decode(*_prior(subject, 1))
    return None if scale_of(px) is None else _loss(*_looked_twice(subject), _unit(px)[0])


def _looked_twice(subject: Subject) -> tuple[np.ndarray, Swept]:
    """Return the factors of a sweep from far and of one around its best, ascending, and what they gave."""
    far = sweep_sigma(subject, _FACTORS)
    nearby = _FACTORS[np.argmax(far.elbo)] * _NEARBY
    near = sweep_sigma(subject, nearby)
    factors, rows = np.unique(np.round(np.concatenate([_FACTORS, nearby]), 9), return_index=True)
    elbos, log_likelihood, roughness = (
        np.concatenate([getattr(far, name), getattr(near, name)])[rows] for name in ("elbos", "log_likelihood", "roughness")
    )
    return factors, far._replace(elbos=elbos, log_likelihood=log_likelihood, roughness=roughness)


def _loss(factors: np.ndarray, swept: Swept, unit: float) -> SigmaLoss:
    best, here = int(np.argmax(swept.elbo)), int(np.argmin(np.abs(factors - 1)))
    loss = Estimate.over(swept.elbos[best] - swept.elbos[here], "")
    return SigmaLoss(loss.value, loss.standard_error, unit, float(factors[best] * unit))


def _prior(subject: Subject, count: int) -> tuple[tf.Tensor, np.ndarray | None]:
    label = subject.label(np.resize(subject.order, count))
    return tf.constant(subject.prior(count, label, stream=20)), label


def _unit(px: Any) -> tuple[float, str]:
    """Return what a factor of 1 stands for: the one sigma, or 1 where each value has its own; and the name of the axis."""
    scale = np.asarray(scale_of(px))
    return (float(scale), "sigma") if scale.ndim == 0 else (1.0, "sigma, in units of the model's own")


def _draws(subject: Subject) -> Picture:
    px = subject.vae.decode(*_prior(subject, _COLUMNS))
    count, (unit, _) = px.batch_shape[0], _unit(px)
    rows = [px.mean().numpy(), *(subject.draws(rescaled(px, factor), 21) for factor in _ROWS)]
    scale = np.asarray(scale_of(px))
    names = ["the means", *(f"sigma x {factor:g}" if scale.ndim else f"sigma {factor * unit:.2g}" for factor in _ROWS)]
    names[1 + _ROWS.index(1.0)] += "\n(this model)"
    size = (
        f"The model gives each value a sigma of its own, here from {scale.min():.2g} to {scale.max():.2g}, half of them below "
        f"{np.median(scale):.2g}"
        if scale.ndim
        else f"The model has one sigma for all values, {unit:.3g}"
    )
    return Picture(
        "Draws with another sigma",
        "What does sigma do to an image?",
        f"{size} (of a value range of 1). A column is one z, with the mean on top; draws scatter around it, each value by itself. "
        "No sigma puts detail into an image that the mean lacks; too small a sigma hides what the model does not know.",
        f"{len(rows)} rows of {count} images: the means, then draws with growing sigma, from hardly any grain to hardly any image.",
        "svg+xml",
        plots.svg(plots.named_rows(plots.spaced_grid(np.concatenate(rows), count), names)),
    )


def _curves(subject: Subject) -> Picture:
    px = subject.vae.decode(*_prior(subject, 1))
    (unit, axis), one = _unit(px), np.asarray(scale_of(px)).ndim == 0
    factors, swept = _looked_twice(subject)
    loss, here = _loss(factors, swept, unit), int(np.argmin(np.abs(factors - 1)))
    errors = _errors(subject, px, swept, unit) if one else ""
    verdict = f"the best of these is {loss.best:.3g}{_remark(loss)}" if loss.nats > 0 else "the model's own is the best of these"
    return Picture(
        "Log-likelihood against sigma",
        "Which sigma explains the test images best?",
        f"The same encoder and decoder, with another sigma, in steps of 3.5 % where it is best. On the left the ELBO and "
        f"{subject.evidence}, averaged over {_count(subject)} test images. By the ELBO {verdict}.{errors} On the right roughness, the mean "
        f"squared difference of neighbouring values: the means have {swept.means:.2f} of that of test images, which is their blur, and "
        f"draws with the model's sigma {swept.roughness[here]:.2f}. Sigma adds grain, not what was blurred.",
        f"The ELBO by sigma, highest at {loss.best:.3g} with {swept.elbo.max():,.1f} nats, against {swept.elbo[here]:,.1f} at the model's "
        f"own, {unit:.3g}; roughness of draws grows from {swept.roughness[0]:.2f} to {swept.roughness[-1]:.1f} times that of test images.",
        "svg+xml",
        plots.svg(
            plots.sigma_curves(
                factors * unit,
                {"ELBO": swept.elbo, subject.evidence: swept.log_likelihood},
                unit,
                loss.best,
                swept.roughness,
                swept.means,
                axis,
            )
        ),
    )


def _remark(loss: SigmaLoss) -> str:
    """What the model's own sigma loses, and whether that is much."""
    words = f", {loss.nats:,.2f} ± {loss.standard_error:.2f} nats per image above the model's own, {loss.own:.3g}"
    if loss.nats < max(_WORTH, _SURE * loss.standard_error):
        return f"{words}, which is near enough"
    apart = f"{loss.own / loss.best:.2g} times too large" if loss.own > loss.best else f"{loss.best / loss.own:.2g} times too small"
    return f"{words}: that one is {apart} for these images, and so much would be won by another sigma alone, without any training"


def _errors(subject: Subject, px: Any, swept: Swept, unit: float) -> str:
    """What squared or absolute error has to do with it, for the families of which it is the logarithm."""
    if isinstance(px.distribution, tfd.Normal):
        plain = float(sweep_sigma(subject, np.array([sqrt(0.5) / unit])).elbo[0])
        return (
            f" Here -log p(x | {subject.z}) is the squared error / (2 sigma²) + log sigma per value, so the best sigma is, to the steps of "
            f"the sweep, the root mean squared error over posterior draws of z, {swept.rmse:.3g}. To train on the sum of squared errors "
            f"and the KL is the special case sigma² = 1/2, here an ELBO of {plain:,.0f} nats; on their mean over the "
            f"{prod(subject.vae.generator.image_shape):,} values, an even larger sigma."
        )
    if isinstance(px.distribution, tfd.Laplace):
        return (
            f" Here -log p(x | {subject.z}) is the absolute error / sigma + log sigma per value, so the best sigma is, to the steps of the "
            f"sweep, the mean absolute error over posterior draws of z, {swept.mae:.3g}; with a normal likelihood squared error would "
            "stand in its place."
        )
    return ""


def _count(subject: Subject) -> int:
    return len(subject.order[:_IMAGES])


def sweep_sigma(subject: Subject, factors: np.ndarray) -> Swept:
    """Average over test images what the decoder gives with its scales multiplied by each factor.

    Args:
        subject: whose likelihood has a scale.
        factors: [K], above 0.
    """
    vae, rows = subject.vae, subject.order[:_IMAGES]
    elbos, (evidence, rough) = np.zeros((len(factors), len(rows))), np.zeros((2, len(factors)))
    means = squared = absolute = real = 0.0
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        x, label = tf.constant(subject.x[part]), subject.label(part)
        draw = vae.draw(x, _SAMPLES, tf.constant([subject.seed, 22 + start]), label=label)
        px = vae.decode(draw.z, label)
        log_ratio = (draw.log_prior - draw.log_q).numpy().astype(np.float64)
        for index, factor in enumerate(factors):
            log_w = log_ratio + rescaled(px, factor).log_prob(x).numpy()
            elbos[index, start : start + len(part)] = log_w.mean(0)
            evidence[index] += (np.logaddexp.reduce(log_w, 0) - np.log(_SAMPLES)).sum()
        one = vae.decode(draw.z[0], label)
        rough += [_roughness(subject.draws(rescaled(one, factor), 23 + start)) for factor in factors]
        mean, error = one.mean().numpy(), np.abs(px.mean().numpy() - x.numpy())
        means, real = means + _roughness(mean), real + _roughness(x.numpy())
        squared, absolute = squared + (error**2).mean((0, 2, 3, 4)).sum(), absolute + error.mean((0, 2, 3, 4)).sum()
    count = len(rows)
    return Swept(elbos, evidence / count, rough / real, means / real, sqrt(squared / count), absolute / count)


def _roughness(images: np.ndarray) -> float:
    """Return the squared difference of neighbouring values, summed over images."""
    return float(sum((np.diff(images.astype(np.float64), axis=axis) ** 2).sum() for axis in (1, 2)))
