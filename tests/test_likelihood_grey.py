"""Claims about likelihoods of grey levels, at few levels by enumeration and at 256 against other libraries."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import softmax

from vae_tf.likelihood import Bernoulli, Binomial, Categorical, DiscretizedLogistic, DiscretizedLogisticMixture


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
    pair = Binomial((2, 1, 1), levels=2).make_distribution(logits).log_prob(x), Bernoulli((2, 1, 1)).make_distribution(logits).log_prob(x)
    np.testing.assert_allclose(*pair, rtol=1e-6)


@pytest.mark.parametrize("make", [Binomial, Categorical])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_draw_is_the_least_level_whose_distribution_function_reaches_the_noise(make, levels):
    likelihood = make((50, 1, 1), levels=levels)
    given = tf.constant(2 * np.random.default_rng(0).normal(size=(1, 50, 1, likelihood.params_per_pixel)), tf.float32)
    px = likelihood.make_distribution(given)
    p = np.exp(px.distribution.log_prob(np.linspace(0, 1, levels, dtype="f4").reshape(-1, 1, 1, 1)).numpy().astype("f8"))[..., 0, 0]
    below = np.cumsum(p / p.sum(0), 0)
    uniform = np.random.default_rng(1).uniform(1e-6, 1 - 1e-6, (1, 50, 1, 1)).astype("f4")
    k = np.round((levels - 1) * likelihood.draw(px, tf.constant(uniform)).numpy()[0, :, 0, 0]).astype(int)
    u, pixel = uniform[0, :, 0, 0], np.arange(50)
    assert np.all(below[k, pixel] >= u - 1e-5)
    assert np.all(np.where(k > 0, below[k - 1, pixel], 0) <= u + 1e-5)


@pytest.mark.parametrize("u", [2.0**-24, 0.5, 1 - 2.0**-24])
def test_no_noise_draws_a_level_of_probability_zero(u):
    """Sums of probabilities end a rounding error below one; the noise may lie above."""
    logits = np.full((1, 40, 1, 200), -200.0, "f4")
    logits[..., 3:50] = np.random.default_rng(0).normal(size=(1, 40, 1, 47))
    likelihood = Categorical((40, 1, 1), levels=200)
    drawn = 199 * likelihood.draw(likelihood.make_distribution(tf.constant(logits)), tf.fill([1, 40, 1, 1], np.float32(u)))
    assert np.all((drawn > 2.5) & (drawn < 49.5))


def test_a_categorical_is_the_softmax_of_its_logits():
    logits = np.random.default_rng(0).normal(size=(1, 2, 1, 3 * 5)).astype("f4")
    px = Categorical((2, 1, 3), levels=5).make_distribution(tf.constant(logits))
    k = np.random.default_rng(1).integers(0, 5, (2, 1, 3))
    p = softmax(logits.reshape(2, 1, 3, 5).astype("f8"), -1)
    expected = np.log(np.take_along_axis(p, k[..., None], -1)).sum()
    assert float(px.log_prob(np.float32(k / 4)[None])[0]) == pytest.approx(expected, rel=1e-5)
    mean = p @ np.linspace(0, 1, 5)
    np.testing.assert_allclose(px.mean()[0], mean, rtol=1e-5)
    np.testing.assert_allclose(px.stddev()[0] ** 2, p @ np.linspace(0, 1, 5) ** 2 - mean**2, rtol=1e-4)


def logistic(loc, scale, levels=256):
    """The likelihood at one value of given loc and scale, in units of the value range, without its floor on the scale."""
    floor = 1 / (8 * (levels - 1))
    raw = scale - floor + np.log(-np.expm1(floor - scale))
    return DiscretizedLogistic((1, 1, 1), levels=levels).make_distribution(tf.constant([[[[loc, raw]]]], tf.float32))


def on_every_level(levels):
    return np.linspace(0, 1, levels, dtype="f4").reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("loc", [-3.0, 0.0, 0.31, 0.5, 1.2])
@pytest.mark.parametrize("scale", [0.001, 0.02, 0.7])
def test_discretized_logistic_agrees_with_scipy(loc, scale):
    k = np.arange(256)
    latent = stats.logistic(255 * loc, 255 * scale)
    # Upper tails by the survival function: in float64 the difference of distribution functions dies above 1 - 1e-16.
    inside = np.where(k > 255 * loc, latent.sf(k - 0.5) - latent.sf(k + 0.5), latent.cdf(k + 0.5) - latent.cdf(k - 0.5))
    expected = np.where(k == 0, latent.cdf(0.5), np.where(k == 255, latent.sf(254.5), inside))
    log_prob = logistic(loc, scale).log_prob(on_every_level(256)).numpy().astype("f8")
    seen = expected > 1e-280
    np.testing.assert_allclose(log_prob[seen], np.log(expected[seen]), rtol=1e-4, atol=1e-4)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("scale", [0.0005, 0.003, 0.1, 2.0])
@pytest.mark.parametrize("loc", [-0.3, 0.0, 0.413, 1.0])
@pytest.mark.parametrize("levels", [4, 17, 256])
def test_the_mean_of_a_discretized_logistic_is_within_half_a_level(loc, scale, levels):
    scale = scale * 255 / (levels - 1)
    px = logistic(loc, scale, levels)
    exact = np.sum(np.exp(px.log_prob(on_every_level(levels))) * on_every_level(levels).ravel())
    far = 0.5 if scale * (levels - 1) < 1 else 0.03  # much closer once the scale is a level
    assert abs(float(px.mean()[0, 0, 0, 0]) - exact) < far / (levels - 1) + 1e-5


@pytest.mark.parametrize(
    ("loc", "scale", "mean"), [(1e3, 0.5, 1.0), (-1e3, 0.5, 0.0), (0.5, 50.0, 0.5), (0.25, 1e-3, 0.25), (1.0, 0.01, 1 - 0.01 * np.log(2))]
)
def test_the_mean_of_a_discretized_logistic_keeps_its_digits(loc, scale, mean):
    assert float(logistic(loc, scale).mean()[0, 0, 0, 0]) == pytest.approx(mean, abs=5e-6)


def test_levels_of_a_far_tail_still_pull_the_parameters_home():
    """Eighty thousand scales away the gradient is the tail's slope, 1 / scale; a difference of two ones would have none."""
    given = tf.constant([[[[40.0, -20.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(given)
        log_prob = DiscretizedLogistic((1, 1, 1), levels=256).make_distribution(given).log_prob(np.full((1, 1, 1, 1), 100 / 255, "f4"))
    loc_gradient = float(tape.gradient(log_prob, given)[0, 0, 0, 0])
    assert loc_gradient == pytest.approx(-255 * 8, rel=1e-3)


RGB = (1, 1, 3)


def mixture(levels, components=4, rows=1, scale_shift=0.0):
    """The RGB likelihood and its distribution at random parameters; `scale_shift` moves the unconstrained scales."""
    likelihood = DiscretizedLogisticMixture(RGB, levels=levels, components=components)
    given = np.random.default_rng(0).normal(size=(rows, 1, 1, 10, components))
    given[..., 1:4, :] = 0.5 + 0.4 * given[..., 1:4, :]
    given[..., 4:7, :] += scale_shift
    return likelihood, likelihood.make_distribution(tf.constant(given.reshape(rows, 1, 1, -1), tf.float32))


def every_colour(levels):
    return np.array(list(product(np.linspace(0, 1, levels), repeat=3)), "f4")


def tables(px, colours):
    """The definition in float64: weights [N, K], and P(level | component, channels before) of the three channels, [3, N, levels, K]."""
    pixel = px.distribution
    logits, loc, scale, coupling = (
        np.squeeze(tensor.numpy(), (1, 2)).astype("f8") for tensor in (pixel.logits, pixel.loc, pixel.scale, pixel.coupling)
    )
    colours = pixel.top * (colours - 0.5)[..., None]
    red, green = colours[:, 0], colours[:, 1]
    locs = loc[:, 0], loc[:, 1] + coupling[:, 0] * red, loc[:, 2] + coupling[:, 1] * red + coupling[:, 2] * green
    edges = np.array([-np.inf, *(np.arange(pixel.top) + 0.5), np.inf])[:, None]
    cdf = [stats.logistic.cdf(edges, locs[c][:, None], scale[:, c, None]) for c in range(3)]
    return softmax(logits, -1), np.diff(cdf, axis=2)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_an_rgb_mixture_sums_to_one_over_all_colours(levels):
    px = mixture(levels, scale_shift=-1.0)[1]
    x = every_colour(levels).reshape(-1, *RGB)
    assert np.exp(px.log_prob(x).numpy().astype("f8")).sum() == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("scale_shift", [-9.0, -4.0, 0.0])
def test_an_rgb_mixture_of_256_levels_follows_its_definition_channel_by_channel(scale_shift):
    likelihood, px = mixture(256, rows=30, scale_shift=scale_shift)
    uniform = np.random.default_rng(1).uniform(1e-3, 1 - 1e-3, (30, *RGB)).astype("f4")
    x = likelihood.draw(px, tf.constant(uniform)).numpy()
    weights, conditional = tables(px, x[:, 0, 0])
    rows, seen, drawn_levels = np.arange(30), weights, np.round(255 * x[:, 0, 0]).astype(int)
    for channel, level in enumerate(drawn_levels.T):
        # What was drawn is the least level whose distribution function, given the channels before, reaches the noise.
        below = np.cumsum(np.sum(seen[:, None] * conditional[channel], -1), -1) / seen.sum(-1, keepdims=True)
        assert np.all(below[rows, level] >= uniform[:, 0, 0, channel] - 1e-5)
        assert np.all(np.where(level > 0, below[rows, level - 1], 0) <= uniform[:, 0, 0, channel] + 1e-5)
        before, seen = seen, seen * conditional[channel, rows, level]
    np.testing.assert_allclose(px.log_prob(x), np.log(seen.sum(-1)), rtol=1e-4, atol=1e-4)
    # The sum over the last channel is the probability of the first two.
    blue = np.repeat(x[None], 256, 0)
    blue[..., 2] = np.linspace(0, 1, 256)[:, None, None, None]
    np.testing.assert_allclose(tf.reduce_logsumexp(px.log_prob(blue), 0), np.log(before.sum(-1)), rtol=1e-4, atol=1e-4)


def test_draws_of_an_rgb_mixture_have_the_probabilities_of_the_colours():
    likelihood, px = mixture(3, scale_shift=-1.0)
    uniform = np.random.default_rng(1).uniform(1e-6, 1 - 1e-6, (200_000, *RGB)).astype("f4")
    drawn = np.round(2 * likelihood.draw(px, tf.constant(uniform)).numpy().reshape(-1, 3)).astype(int) @ [9, 3, 1]
    expected = np.exp(px.log_prob(every_colour(3).reshape(-1, *RGB)).numpy().astype("f8"))
    counts = np.bincount(drawn, minlength=27)
    assert stats.chisquare(counts, len(uniform) * expected / expected.sum()).pvalue > 1e-4


@pytest.mark.parametrize("scale_shift", [-6.0, -2.0, 0.0])
def test_the_mean_of_an_rgb_mixture_is_within_its_stated_error(scale_shift):
    """For many single components of five levels, by enumeration."""
    px = mixture(5, components=1, rows=300, scale_shift=scale_shift)[1]
    x = every_colour(5)
    p = np.exp(px.log_prob(x.reshape(-1, 1, *RGB)))
    exact = np.einsum("nb,nc->bc", p, x)
    a = px.distribution.coupling.numpy()[:, 0, 0, :, 0]

    def spread(shift):  # E|s - E s| / 2, of shifts s [colours, B]
        return np.sum(p * np.abs(shift - np.sum(p * shift, 0)), 0) / 2

    half = 0.5 / 4
    green = half + spread(x[:, :1] * a[:, 0]) + np.abs(a[:, 0]) * half
    blue = half + spread(x[:, :1] * a[:, 1] + x[:, 1:2] * a[:, 2]) + np.abs(a[:, 1]) * half + np.abs(a[:, 2]) * green
    error = np.abs(exact - px.mean().numpy()[:, 0, 0])
    assert np.all(error < np.stack([np.full(300, half), green, blue], -1) + 1e-5)


def test_the_mean_of_an_rgb_mixture_of_narrow_components_is_that_of_its_draws():
    likelihood, px = mixture(256, scale_shift=-4.0)
    uniform = np.random.default_rng(2).uniform(1e-6, 1 - 1e-6, (100_000, *RGB)).astype("f4")
    x = likelihood.draw(px, tf.constant(uniform)).numpy()
    assert np.all(np.abs(x.mean(0) - px.mean()[0]) < 5 * x.std(0) / np.sqrt(len(x)) + 0.5 / 255)


def test_a_mixture_of_one_component_of_a_grey_image_is_the_discretized_logistic():
    given = tf.constant([[[[0.3, -2.0]], [[0.8, 0.4]]]])
    mixed = DiscretizedLogisticMixture((2, 1, 1), levels=256, components=1)
    alone = DiscretizedLogistic((2, 1, 1), levels=256).make_distribution(given)
    one = mixed.make_distribution(tf.concat([tf.fill([1, 2, 1, 1], 5.0), given], -1))
    x = np.float32([[[[0.0]], [[1.0]]], [[[0.2]], [[0.6]]]])
    np.testing.assert_allclose(one.log_prob(x), alone.log_prob(x), rtol=1e-6)
    np.testing.assert_allclose(one.mean(), alone.mean(), rtol=1e-6)
