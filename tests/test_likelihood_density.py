"""Claims about likelihoods of grey values as real numbers: they are the named densities, in float32 too."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from vae_tf.likelihood import Bernoulli, Beta, ContinuousBernoulli, Laplace, NormalPixelScale

LOGITS = np.float32([-300, -40, -17, -5, -1.001, -0.999, -0.3, -1e-2, -1e-4, -1e-8, 0, 1e-8, 1e-3, 0.27, 0.9999, 2, 10, 17, 90, 300])
NOISE = np.float32([2.0**-24, 1e-4, 0.3, 0.5, 0.75, 0.9999, 1 - 2.0**-24])


def one_value(cls, *parameters, **options):
    """The distribution of single values, a batch of them."""
    stacked = np.stack(np.broadcast_arrays(*parameters), -1).astype("f4").reshape(-1, 1, 1, len(parameters))
    likelihood = cls((1, 1, 1), **options)
    return likelihood, likelihood.make_distribution(tf.constant(stacked))


def flat(x):
    return np.asarray(x, "f4").reshape(-1, 1, 1, 1)


def exponential(logit):
    """The continuous Bernoulli of a negative logit: an exponential distribution cut off at 1."""
    return stats.truncexpon(b=abs(float(logit)), scale=1 / abs(float(logit)))


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_is_a_truncated_exponential_at_every_logit(logit):
    x = np.float32([0, 1e-3, 0.3, 0.5, 1])
    likelihood, px = one_value(ContinuousBernoulli, np.full(len(x), logit))
    draws = likelihood.draw(one_value(ContinuousBernoulli, np.full(len(NOISE), logit))[1], tf.constant(flat(NOISE))).numpy().ravel()
    if abs(logit) < 1e-6:
        expected, mean, quantile = np.zeros(len(x)), 0.5, NOISE.astype("f8")
    else:
        truncated = exponential(logit)
        mirror = logit > 0
        expected = truncated.logpdf(np.clip(1 - x if mirror else x, *truncated.support()))
        mean = 1 - truncated.mean() if mirror else truncated.mean()
        # scipy's own quantiles lose digits near 1: log((1 - u) + u exp(-|s|)), written out
        u, size = (1 - NOISE.astype("f8") if mirror else NOISE.astype("f8")), abs(float(logit))
        below = -np.log1p(u * np.expm1(-size)) / size
        quantile = 1 - below if mirror else below
    np.testing.assert_allclose(px.log_prob(flat(x)), expected, rtol=1e-6, atol=1e-6)
    assert float(px.mean()[0, 0, 0, 0]) == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(draws, quantile, atol=2e-6)
    assert np.all((draws >= 0) & (draws <= 1))


def test_gradients_of_the_continuous_bernoulli_are_x_minus_the_mean():
    logits = tf.constant(LOGITS.reshape(-1, 1, 1, 1))
    for x in (0.0, 0.3, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            px = ContinuousBernoulli((1, 1, 1)).make_distribution(logits)
            log_prob = px.log_prob(np.full((1, 1, 1, 1), x, "f4"))
        np.testing.assert_allclose(tape.gradient(log_prob, logits), x - px.mean(), atol=1e-5)


def test_laplace_agrees_with_scipy():
    loc, x = np.float32([-0.2, 0.3, 0.9]), np.float32([0.0, 0.3, 0.4])
    likelihood, px = one_value(Laplace, loc, scale=0.07)
    np.testing.assert_allclose(px.log_prob(flat(x)), stats.laplace(loc, 0.07).logpdf(x), rtol=1e-5)
    u = np.float32([1e-4, 0.5, 0.999])
    np.testing.assert_allclose(likelihood.draw(px, tf.constant(flat(u))).numpy().ravel(), stats.laplace(loc, 0.07).ppf(u), rtol=1e-4)


def test_normal_agrees_with_scipy():
    loc, raw, x = np.float32([-0.2, 0.3, 0.9]), np.float32([-3, 0, 1]), np.float32([0.0, 0.3, 0.4])
    _, px = one_value(NormalPixelScale, loc, raw)
    np.testing.assert_allclose(px.log_prob(flat(x)), stats.norm(loc, 0.01 + np.log1p(np.exp(raw))).logpdf(x), rtol=1e-5)


@pytest.mark.parametrize("raw", [-30.0, 0.0, 3.0, 30.0])
def test_beta_agrees_with_scipy_also_at_black_and_white(raw):
    margin, most = 0.5 / 255, 1000.0
    logits, x = np.float32([-9, -2, 0, 0.4, 5, 9]), np.float32([0, 0.1, 0.5, 0.6, 1, 1])
    likelihood, px = one_value(Beta, logits, raw)
    mean = (1 / (1 + np.exp(-logits.astype("f8"))) + margin) / (1 + 2 * margin)
    concentration = 1 + (most - 1) / (1 + (most - 1) * np.exp(-raw))
    expected = stats.beta(mean * concentration, (1 - mean) * concentration, loc=-margin, scale=1 + 2 * margin)
    np.testing.assert_allclose(px.log_prob(flat(x)), expected.logpdf(x.astype("f8")), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(px.mean().numpy().ravel(), 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_allclose(px.stddev().numpy().ravel(), expected.std(), rtol=1e-4)
    u = np.float32([0.3, 0.01, 0.5, 0.9, 0.999, 0.2])
    np.testing.assert_allclose(likelihood.draw(px, tf.constant(flat(u))).numpy().ravel(), expected.ppf(u.astype("f8")), atol=1e-4)


@pytest.mark.parametrize("u", [2.0**-20, 0.25, 0.5 - 2.0**-25, 0.5, 0.5 + 2.0**-24, 0.75, 1 - 2.0**-20, 1 - 2.0**-24])
def test_beta_draws_are_quantiles_for_any_noise(u):
    logits, raw = np.random.default_rng(0).normal(size=(2, 300)).astype("f4") * 3
    likelihood, px = one_value(Beta, logits, raw)
    beta = px.distribution.distribution
    a, b = (concentration.numpy().astype("f8") for concentration in (beta.concentration1, beta.concentration0))
    expected = stats.beta(a, b, loc=-likelihood.margin, scale=1 + 2 * likelihood.margin).ppf(float(np.float32(u)))
    np.testing.assert_allclose(likelihood.draw(px, tf.fill([300, 1, 1, 1], np.float32(u))), expected, atol=1e-3)


def test_the_bernoulli_agrees_with_that_of_tfp_at_every_logit():
    for x in (0.0, 1.0):
        _, px = one_value(Bernoulli, LOGITS)
        expected = tfp.distributions.Bernoulli(logits=LOGITS).log_prob(x)
        np.testing.assert_allclose(px.log_prob(flat(np.full_like(LOGITS, x))), expected, rtol=1e-6, atol=2e-6)
