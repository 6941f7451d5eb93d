"""What may be wrong with sigma."""

import numpy as np

from vae_tf.report.diagnosis.finding import Finding

__all__ = ["saturated_sigma"]

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
