"""Claims about every likelihood: it is a distribution, its draws follow it, and it refuses what it gives no probability."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from vae_tf.errors import ConfigError, DataError
from vae_tf.likelihood import LIKELIHOODS, Bernoulli, Binomial, Normal, NormalLearnedScale, NormalPixelScale

SHAPE = (2, 1, 1)
MAKE = {
    "bernoulli": lambda shape: Bernoulli(shape),
    "binomial": lambda shape: Binomial(shape, levels=4),
    "normal": lambda shape: Normal(shape, scale=0.3),
    "normal-learned-scale": lambda shape: NormalLearnedScale(shape),
    "normal-pixel-scale": lambda shape: NormalPixelScale(shape),
}
GRID = {"bernoulli": 2, "binomial": 4}
every = pytest.mark.parametrize("name", LIKELIHOODS)


def parameters(likelihood, rows=1, scale=1.0):
    size = SHAPE[-1] * likelihood.params_per_value
    return tf.constant(scale * np.random.default_rng(3).normal(size=(rows, *SHAPE[:2], size)), tf.float32)


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


@every
def test_probabilities_sum_or_densities_integrate_to_one(name):
    likelihood = MAKE[name](SHAPE)
    px = likelihood.make_distribution(parameters(likelihood))
    if likelihood.discrete:
        grid = np.linspace(0, 1, GRID[name])
        x = np.array(list(product(grid, grid)), np.float32).reshape(-1, *SHAPE)
        total = np.exp(px.log_prob(x)).sum()
    else:
        axis, step = np.linspace(-8, 9, 601, retstep=True)
        x = np.array(list(product(axis, axis)), np.float32).reshape(-1, *SHAPE)
        total = np.exp(px.log_prob(x)).sum() * step**2
    assert total == pytest.approx(1, abs=1e-3)


@every
def test_the_mean_is_the_average_of_draws_and_draws_follow_the_log_probability(name):
    likelihood = MAKE[name](SHAPE)
    px = likelihood.make_distribution(parameters(likelihood))
    uniform = np.random.default_rng(0).uniform(1e-6, 1 - 1e-6, (20_000, *SHAPE)).astype(np.float32)
    x = likelihood.draw(px, tf.constant(uniform)).numpy()
    np.testing.assert_allclose(x.mean(0), px.mean()[0], atol=0.03)
    # E[-log p(x)] over draws and over the distribution's own sampler are two estimates of one entropy.
    own = px.sample(20_000, seed=(1, 2))
    first, second = -px.log_prob(x), -px.log_prob(own)
    error = np.sqrt(np.var(first) / len(x) + np.var(second) / len(x))
    assert abs(np.mean(first) - np.mean(second)) < 5 * error


@every
def test_a_draw_is_a_function_of_its_noise_that_never_falls(name):
    likelihood = MAKE[name](SHAPE)
    px = likelihood.make_distribution(tf.repeat(parameters(likelihood), 99, 0))
    uniform = np.broadcast_to(np.linspace(0.01, 0.99, 99, dtype=np.float32)[:, None, None, None], (99, *SHAPE))
    x = likelihood.draw(px, tf.constant(uniform)).numpy()
    assert np.all(np.diff(x, axis=0) >= 0)
    assert np.all(x[0] < x[-1])


@every
def test_gradients_reach_every_weight(name):
    likelihood = MAKE[name](SHAPE)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(likelihood(tf.ones([3, 4])).log_prob(tf.zeros([3, *SHAPE])))
    gradients = tape.gradient(loss, likelihood.trainable_variables)
    assert len(gradients) >= 2
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("levels", [17, 256])
def test_binomial_agrees_with_scipy(levels):
    logits, n = 0.7, levels - 1
    px = Binomial((1, 1, 1), levels=levels).make_distribution(tf.fill([1, 1, 1, 1], logits))
    k = np.arange(levels)
    expected = stats.binom.logpmf(k, n, 1 / (1 + np.exp(-logits)))
    log_prob = px.log_prob((k / n).astype("f4").reshape(-1, 1, 1, 1)).numpy()
    np.testing.assert_allclose(log_prob, expected, atol=1e-4)
    assert np.exp(log_prob.astype("f8")).sum() == pytest.approx(1, abs=5e-6)


def test_binomial_of_two_levels_is_bernoulli():
    logits, x = tf.constant([[[[-1.3]], [[0.4]]]]), np.float32([[[[1.0]], [[0.0]]]])
    pair = Binomial(SHAPE, levels=2).make_distribution(logits).log_prob(x), Bernoulli(SHAPE).make_distribution(logits).log_prob(x)
    np.testing.assert_allclose(*pair, rtol=1e-6)


def test_squared_error_is_the_normal_with_a_fixed_scale():
    loc, x, scale = np.float32([[[[0.2]], [[0.9]]]]), np.float32([[[[0.5]], [[0.1]]]]), 0.3
    log_prob = float(Normal(SHAPE, scale=scale).make_distribution(tf.constant(loc)).log_prob(x)[0])
    constant = -x.size * np.log(scale * np.sqrt(2 * np.pi))
    assert log_prob == pytest.approx(constant - np.sum((x - loc) ** 2) / (2 * scale**2), rel=1e-5)


def test_the_learned_scale_starts_where_it_is_told():
    likelihood = NormalLearnedScale(SHAPE, initial_scale=0.4)
    stddev = likelihood.make_distribution(parameters(likelihood)).stddev()
    np.testing.assert_allclose(stddev, np.full([1, *SHAPE], 0.4), rtol=1e-5)


def test_the_learned_scale_finds_the_scale_of_the_data():
    likelihood = NormalLearnedScale(SHAPE)
    x = 0.5 + 0.2 * np.random.default_rng(0).normal(size=(2000, *SHAPE)).astype("f4")
    optimizer = tf.keras.optimizers.Adam(0.05)
    optimizer.build([likelihood.log_excess])
    for _ in range(150):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(likelihood.make_distribution(tf.fill([2000, *SHAPE], 0.5)).log_prob(x))
        optimizer.apply_gradients([(tape.gradient(loss, likelihood.log_excess), likelihood.log_excess)])
    assert float(likelihood.min_scale + tf.exp(likelihood.log_excess)) == pytest.approx(0.2, rel=0.05)


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
        (lambda: Binomial(SHAPE, levels=None), "`levels` must be at least 2"),
        (lambda: Binomial(SHAPE, levels=1), "`levels` must be at least 2"),
    ],
)
def test_refuses_options(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("likelihood", "x", "message"),
    [
        (Bernoulli(SHAPE), np.full((3, *SHAPE), 0.5), "only 0 and 1 for a Bernoulli"),
        (Binomial(SHAPE, levels=4), np.full((3, *SHAPE), 0.5), "multiples of 1/3"),
        (Normal(SHAPE), np.full((3, *SHAPE), np.nan), "finite"),
        (Normal(SHAPE), np.full((3, *SHAPE), 255.0), r"lie in \[0, 1\], got \[255, 255\]; divide"),
        (Normal(SHAPE), np.zeros((3, 2, 1)), r"shape \[N, 2, 1, 1\], got \[3, 2, 1\]"),
        (Normal(SHAPE), np.zeros((3, 1, 2, 1)), r"shape \[N, 2, 1, 1\]"),
    ],
)
def test_refuses_images_it_gives_no_probability(likelihood, x, message):
    with pytest.raises(DataError, match=message):
        likelihood.check(x)
