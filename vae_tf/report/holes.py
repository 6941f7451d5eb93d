"""Holes of the aggregated posterior: where generation decodes, and no test image is encoded."""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from vae_tf import plots
from vae_tf.report.picture import Picture
from vae_tf.report.subject import Subject

__all__ = ["Holes", "Looked", "decoded_in_holes", "distances", "holes", "look"]

_PRIOR, _FAR = 2000, 0.99  # draws from the prior that are looked at, and what counts as far
_EXAMPLES = 10


class Holes(NamedTuple):
    """How far draws are from the nearest draw of a posterior of another image."""

    prior: np.ndarray  # [P], distances of draws from the prior
    posterior: np.ndarray  # [Q], distances of draws from the posteriors of images held back
    threshold: float  # below it are 99 % of the latter
    share: float  # of the former above it
    error: float  # its standard error

    @property
    def exist(self) -> bool:
        """Whether there are more of them than chance makes."""
        return self.share > 1 - _FAR + 2 * self.error


def holes(prior: np.ndarray, posterior: np.ndarray) -> Holes:
    """Measure what share of prior draws is far from every posterior.

    Half of the posterior draws are a reference. A draw is far if its nearest neighbour there is farther away than those of 99 % of the
    other half. Of a prior that equals the aggregated posterior 1 % is far, but for chance. Distances are in units of the spread of the
    posterior draws in each dimension.

    Args:
        prior: z ~ p(z), [P, D].
        posterior: one z ~ q(z | x) for each of some images, [M, D], M at least 4.
    """
    width = posterior.std(0)
    reference, held = (posterior / width)[::2], (posterior / width)[1::2]
    nearest = NearestNeighbors(n_neighbors=1).fit(reference)
    near, own = (nearest.kneighbors(part)[0][:, 0] for part in (prior / width, held))
    threshold = float(np.quantile(own, _FAR))
    share = float((near > threshold).mean())
    error = sqrt(max(share * (1 - share), _FAR * (1 - _FAR)) / len(prior) + _FAR * (1 - _FAR) / len(own))
    return Holes(near, own, threshold, share, error)


class Looked(NamedTuple):
    """Draws from the prior of a model, and what was found of them."""

    holes: Holes
    z: np.ndarray  # [P, D]
    label: np.ndarray | None


def look(subject: Subject) -> Looked:
    """Draw from the prior of a model and look for holes."""
    label = subject.label(np.resize(subject.encoded_rows, _PRIOR))
    z = subject.prior(_PRIOR, label, stream=32)
    return Looked(holes(z, subject.encoded[0]), z, label)


def distances(looked: Callable[[], Looked]) -> Picture:
    """Show how far prior draws are from posteriors, and how far those are from each other."""
    found, z, _ = looked()
    there = (
        "So the prior puts more draws than chance where none of these test images is encoded. Training images were not looked at: the "
        "decoder may have met some of them there, or nothing, and what it makes there may look like no image."
        if found.exist
        else "By this measure there are no holes."
    )
    return Picture(
        "Holes of the aggregated posterior",
        "Does generation decode where no test image is encoded?",
        f"Distance to the nearest of {len(found.posterior):,} draws from the posteriors of other test images, in units of their "
        f"spread. Of {len(z):,} draws from the prior {found.share:.1%} ± {found.error:.1%} are farther than {found.threshold:.2f}, "
        f"which 99 % of posterior draws are not; without holes it would be 1 %. {there}",
        f"Two histograms of distances; {found.share:.1%} of the prior draws are beyond the line at {found.threshold:.2f}.",
        "svg+xml",
        plots.svg(
            plots.histograms(
                {"prior": found.prior, "posteriors of test images": found.posterior},
                {"99 % of the posteriors": found.threshold},
                "distance to the nearest posterior draw of another image",
            )
        ),
    )


def decoded_in_holes(subject: Subject, looked: Callable[[], Looked]) -> Picture | None:
    """Show what is decoded in holes, if there are any."""
    found, z, label = looked()
    if not found.exist:
        return None
    order = np.argsort(found.prior, kind="stable")
    rows = np.concatenate([order[-_EXAMPLES:][::-1], order[:_EXAMPLES]])
    decoded = subject.vae.decode(tf.constant(z[rows]), None if label is None else label[rows]).mean().numpy()
    return Picture(
        "Decoded in holes, and not",
        "What do samples from holes look like?",
        f"Means of p(x | {subject.z}) at draws from the prior: above the {_EXAMPLES} that are farthest from every posterior, "
        f"{found.prior[rows[_EXAMPLES - 1]]:.2f} to {found.prior[rows[0]]:.2f} away, below the {_EXAMPLES} that are nearest.",
        f"Two rows of {_EXAMPLES} images: from holes, and from where test images are encoded.",
        "svg+xml",
        plots.svg(plots.named_rows(plots.spaced_grid(decoded, _EXAMPLES), ["far", "near"])),
    )
