"""What may be wrong with sigma."""

import numpy as np

from vae_tf.report.diagnosis.finding import Finding
from vae_tf.report.sigma import SigmaLoss

__all__ = ["misplaced_sigma", "saturated_sigma"]

_LOSS, _ERRORS = 1.0, 3  # nats that a sigma may lose, and standard errors
_SATURATED, _AT_BOUND = 0.1, 1.05  # share of values, and how near the bound they are


def saturated_sigma(scale: np.ndarray | None, least: float | None) -> Finding | None:
    """Look whether sigma stands at its lower bound.

    Args:
        scale: of any shape; None where the likelihood has no sigma.
        least: its lower bound; None where it has none.
    """
    if scale is None or least is None or (share := float(np.mean(scale < _AT_BOUND * least))) <= _SATURATED:
        return None
    many = "Sigma is" if np.size(scale) == 1 else f"Of all values {share:.0%} have a sigma"
    return Finding(
        "Sigma at its lower bound",
        f"{many} within 5 % of the bound, {least:g}.",
        "Values that never change could be given any density: the log-likelihood measures the bound, not the model.",
        "Compare no densities between different bounds; choose a likelihood of grey levels for images that have them, or raise min_scale.",
    )


def misplaced_sigma(loss: SigmaLoss | None) -> Finding | None:
    """Look whether another sigma would explain the images much better.

    Args:
        loss: against the best of a sweep; None where the likelihood has no sigma.
    """
    if loss is None or not loss.nats > max(_LOSS, _ERRORS * loss.standard_error):
        return None
    return Finding(
        "Sigma far from its best",
        f"With a sigma of {loss.best / loss.own:.2f} times the model's own the ELBO of test images would be {loss.nats:,.1f} nats higher, "
        "encoder and decoder as they are.",
        "Too small a sigma calls every deviation impossible, too large a one explains the images as noise; densities and samples show it.",
        "A sigma that is learned (model.likelihood=normal-learned-scale), with more epochs or a larger learning rate if it is already; or "
        "the better one, set (model.likelihood.scale).",
    )
