"""Claims about every likelihood: it is a distribution, its draws follow it, and it refuses what it gives no probability."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from vae_tf.errors import ConfigError, DataError
from vae_tf.likelihood import (
    LIKELIHOODS,
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Laplace,
    LaplaceLearnedScale,
    Normal,
    NormalLearnedScale,
    NormalPixelScale,
)

SHAPE = (2, 1, 1)
LEVELS = 4
MAKE = {
    "bernoulli": lambda shape: Bernoulli(shape),
    "beta": lambda shape: Beta(shape, margin=0.1),
    "binomial": lambda shape: Binomial(shape, levels=LEVELS),
    "categorical": lambda shape: Categorical(shape, levels=LEVELS),
    "continuous-bernoulli": lambda shape: ContinuousBernoulli(shape),
    "discretized-logistic": lambda shape: DiscretizedLogistic(shape, levels=LEVELS),
    "discretized-logistic-mixture": lambda shape: DiscretizedLogisticMixture(shape, levels=LEVELS, components=3),
    "laplace": lambda shape: Laplace(shape, scale=0.3),
    "laplace-learned-scale": lambda shape: LaplaceLearnedScale(shape),
    "normal": lambda shape: Normal(shape, scale=0.3),
    "normal-learned-scale": lambda shape: NormalLearnedScale(shape),
    "normal-pixel-scale": lambda shape: NormalPixelScale(shape),
}
# How far the mean may be from the exact one, where it is not exact: half a grey level.
MEAN_ERROR = dict.fromkeys(["discretized-logistic", "discretized-logistic-mixture"], 0.5 / (LEVELS - 1))
SUPPORT = {"beta": (-0.1, 1.1), "continuous-bernoulli": (0, 1)}
QUADRATURE_ERROR = {"beta": 0.005}  # float32 can not come close to the ends, where the density may be infinite
every = pytest.mark.parametrize("name", LIKELIHOODS)


def parameters(likelihood, rows=1, scale=1.0):
    height, width, _ = likelihood.image_shape
    return tf.constant(scale * np.random.default_rng(3).normal(size=(rows, height, width, likelihood.params_per_pixel)), tf.float32)


def noise(rows, shape, seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(1e-6, 1 - 1e-6, (rows, *shape)), tf.float32)


def levels_of(likelihood):
    return getattr(likelihood, "levels", 2 if likelihood.discrete else 5)


def values(likelihood, rows, seed=0):
    """Images that the likelihood may see."""
    levels = levels_of(likelihood)
    return np.float32(np.random.default_rng(seed).integers(0, levels, (rows, *likelihood.image_shape)) / (levels - 1))


def quadrature(name, likelihood):
    """Nodes and weights on the axis of one value."""
    if likelihood.discrete:
        return np.linspace(0, 1, levels_of(likelihood)), np.ones(levels_of(likelihood))
    if name not in SUPPORT:
        axis, step = np.linspace(-8, 9, 1201, retstep=True)
        return axis, np.full(len(axis), step)
    low, high = SUPPORT[name]
    t, weight = np.polynomial.legendre.leggauss(200)
    t, weight = (t + 1) / 2, weight / 2
    # x = low + (high - low) (3 t^2 - 2 t^3), whose derivative takes the ends' singularities away.
    x = low + (high - low) * (3 - 2 * t) * t**2
    return np.clip(x, low + 1e-6 * (low < 0), high - 1e-6 * (high > 1)), (high - low) * 6 * t * (1 - t) * weight


def test_every_likelihood_is_tested():
    assert set(MAKE) == set(LIKELIHOODS)


@every
def test_features_of_a_dense_and_of_a_convolutional_decoder_give_images(name):
    for features in (tf.ones([3, 4]), tf.ones([3, 6, 5, 4])):
        likelihood = MAKE[name]((6, 5, 3))
        px = likelihood(features)
        assert px.batch_shape == [3]
        assert px.event_shape == [6, 5, 3]
        assert px.mean().shape == [3, 6, 5, 3]
        assert px.sample(2, seed=(1, 2)).shape == [2, 3, 6, 5, 3]


@every
def test_probabilities_sum_or_densities_integrate_to_one(name):
    likelihood = MAKE[name](SHAPE)
    px = likelihood.make_distribution(parameters(likelihood, scale=0.5))
    nodes, weights = quadrature(name, likelihood)
    x = np.array(list(product(nodes, nodes)), np.float32).reshape(-1, *SHAPE)
    total = np.sum(np.exp(px.log_prob(x)) * np.outer(weights, weights).ravel())
    assert total == pytest.approx(1, abs=1e-5 if likelihood.discrete else QUADRATURE_ERROR.get(name, 1e-3))


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_the_mean_is_the_average_of_draws_and_draws_follow_the_log_probability(name, channels):
    likelihood = MAKE[name]((2, 1, channels))
    px = likelihood.make_distribution(parameters(likelihood))
    x = likelihood.draw(px, noise(20_000, likelihood.image_shape)).numpy()
    assert np.all(np.abs(x.mean(0) - px.mean()[0]) < 5 * x.std(0) / np.sqrt(len(x)) + MEAN_ERROR.get(name, 0) + 1e-4)
    # E[f(log p(x))] over draws and over the distribution's own sampler are two estimates of one number; f bounds infinite densities.
    own = px.sample(20_000, seed=(1, 2))
    first, second = np.tanh(px.log_prob(x) / 10), np.tanh(px.log_prob(own) / 10)
    error = np.sqrt(np.var(first) / len(x) + np.var(second) / len(x))
    assert abs(np.mean(first) - np.mean(second)) < 5 * error


@every
def test_a_draw_is_a_function_of_its_noise_that_never_falls(name):
    likelihood = MAKE[name](SHAPE)
    px = likelihood.make_distribution(tf.repeat(parameters(likelihood, scale=0.3), 99, 0))
    uniform = np.broadcast_to(np.linspace(0.01, 0.99, 99, dtype=np.float32)[:, None, None, None], (99, *SHAPE))
    x = likelihood.draw(px, tf.constant(uniform)).numpy()
    assert np.all(np.diff(x, axis=0) >= -1e-6)  # but for rounding
    assert np.all(x[0] < x[-1])


@every
def test_log_densities_of_many_latents_are_those_of_each(name):
    """One image against S latents, p(x | z) of batch [S, B], as objectives ask."""
    likelihood = MAKE[name]((2, 1, 3))
    features, x = tf.constant(np.random.default_rng(0).normal(size=(6, 4)), tf.float32), values(likelihood, 2)
    together = likelihood(features, batch_shape=tf.constant([3, 2])).log_prob(x)
    each = likelihood(features).log_prob(np.tile(x, (3, 1, 1, 1)))
    np.testing.assert_allclose(together, tf.reshape(each, [3, 2]), rtol=1e-5)


@every
def test_gradients_reach_every_weight(name):
    likelihood = MAKE[name](SHAPE)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(likelihood(tf.ones([3, 4])).log_prob(tf.zeros([3, *SHAPE])))
    gradients = tape.gradient(loss, likelihood.trainable_variables)
    assert len(gradients) >= 2
    assert all(gradient is not None for gradient in gradients)


@every
def test_the_log_density_depends_on_every_parameter(name):
    likelihood = MAKE[name]((2, 1, 3))
    given = parameters(likelihood, rows=4)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = tf.reduce_sum(likelihood.make_distribution(given).log_prob(values(likelihood, 4)))
    assert np.all(np.any(tape.gradient(loss, given) != 0, axis=0))


@every
@pytest.mark.parametrize("size", [30.0, 1e4])
def test_log_densities_and_their_gradients_are_finite_however_extreme(name, size):
    likelihood = MAKE[name]((2, 1, 3))
    given = size * tf.sign(parameters(likelihood, rows=200))
    given = tf.constant(np.random.default_rng(1).permuted(given, axis=0))
    for x in (np.zeros((2, 1, 3), "f4"), np.ones((2, 1, 3), "f4"), values(likelihood, 200)):
        with tf.GradientTape() as tape:
            tape.watch(given)
            px = likelihood.make_distribution(given)
            log_prob = px.log_prob(x)
        assert np.isfinite(log_prob).all()
        assert np.isfinite(tape.gradient(log_prob, given)).all()
        assert np.isfinite(px.mean()).all()
        assert np.isfinite(likelihood.draw(px, noise(200, (2, 1, 3)))).all()


@every
def test_eager_graph_and_xla_give_the_same_numbers(name):
    likelihood = MAKE[name]((2, 1, 3))
    x, uniform = values(likelihood, 5), noise(5, (2, 1, 3))

    def run(parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            px = likelihood.make_distribution(parameters)
            log_prob = px.log_prob(x)
        return log_prob, tape.gradient(log_prob, parameters), px.mean(), likelihood.draw(px, uniform)

    given = parameters(likelihood, rows=5)
    for other in (tf.function(run), tf.function(run, jit_compile=True)):
        for first, second in zip(run(given), other(given)):
            np.testing.assert_allclose(first, second, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(SHAPE, scale=0.0), "`scale` must be finite and at least 1e-06, got 0"),
        (lambda: NormalPixelScale(SHAPE, min_scale=-1.0), "`min_scale` must be finite and at least 1e-06, got -1"),
        (lambda: NormalLearnedScale(SHAPE, initial_scale=0.001), "`initial_scale` must be finite and above `min_scale`=0.01"),
        (lambda: Normal(SHAPE, scale=np.nan), "`scale` must be finite and at least 1e-06, got nan"),
        (lambda: NormalLearnedScale(SHAPE, initial_scale=np.inf), "`initial_scale` must be finite and above"),
        (lambda: Bernoulli((6, 5)), r"`image_shape` must be .height, width, channels., each at least 1, got .6, 5."),
        (lambda: Bernoulli((0, 5, 1)), "`image_shape` must be"),
        (lambda: Laplace(SHAPE, scale=-1.0), "`scale` must be finite and at least 1e-06, got -1"),
        (lambda: LaplaceLearnedScale(SHAPE, initial_scale=0.001), "`initial_scale` must be finite and above `min_scale`=0.01"),
        (lambda: Beta(SHAPE, margin=0.0), "`margin` must be from 1e-6 to 0.5, got 0; half a grey level"),
        (lambda: Beta(SHAPE, margin=np.nan), "`margin` must be from 1e-6 to 0.5, got nan"),
        (lambda: Beta(SHAPE, max_concentration=1.0), "`max_concentration` must be from 2 to 10,000, got 1; try 1000"),
        (lambda: Beta(SHAPE, max_concentration=np.inf), "`max_concentration` must be from 2 to 10,000, got inf"),
        (lambda: Binomial(SHAPE, levels=None), "`levels` must be at least 2 for a likelihood of grey levels, got None; images of real"),
        (lambda: Binomial(SHAPE, levels=1), "`levels` must be at least 2"),
        (lambda: Categorical(SHAPE, levels=None), "`levels` must be at least 2"),
        (
            lambda: Categorical((64, 64, 3), levels=256),
            "must be at most 1,048,576 for a categorical likelihood, got 3,145,728; choose",
        ),
        (lambda: DiscretizedLogistic(SHAPE, levels=None), "`levels` must be at least 2"),
        (lambda: DiscretizedLogisticMixture(SHAPE, levels=1), "`levels` must be at least 2"),
        (lambda: DiscretizedLogisticMixture(SHAPE, levels=4, components=0), "`components` must be at least 1, got 0; the source has"),
    ],
)
def test_refuses_options(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("likelihood", "x", "message"),
    [
        (Bernoulli(SHAPE), np.full((3, *SHAPE), 0.5), "only 0 and 1 for a Bernoulli"),
        (Binomial(SHAPE, levels=4), np.full((3, *SHAPE), 0.5), "multiples of 1/3 for a likelihood of 4 grey levels, got values between"),
        (Categorical(SHAPE, levels=4), np.full((3, *SHAPE), 0.5), "multiples of 1/3"),
        (DiscretizedLogistic(SHAPE, levels=4), np.full((3, *SHAPE), 0.5), "multiples of 1/3"),
        (DiscretizedLogisticMixture(SHAPE, levels=256), np.full((3, *SHAPE), 0.5), "multiples of 1/255"),
        (Normal(SHAPE), np.full((3, *SHAPE), np.nan), "finite"),
        (ContinuousBernoulli(SHAPE), np.full((3, *SHAPE), 1.5), r"lie in \[0, 1\]"),
        (Laplace(SHAPE), np.full((3, *SHAPE), -0.5), r"lie in \[0, 1\]"),
        (Beta(SHAPE), np.full((3, *SHAPE), 1.01), r"lie in \[0, 1\]"),
        (Normal(SHAPE), np.full((3, *SHAPE), 255.0), r"lie in \[0, 1\], got \[255, 255\]; divide"),
        (Normal(SHAPE), np.zeros((3, 2, 1)), r"shape \[N, 2, 1, 1\], got \[3, 2, 1\]"),
        (Normal(SHAPE), np.zeros((3, 1, 2, 1)), r"shape \[N, 2, 1, 1\]"),
        (Normal(SHAPE), np.zeros((0, *SHAPE)), "at least one image"),
    ],
)
def test_refuses_images_it_gives_no_probability(likelihood, x, message):
    with pytest.raises(DataError, match=message):
        likelihood.check(x)


@every
def test_accepts_what_it_draws(name):
    """Draws in [0, 1] are images that the likelihood takes back."""
    likelihood = MAKE[name](SHAPE)
    px = likelihood.make_distribution(parameters(likelihood))
    x = likelihood.draw(px, noise(50, SHAPE)).numpy()
    likelihood.check(x if likelihood.discrete else np.clip(x, 0, 1))
