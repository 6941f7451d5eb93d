"""What may be wrong with estimates of log p(x): too few samples, or samples in the wrong place."""

from collections.abc import Mapping, Sequence

import numpy as np

from vae_tf.evaluation import Estimate
from vae_tf.report.diagnosis.finding import Finding

__all__ = ["few_effective_samples", "missed", "unsettled"]

_RISE = 0.25  # nats per image that an estimate may still rise by ten times the samples
_APART = 3  # times as many samples: a rise over fewer is mostly chance
_EFFECTIVE = 5  # samples


def unsettled(curve: Sequence[tuple[int, float]]) -> Finding | None:
    """Look whether an estimate of log p(x) still rises with the number of samples.

    Args:
        curve: (samples, nats per image), by rising number of samples.
    """
    many, after = curve[-1] if curve else (0, 0.0)
    earlier = [point for point in curve if _APART * point[0] <= many]
    if not earlier:
        return None
    few, before = earlier[-1]
    rise = (after - before) / np.log10(many / few)
    if rise <= _RISE:
        return None
    return Finding(
        "The estimate has not settled",
        f"From {few:,} to {many:,} samples per image the estimate of log p(x) rose by {after - before:.2f} nats.",
        "It lies below log p(x) by more than its standard error says, and models compared at this number of samples may change places.",
        f"Evaluate with more: --samples {10 * many}; a more flexible posterior needs fewer.",
    )


def few_effective_samples(median: float, samples: int) -> Finding | None:
    """Look whether a few samples carry all the weight of importance sampling.

    Args:
        median: over images, of the effective sample size.
        samples: of each image, of which that is.
    """
    if samples < 2 * _EFFECTIVE:
        return Finding(
            "Too few samples to tell",
            f"log p(x) was estimated with {samples} posterior samples per image.",
            "That is hardly more than the ELBO: log p(x) lies above it by an amount that nothing here can tell.",
            "Evaluate with more: --samples 1000.",
        )
    if median >= _EFFECTIVE:
        return None
    return Finding(
        "Few effective samples",
        f"Of {samples:,} posterior samples of an image, {median:.1f} count (median over test images).",
        "The posterior misses much of where the image is explained: single samples decide the estimate of log p(x), which lies below the "
        "truth, and the ELBO pays for the mismatch.",
        "More samples in the evaluation (--samples); a posterior with correlations or a flow (model.posterior); a wider encoder.",
    )


def missed(higher: Mapping[str, Estimate]) -> Finding | None:
    """Look whether an estimator that does not ask the encoder found more than importance sampling.

    Args:
        higher: by its name, what it found beyond, as `Evaluation.higher` says.
    """
    if not higher:
        return None
    told = "; ".join(
        f"{name} found {one.value:.{one.digits}f} ± {one.standard_error:.{one.digits}f} nats more on {one.images:,} images"
        for name, one in higher.items()
    )
    return Finding(
        "Importance sampling misses some of log p(x)",
        f"Beside importance sampling on the same images, {told}.",
        "All of these estimates lie below log p(x) on average, so the highest is the nearest. The posterior is too narrow, or stands in "
        "the wrong place, for some images; log p(x) in the table, bits per dimension and comparisons are too low.",
        "Less overfitting of the encoder (more images, fewer epochs, a smaller encoder), a more flexible posterior (model.posterior), more "
        "samples (--samples), and annealed importance sampling (--annealed 100) to see how much is missing.",
    )
