"""Claims about every posterior and every prior."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from vae_tf.errors import ConfigError
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS

tfd = tfp.distributions
every_posterior = pytest.mark.parametrize("make", POSTERIORS.values(), ids=POSTERIORS)
every_prior = pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS)


@every_posterior
def test_features_become_a_distribution_over_latents(make):
    q = make(3)(tf.ones([5, 4]))
    assert isinstance(q, tfd.Distribution)
    assert q.batch_shape == [5]
    assert q.event_shape == [3]


@every_posterior
def test_as_a_tensor_a_posterior_is_its_mean_so_nothing_is_drawn_unasked(make):
    q = make(3)(tf.random.stateless_normal([5, 4], [0, 0]))
    np.testing.assert_allclose(tf.convert_to_tensor(q), q.mean())


@every_posterior
def test_draws_have_the_stated_log_density(make):
    """E_q[p(z) / q(z)] = 1 for a p inside q's support: draws and log densities belong together."""
    q = make(2)(0.3 * tf.random.stateless_normal([1, 4], [0, 0]))
    z, log_q = q.experimental_sample_and_log_prob(50_000, seed=(1, 2))
    np.testing.assert_allclose(log_q, q.log_prob(z), rtol=1e-4, atol=1e-4)
    narrow = tfd.MultivariateNormalDiag(q.mean(), 0.5 * q.stddev())
    assert np.mean(np.exp(narrow.log_prob(z) - log_q)) == pytest.approx(1, abs=0.05)


@every_posterior
def test_gradients_reach_every_weight_of_the_posterior(make):
    posterior = make(3)
    with tf.GradientTape() as tape:
        z, log_q = posterior(tf.ones([2, 4])).experimental_sample_and_log_prob(1, seed=(0, 0))
        loss = tf.reduce_sum(z) + tf.reduce_sum(log_q)
    assert all(gradient is not None for gradient in tape.gradient(loss, posterior.trainable_variables))


def test_full_normal_has_correlated_coordinates():
    covariance = POSTERIORS["full-normal"](3)(tf.random.stateless_normal([1, 4], [0, 0])).covariance()[0].numpy()
    assert np.all(np.abs(covariance[~np.eye(3, dtype=bool)]) > 1e-3)


@every_posterior
def test_refuses_no_latents(make):
    with pytest.raises(ConfigError, match="`latent_dim` must be at least 1, got 0"):
        make(0)


@every_prior
def test_noise_becomes_draws_of_the_prior(make):
    prior = make(2)
    z = prior.from_noise(tf.random.stateless_normal([5000, prior.noise_dim], [0, 1])).numpy()
    assert z.shape == (5000, 2)
    # One-dimensional projections are compared with draws weighted by the stated density on a grid.
    axis, step = np.linspace(-8, 8, 401, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).astype("f4")
    density = np.exp(prior.log_prob(tf.constant(grid)))
    assert density.sum() * step**2 == pytest.approx(1, abs=1e-3)
    for d in range(2):
        cdf = np.cumsum(density.sum(1 - d)) * step**2
        assert stats.kstest(z[:, d], lambda v, cdf=cdf: np.interp(v, axis + step / 2, cdf)).pvalue > 1e-3
