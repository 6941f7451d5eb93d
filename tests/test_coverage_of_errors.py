"""Claims about the stated errors: how often an interval of 1.96 standard errors holds the truth, over runs that are independent."""

import numpy as np
import pytest
from oracle import LinearGaussian

from vae_tf.evaluation import Estimate, log_weights
from vae_tf.evaluation.annealed import Annealing, annealed

RUNS, IMAGES = 200, 50  # images are independent, and so is their noise: parts of one large run are runs of their own


def share_that_holds(per_image, truth):
    """The share of intervals, of the mean over the images of one run each, that hold the truth."""
    estimates = [Estimate.over(run, "by parts") for run in per_image.reshape(RUNS, IMAGES)]
    return np.mean([abs(e.value - truth) < 1.96 * e.standard_error for e in estimates])


def estimate(method, vae, x):
    if method == "annealed":
        return annealed(vae, x, annealing=Annealing(12, chains=4, leapfrog=2), verbose=False).log_likelihood
    proposal, samples = ("posterior", 100) if method == "importance" else ("prior", 300)
    return log_weights(vae, x, samples=samples, proposal=proposal).log_likelihood


@pytest.mark.parametrize(
    ("method", "values", "latent_dim"), [("importance", 6, 2), ("importance", 60, 50), ("plain", 3, 1), ("annealed", 6, 2)]
)
def test_an_interval_of_95_percent_holds_the_expected_evidence_in_95_percent_of_runs(method, values, latent_dim):
    """Each run draws images of its own; 200 runs of a true 95 % leave 90 to 99 % with probability 0.002, and a narrower 1.96 at 50."""
    oracle = LinearGaussian.orthogonal(values, latent_dim)
    x = oracle.sample(RUNS * IMAGES).reshape(-1, values, 1, 1)
    share = share_that_holds(estimate(method, oracle.vae(widen=1.1, shift=0.05), x), oracle.expected_evidence())
    assert 0.9 <= share <= 0.99


def test_the_error_over_images_does_not_cover_what_too_few_samples_miss():
    oracle = LinearGaussian.orthogonal(60, 50)
    x = oracle.sample(RUNS * IMAGES).reshape(-1, 60, 1, 1)
    assert share_that_holds(log_weights(oracle.vae(), x, samples=10, proposal="prior").log_likelihood, oracle.expected_evidence()) == 0
