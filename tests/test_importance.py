"""Claims about what importance sampling tells of itself: effective sample size, curve, and parts that are worked on in turn."""

import numpy as np
import pytest
import tensorflow as tf
from oracle import LinearGaussian

from vae_tf.evaluation import log_weights

LOW, HIGH = LinearGaussian.orthogonal(6, 2), LinearGaussian.orthogonal(60, 50)


def images(oracle, count, seed=1):
    return oracle.sample(count, seed).reshape(count, -1, 1, 1)


def chi_square(widen, shift, latent_dim):
    """E_q[(p / q)^2] of normals p = N(0, 1) and q = N(shift, widen^2) in each dimension."""
    inner = 2 * widen**2 - 1
    return (widen**2 / inner**0.5 * np.exp(shift**2 / inner)) ** latent_dim


@pytest.mark.parametrize(
    ("oracle", "widen", "shift"), [(LOW, 1.0, 0.0), (LOW, 1.5, 0.0), (LOW, 1.2, 0.7), (HIGH, 1.0, 0.0), (HIGH, 1.1, 0.0)]
)
def test_the_evidence_and_the_effective_sample_size_are_those_known(oracle, widen, shift):
    """S / E_q[(p / q)^2], in low and high dimension; with the exact posterior all samples count."""
    x, latent_dim = images(oracle, 30), oracle.weights.shape[1]
    weights = log_weights(oracle.vae(widen, shift), x, samples=2000)
    expected = 2000 / chi_square(widen, shift, latent_dim)
    exact = (widen, shift) == (1.0, 0.0)
    assert weights.effective_samples.mean() == pytest.approx(expected, rel=1e-4 if exact else 0.05)
    assert weights.effective_samples.max() <= 2000 * (1 + 1e-9)
    evidence = oracle.evidence(x.reshape(30, -1))
    error = (1 / expected - 1 / 2000) ** 0.5  # of one image, to first order
    np.testing.assert_allclose(weights.log_likelihood, evidence, atol=5 * error + 2e-3)
    assert np.mean(weights.log_likelihood - evidence) == pytest.approx(0, abs=4 * error / 30**0.5 + 1e-3)


def test_plain_monte_carlo_finds_the_evidence_in_low_dimension_and_hardly_a_sample_that_counts_in_high():
    for oracle, most, least in ((LOW, 20_000, 1000), (HIGH, 5, 1)):
        x = images(oracle, 20)
        weights = log_weights(oracle.vae(), x, samples=20_000, proposal="prior")
        assert least <= weights.effective_samples.mean() < most
        error = np.mean(weights.log_likelihood - oracle.evidence(x.reshape(20, -1)))
        assert error == pytest.approx(0, abs=0.05) if oracle is LOW else error < -5


@pytest.mark.parametrize("proposal", ["posterior", "prior"])
def test_all_numbers_are_those_of_the_samples_taken_together(proposal):
    """250 samples are worked on as 100, 100 and 50: no share may weigh more than its samples."""
    vae, x = LOW.vae(widen=0.6, shift=0.3), tf.constant(images(LOW, 20))
    got = log_weights(vae, x.numpy(), samples=250, seed=3, proposal=proposal)
    parts, likelihoods = [], []
    for start, count in ((0, 100), (100, 100), (200, 50)):
        key = tf.random.fold_in(tf.random.fold_in(tf.constant([3, 2]), 0), start)
        if proposal == "posterior":
            z, log_q = vae.encode(x).experimental_sample_and_log_prob(count, seed=key)
            likelihoods.append(vae.decode(z).log_prob(x))
            parts.append(likelihoods[-1] + vae.prior.log_prob(z) - log_q)
        else:
            parts.append(vae.generator(tf.random.stateless_normal([count, 20, 2], key)).log_prob(x))
            likelihoods = parts
    log_w, log_likelihood = (np.concatenate(values).astype("f8") for values in (parts, likelihoods))
    w = np.exp(log_w - log_w.max(0))
    np.testing.assert_allclose(got.log_likelihood, np.log(w.mean(0)) + log_w.max(0), rtol=1e-5)
    np.testing.assert_allclose(got.elbo, log_w.mean(0), rtol=1e-5)
    np.testing.assert_allclose(got.reconstruction, log_likelihood.mean(0), rtol=1e-5)
    np.testing.assert_allclose(got.effective_samples, w.sum(0) ** 2 / (w**2).sum(0), rtol=1e-3)
    assert list(got.curve) == [1, 10, 100, 250]
    for count, values in got.curve.items():
        np.testing.assert_allclose(values, np.log(w[:count].mean(0)) + log_w.max(0), rtol=1e-5)


def test_the_curve_holds_what_fewer_samples_would_have_given():
    vae, x = LOW.vae(widen=1.5), images(LOW, 45)
    whole = log_weights(vae, x, samples=350)
    np.testing.assert_array_equal(whole.curve[350], whole.log_likelihood)
    np.testing.assert_array_equal(whole.curve[100], log_weights(vae, x, samples=100).log_likelihood)


def test_the_curve_rises_to_the_evidence_and_settles():
    x = images(HIGH, 200)
    curve = log_weights(HIGH.vae(widen=0.9), x, samples=1500).curve
    assert list(curve) == [1, 10, 100, 1000, 1500]
    gap = [np.mean(values - HIGH.evidence(x.reshape(200, -1))) for values in curve.values()]
    assert gap == sorted(gap)
    assert gap[0] < -0.3
    assert gap[-1] - gap[-2] < 0.03
    assert gap[-1] == pytest.approx(0, abs=0.05)
