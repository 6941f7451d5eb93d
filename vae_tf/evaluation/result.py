"""What an evaluation says: numbers with their errors, as a table, as JSON, and image by image."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from vae_tf.errors import RunError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.files import replacing

__all__ = ["CAVEAT", "EffectiveSamples", "Evaluation"]

CAVEAT = (
    "+- is the standard error over images, or what the method names. All estimates of log p(x) lie below it on average, and +- does not "
    "cover that: the highest is the nearest, and the curves and the effective samples show whether it has settled."
)

_LESS, _LEAST = " less importance sampling", 0.1  # how differences are named, and the nats from which on they matter
_TITLES = {"kl": "kl (rate)", "reconstruction": "reconstruction (-distortion)"}
_WIDTH = 34


@final
@dataclass(frozen=True)
class EffectiveSamples:
    """How many of S weighted samples count, (sum_s w_s)^2 / sum_s w_s^2, over images.

    Attributes:
        least: of all images.
        fifth_percentile: 5 % of the images have fewer.
        median: half of the images have fewer.
        samples: S.
        error: nats; the standard error of the mean of log p-hat by the finite number of samples, sqrt(sum_i (1 / ESS_i - 1 / S)) / N, to
            first order: too low where few samples count.

    Source: Kong (1992); Owen (2013), section 9.3.
    """

    least: float
    fifth_percentile: float
    median: float
    samples: int
    error: float

    @classmethod
    def over(cls, per_image: np.ndarray, samples: int) -> "EffectiveSamples":
        """Summarise effective sample sizes [N]."""
        least, fifth, median = np.quantile(per_image, [0, 0.05, 0.5])
        error = np.sqrt(np.sum(np.maximum(1 / per_image - 1 / samples, 0))) / len(per_image)
        return cls(float(least), float(fifth), float(median), samples, float(error))

    def __str__(self) -> str:
        return (
            f"{self.median:>9.1f} of {self.samples} in the median image, {self.fifth_percentile:.1f} in the worst 5 %, {self.least:.1f} "
            f"in the worst; error by their number at least {self.error:.3f} nats"
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
        kl: E_q[log q(z | x) - log p(z)], the rate.
        reconstruction: E_q[log p(x | z)], minus the distortion.
        bits_per_dimension: -log2 p(x) / (H W C); None where p(x) is a density.
        kl_per_dimension: [D], KL of each dimension given the layers above, averaged over images; where a layer's dimensions are bound
            together, of each posterior marginal to that of the prior, both moment-matched by normals, which do not add up to the KL.
        active_units: [D], whether the posterior mean of each latent dimension varies over images, Var_x E_q[z_d] > 0.01.
        seed: of the noise.
        kl_per_layer: name -> nats, the KL of each layer given those above, top first: their sum is the KL. None in files that do not say.
        kl_matched: the layers whose dimensions are bound together.
        samples: per image, in both estimates of log p(x); 0 in files that do not say.
        effective_samples: by estimator.
        curves: by estimator, log p(x) against the number of samples, the first of the same ones.
        further: by topic and name, all else that was estimated.
        notes: in a sentence each, what was not estimated and why, and what to know about what was.
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
    samples: int = 0
    effective_samples: dict[str, EffectiveSamples] = field(default_factory=dict)
    curves: dict[str, dict[int, Estimate]] = field(default_factory=dict)
    further: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def higher(self) -> dict[str, Estimate]:
        """By name, what other estimators of log p(x) found beyond importance sampling on the same images: above 0.1 nats, and the error."""
        told = ((name.partition(_LESS), estimate) for values in self.further.values() for name, estimate in values.items())
        return {name: one for (name, less, _), one in told if less and one.value > max(_LEAST, one.standard_error)}

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: str | Path) -> "Evaluation":
        """Read what `write` wrote.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            return TypeAdapter(cls).validate_json(Path(path).read_bytes())
        except OSError:
            raise RunError(f"`{path}` is missing; write it by: python -m vae_tf evaluate {Path(path).parent}") from None
        except ValidationError as error:
            raise RunError(f"`{path}` is damaged ({str(error).splitlines()[0]}); remove it, or evaluate again.") from None

    def table(self) -> str:
        """Return the table that a person reads."""
        return "\n".join([*self._lines(), f"({CAVEAT})"])

    def _lines(self) -> Iterator[str]:
        for name, value in vars(self).items():
            if isinstance(value, Estimate):
                yield _row(_TITLES.get(name, name), value)
        if self.kl_per_layer and len(self.kl_per_layer) > 1:
            for name, nats in self.kl_per_layer.items():
                yield f"{f'kl of {name}':<{_WIDTH}} {nats:>9.3f} nats, given the layers above"
        yield f"{'active units':<{_WIDTH}} {sum(self.active_units):>9} of {len(self.active_units)}"
        for name, effective in self.effective_samples.items():
            yield f"{f'effective samples, {name}':<{_WIDTH}} {effective}"
        for name, curve in self.curves.items():
            points = ", ".join(f"{count}: {e.value:.2f} +- {e.standard_error:.2f}" for count, e in curve.items())
            yield f"{f'by samples, {name}':<{_WIDTH}} {points}"
        for topic, estimates in self.further.items():
            yield f"{topic}:"
            for name, estimate in estimates.items():
                yield _row(f"  {name}", estimate)
        for note in self.notes:
            yield f"note: {note}"


def _row(name: str, estimate: Estimate) -> str:
    title, e = name.replace("_", " "), estimate
    digits = max(3, e.digits)
    return f"{title:<{_WIDTH}} {e.value:>9.{digits}f} +- {e.standard_error:<7.{digits}f} {e.unit:<8} {e.images:>6} images, {e.method}"
