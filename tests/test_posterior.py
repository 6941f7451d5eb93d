"""Claims about every posterior: it is a distribution, its draws follow it, and it is a function of noise."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras
from pieces import OPTIONS
from scipy import stats

from vae_tf.errors import ConfigError
from vae_tf.posterior import POSTERIORS, Ladder, ParametricPosterior
from vae_tf.prior import StandardNormal, TopDown

tfd = tfp.distributions
every_posterior = pytest.mark.parametrize("name", POSTERIORS)
PARAMETRIC = [name for name, kind in POSTERIORS.items() if issubclass(kind, ParametricPosterior)]
every_parametric = pytest.mark.parametrize("name", PARAMETRIC)
FEATURES = tf.random.stateless_normal([5, 4], [0, 0])


def make(name, dims=(1, 2)):
    """A posterior over layers of these sizes, or over as many coordinates in one; its weights are far from where training starts."""
    keras.utils.set_random_seed(0)
    kind, options = POSTERIORS[name], OPTIONS["posterior"][name]
    if issubclass(kind, ParametricPosterior):
        posterior = kind(sum(dims), **options)
    elif kind is Ladder:
        prior = TopDown(dims, StandardNormal(dims[0]), hidden=(4,))
        posterior = kind(dims, prior.conditional, **options)
    else:
        posterior = kind(dims, **options)
    posterior(FEATURES).experimental_sample_and_log_prob(1, seed=(0, 0))
    rng = np.random.default_rng(1)
    for variable in posterior.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return posterior


@every_posterior
def test_features_become_a_distribution_over_latents(name):
    q = make(name)(FEATURES)
    assert isinstance(q, tfd.Distribution)
    assert q.batch_shape == [5]
    assert q.event_shape == [3]
    assert q.sample(2, seed=(0, 0)).shape == [2, 5, 3]
    assert q.mean().shape == q.stddev().shape == [5, 3]


@every_parametric
def test_as_a_tensor_a_posterior_is_its_mean_so_nothing_is_drawn_unasked(name):
    q = make(name)(FEATURES)
    np.testing.assert_allclose(tf.convert_to_tensor(q), q.mean(), rtol=1e-6)


@every_posterior
def test_mean_and_standard_deviation_are_those_of_draws(name):
    q = make(name)(FEATURES[:1])
    z = q.sample(50_000, seed=(3, 4)).numpy()
    tolerance = 3 * z.std(0).max() / np.sqrt(128)  # of the fixed draws, where there is no closed form
    np.testing.assert_allclose(q.mean(), z.mean(0), atol=tolerance)
    np.testing.assert_allclose(q.stddev(), z.std(0), atol=tolerance)


@every_posterior
def test_draws_come_with_their_log_density(name):
    q = make(name)(FEATURES)
    z, log_q = q.experimental_sample_and_log_prob(100, seed=(1, 2))
    np.testing.assert_allclose(log_q, q.log_prob(tf.identity(z)), rtol=1e-3, atol=2e-3)


@every_posterior
def test_the_density_integrates_to_one_and_draws_follow_it(name):
    """Over the plane, and over random half-planes, of which draws must hold as large a share."""
    q = make(name, dims=(1, 1))(FEATURES[:1])
    z = q.sample(20_000, seed=(1, 2))[:, 0].numpy()
    axes = [np.linspace(*np.quantile(z[:, d], (0.5, 0.5)) + np.array([-14, 14]) * z[:, d].std(), 1201) for d in range(2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2).astype("f4")
    density = np.exp(q.log_prob(grid[:, None])[:, 0].numpy().astype("f8")) * np.prod([axis[1] - axis[0] for axis in axes])
    assert density.sum() == pytest.approx(1, abs=5e-3)
    rng = np.random.default_rng(0)
    for direction in rng.normal(size=(8, 2)) / z.std(0):
        at = np.quantile(z @ direction, rng.uniform(0.2, 0.8))
        assert density[grid @ direction < at].sum() == pytest.approx(np.mean(z @ direction < at), abs=0.02)


@every_posterior
def test_parts_of_the_log_density_add_up(name):
    posterior = make(name)
    q = posterior(FEATURES)
    z = q.sample(2, seed=(1, 2))
    parts = posterior.terms(q, z)
    np.testing.assert_allclose(sum(tf.reduce_sum(part, -1) for part in parts), q.log_prob(z), rtol=1e-3, atol=1e-3)
    if "kl_terms" not in posterior.lacks:
        assert sum(part.shape[-1] for part in parts) == posterior.latent_dim


@every_parametric
def test_from_noise_draws_from_the_posterior(name):
    posterior = make(name, dims=(1, 1))
    parameters = posterior.parameters(FEATURES[:1])
    eps = np.random.default_rng(0).standard_normal((5000, 1, posterior.noise_dim)).astype("f4")
    pushed = posterior.from_noise(tf.repeat(parameters[None], 5000, 0), eps)[:, 0].numpy()
    drawn = posterior(FEATURES[:1]).sample(5000, seed=(5, 6))[:, 0].numpy()
    for direction in ([1, 0], [0, 1], [1, 1], [1, -1]):
        assert stats.ks_2samp(pushed @ direction, drawn @ direction).pvalue > 1e-3


@every_posterior
def test_draws_carry_gradients_to_every_weight(name):
    posterior = make(name)
    with tf.GradientTape() as tape:
        z, log_q = posterior(FEATURES).experimental_sample_and_log_prob(2, seed=(0, 0))
        loss = tf.reduce_sum(z**2) + tf.reduce_sum(log_q)
    for gradient, variable in zip(tape.gradient(loss, posterior.trainable_variables), posterior.trainable_variables):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all()


def test_full_normal_has_correlated_coordinates():
    covariance = make("full-normal")(FEATURES[:1]).covariance()[0].numpy()
    assert np.all(np.abs(covariance[~np.eye(3, dtype=bool)]) > 1e-3)


def test_the_gradient_of_mixture_draws_is_that_of_the_expectation():
    """d/dtheta E_q[|z|^2] by draws is the derivative of the closed form, weights of the components included."""
    posterior = make("mixture", dims=(1, 1))
    parameters = tf.Variable(posterior.parameters(FEATURES[:1]))
    with tf.GradientTape(persistent=True) as tape:
        q = posterior.make_distribution(parameters)
        by_draws = tf.reduce_mean(tf.reduce_sum(q.sample(200_000, seed=(1, 1)) ** 2, -1))
        exact = tf.reduce_sum(tf.square(q.mean()) + tf.square(q.stddev()))
    np.testing.assert_allclose(tape.gradient(by_draws, parameters), tape.gradient(exact, parameters), atol=0.05)


def test_a_ladder_adds_the_precisions_of_images_and_prior():
    posterior = make("ladder", dims=(1, 1))
    above = tf.constant([[0.7]])
    seen = posterior.levels(FEATURES[:1])[1]
    loc, scale = posterior.level(1, seen, above)
    loc_p, scale_p = posterior.conditional(1, above)
    raw_loc, raw_scale = tf.split(posterior.heads[0](seen), 2, -1)
    scale_x = 1e-5 + np.log1p(np.exp(raw_scale.numpy()))
    precisions = [scale_x**-2.0, scale_p.numpy() ** -2.0]
    np.testing.assert_allclose(scale.numpy() ** -2.0, sum(precisions), rtol=1e-4)
    np.testing.assert_allclose(loc, (precisions[0] * raw_loc + precisions[1] * loc_p) / sum(precisions), rtol=1e-4)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        *((lambda name=name: POSTERIORS[name](0), "`latent_dim` must be at least 1, got 0") for name in ("diagonal-normal", "mixture")),
        (lambda: POSTERIORS["mixture"](3, components=0), "`components` must be from 1 to 10000, got 0"),
        (lambda: POSTERIORS["coupling-flow"](1), "a coupling flow needs at least 2 coordinates"),
        (lambda: POSTERIORS["iaf"](3, layers=0), "`layers` of a flow must be from 1 to 32, got 0"),
        (lambda: POSTERIORS["iaf"](3, hidden=0), "`hidden` of a flow must be from 1 to 8192, got 0"),
        (lambda: POSTERIORS["hierarchical"]((4,)), r"a posterior of layers needs at least 2 of them, got `latent_dim` \[4\]"),
        (lambda: POSTERIORS["ladder"]((4,), None), "a posterior of layers needs at least 2"),
        (lambda: POSTERIORS["ladder"]((4, 4), None), "this prior has no layers; choose `model.prior=top-down`"),
    ],
)
def test_refuses(attempt, message):
    with pytest.raises(ConfigError, match=message):
        attempt()
