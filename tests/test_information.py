"""Claims about what latents tell: brackets of the mutual information, and the likelihood without dead dimensions, on known models."""

import importlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from oracle import LinearGaussian
from pieces import tiny

from vae_tf import VAE, ConfigError, DataError, DiagonalNormal, Normal, StandardNormal
from vae_tf.build import build_model
from vae_tf.evaluation.dead_units import _smaller, without_dead_units
from vae_tf.evaluation.importance import log_weights
from vae_tf.evaluation.information import information
from vae_tf.posterior import POSTERIORS

MODULE = importlib.import_module("vae_tf.evaluation.information")
D, VALUES = 2, 6
ORACLE = LinearGaussian.random(values=VALUES, latent_dim=D)
COVARIANCE = ORACLE.weights.astype("f8") @ ORACLE.weights.T + ORACLE.scale**2 * np.eye(VALUES)  # of x


class Identity(keras.layers.Layer):
    def call(self, inputs):
        return tf.reshape(inputs, [tf.shape(inputs)[0], np.prod(inputs.shape[1:])])


def linear(slope, shift, scale, oracle=ORACLE):
    """The oracle's generator with q(z | x) = N(slope (x - b) + shift, diag(scale^2))."""
    vae = VAE(Identity(), Identity(), DiagonalNormal(D), Normal((VALUES, 1, 1), scale=oracle.scale), StandardNormal(D))
    vae.likelihood.parameters.set_weights([oracle.weights.T, oracle.loc])
    raw = np.log(np.expm1(np.asarray(scale) - 1e-5))
    kernel = np.concatenate([slope.T, np.zeros([VALUES, D])], 1)
    vae.posterior.parameters.set_weights([kernel, np.concatenate([shift - slope @ oracle.loc, raw])])
    vae.compile()
    return vae


def best_slope(oracle=ORACLE):
    """That of the exact posterior's mean."""
    w = oracle.weights.astype("f8")
    return np.linalg.solve(np.eye(D) + w.T @ w / oracle.scale**2, w.T) / oracle.scale**2


SHIFT, SCALE = np.array([0.7, -0.4]), np.array([0.3, 0.6])


@pytest.fixture(scope="module")
def vae():
    return linear(best_slope(), SHIFT, SCALE)


def images(count, seed=1):
    return ORACLE.sample(count, seed).reshape(-1, VALUES, 1, 1)


def known():
    """I(x; z) and KL(q(z) || p(z)): q(z) is N(shift, slope covariance slope^T + diag(scale^2))."""
    aggregated = best_slope() @ COVARIANCE @ best_slope().T + np.diag(SCALE**2)
    logdet = np.linalg.slogdet(aggregated)[1]
    return 0.5 * logdet - np.log(SCALE).sum(), 0.5 * (np.trace(aggregated) + SHIFT @ SHIFT - D - logdet)


def test_the_brackets_hold_what_is_known_of_a_linear_model(vae):
    found = information(vae, images(800), images=800)
    told, in_vain = known()
    for lower, upper, truth in (
        (found.at_least, found.at_most, told),
        (found.aggregated_kl_at_least, found.aggregated_kl_at_most, in_vain),
    ):
        assert lower.value - 3 * lower.standard_error < truth < upper.value + 3 * upper.standard_error
        assert 0 <= upper.value - lower.value < 0.1
    assert found.rate.value == pytest.approx(told + in_vain, abs=4 * found.rate.standard_error)
    assert not found.saturated


def test_information_and_the_rest_add_up_to_the_rate(vae):
    found = information(vae, images(100))
    assert found.at_least.value + found.aggregated_kl_at_most.value == pytest.approx(found.rate.value)
    assert found.at_most.value + found.aggregated_kl_at_least.value == pytest.approx(found.rate.value)


def test_the_rate_bounds_the_information_where_nothing_else_does_better():
    """Posteriors so narrow that at a draw of one all others are as good as zero, and no further images."""
    found = information(linear(best_slope(), np.zeros(D), SCALE / 100), images(30))
    assert found.at_most.value == found.rate.value
    assert found.at_most.method == "upper bound, against the prior"
    assert (found.aggregated_kl_at_least.value, found.aggregated_kl_at_least.standard_error) == (0, 0)


def test_a_density_fitted_to_further_images_lowers_the_upper_bound():
    """As precise as these posteriors are, the other images say nothing of a draw; the normal is q(z) itself here."""
    slope, scale = 3 * best_slope(), np.array([0.01, 0.01])
    aggregated = slope @ COVARIANCE @ slope.T + np.diag(scale**2)
    told = 0.5 * np.linalg.slogdet(aggregated)[1] - np.log(scale).sum()
    few = information(linear(slope, SHIFT, scale), images(100))
    found = information(linear(slope, SHIFT, scale), images(3000), images=100)
    assert "a normal fitted to draws of further images" in found.at_most.method
    assert "fitted" not in few.at_most.method
    assert found.at_most.value == pytest.approx(told, abs=4 * found.at_most.standard_error)
    assert found.at_most.value < few.at_most.value - 1


def test_few_images_saturate_the_lower_bound_and_it_says_so():
    found = information(linear(50 * best_slope(), np.zeros(D), SCALE / 50), images(40))
    assert found.saturated
    assert found.at_least.value == pytest.approx(np.log(40), abs=0.05)
    assert "so many images allow 3.69 at most" in found.at_least.method


def test_errors_count_that_images_stand_in_the_mixtures_of_others(vae):
    runs = [information(vae, images(150, seed), seed=seed) for seed in range(2, 62)]
    for name in ("at_least", "aggregated_kl_at_most", "rate"):
        values, errors = np.array([[getattr(run, name).value, getattr(run, name).standard_error] for run in runs]).T
        assert 0.75 < np.sqrt(np.mean(errors**2)) / np.std(values, ddof=1) < 1.35, name


@pytest.mark.parametrize("chunk", [500, 4])
def test_terms_and_influence_are_what_their_definitions_say(chunk, monkeypatch):
    """The influence of an image is the slope of the bound as its weight grows, among the terms and within the mixtures alike."""
    monkeypatch.setattr(MODULE, "_DRAWS", chunk)
    pairs = np.random.default_rng(0).normal(size=(9, 9), scale=2)

    def bound(weight, others_only):
        density = np.exp(pairs) * (1 - others_only * np.eye(9)) @ weight / ((1 - others_only * np.eye(9)) @ weight)
        return weight @ (np.diag(pairs) - np.log(density))

    even, step = np.full(9, 1 / 9), 1e-6
    for others_only in (False, True):
        terms = MODULE._against_mixture(pairs, others_only=others_only)
        assert terms.values.mean() == pytest.approx(bound(even, others_only))
        if not others_only:
            slopes = [(bound(even + step * (one - even), False) - bound(even, False)) / step for one in np.eye(9)]
            np.testing.assert_allclose(terms.influence - terms.values.mean(), slopes, atol=1e-4)


def test_chunks_of_pairs_change_nothing(vae, monkeypatch):
    whole = information(vae, images(50))
    monkeypatch.setattr(MODULE, "_DRAWS", 7)
    assert information(vae, images(50)).at_least.value == pytest.approx(whole.at_least.value, abs=1e-5)


def test_equal_seeds_give_equal_information(vae):
    x = images(50)
    assert information(vae, x, images=20, seed=3) == information(vae, x, images=20, seed=3)
    assert information(vae, x, images=20, seed=3) != information(vae, x, images=20, seed=4)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_every_posterior_has_its_brackets(posterior, binary_images):
    vae = build_model(
        tiny(posterior=posterior, prior="top-down" if posterior in ("hierarchical", "ladder") else "standard-normal"), (6, 5, 1), 2
    )
    found = information(vae, binary_images)
    assert found.at_least.images == len(binary_images)
    assert 0 <= found.at_least.value <= found.ceiling
    assert found.at_least.value <= found.at_most.value <= found.rate.value


def test_where_the_density_is_dear_there_are_fewer_images(binary_images, monkeypatch):
    monkeypatch.setattr(MODULE, "_DEAR_IMAGES", 5)
    found = information(build_model(tiny(posterior="iaf"), (6, 5, 1), 2), binary_images)
    assert found.rate.images == 5
    assert "few of them, since q is dear to evaluate" in found.at_least.method


def test_with_labels_an_image_is_held_against_those_of_its_label(binary_images):
    vae = build_model(tiny(condition="classes"), (6, 5, 1), 2, label_size=4)
    found = information(vae, binary_images, np.repeat([0, 1, 2, 3], [10, 20, 9, 1]))
    assert found.rate.images == 39  # one has a label of its own
    assert found.ceiling == pytest.approx((10 * np.log(10) + 20 * np.log(20) + 9 * np.log(9)) / 39)
    assert found.at_least.method.endswith("given the label of each")


def test_labels_that_no_two_images_share_leave_nothing_to_compare(binary_images):
    vae = build_model(tiny(condition="vector"), (6, 5, 1), 2, label_size=3)
    label = np.random.default_rng(0).random((40, 3)).astype("f4")
    assert (
        information(vae, binary_images, label)
        == "each image has a label of its own, so that none can be held against others of the same label"
    )


@pytest.mark.parametrize(
    ("count", "options", "error", "message"),
    [
        (5, {"images": 1}, ConfigError, "`images` must be at least 2, for each is held against others; got 1."),
        (1, {}, DataError, "`x` must hold at least 2 images, for each is held against others; got 1."),
    ],
)
def test_information_of_one_image_is_refused(vae, count, options, error, message):
    with pytest.raises(error, match=message):
        information(vae, images(count), **options)


def without(vae, x, active, label=None, samples=200):
    whole = log_weights(vae, x, label, samples=samples).log_likelihood
    return without_dead_units(vae, x, label, active=np.array(active), log_likelihood=whole, samples=samples)


def test_a_dimension_that_the_decoder_ignores_is_worth_nothing():
    deaf = LinearGaussian(ORACLE.weights * [1, 0], ORACLE.loc, ORACLE.scale)
    found = without(linear(best_slope(deaf), np.zeros(D), [0.3, 1.0], deaf), images(20), [True, False])
    assert found.loss.value == pytest.approx(0, abs=1e-4)
    assert found.loss.standard_error == pytest.approx(0, abs=1e-4)


def test_a_dimension_that_counts_costs_what_the_smaller_model_lacks():
    weak = LinearGaussian((ORACLE.weights * [1, 0.1]).astype("f4"), ORACLE.loc, ORACLE.scale)
    smaller = LinearGaussian(weak.weights[:, :1], weak.loc, weak.scale)
    x = weak.sample(100)
    covariance = np.linalg.inv(np.eye(D) + weak.weights.T @ weak.weights / weak.scale**2)
    vae = linear(best_slope(weak), np.zeros(D), np.sqrt(np.diag(covariance)), weak)
    found = without(vae, x.reshape(-1, VALUES, 1, 1), [True, False], samples=1000)
    assert found.log_likelihood.value == pytest.approx(smaller.evidence(x).mean(), abs=0.01)
    assert found.loss.value == pytest.approx((weak.evidence(x) - smaller.evidence(x)).mean(), abs=0.01)
    assert found.loss.standard_error < found.log_likelihood.standard_error / 3
    assert "without the 1 dead of 2 latent dimensions" in found.log_likelihood.method


@pytest.mark.parametrize(("prior", "condition"), [("conditional-normal", "classes"), ("standard-normal", "classes"), ("mixture", None)])
def test_dead_dimensions_are_held_at_the_mean_of_the_prior(prior, condition):
    vae = build_model(tiny(prior=prior, condition=condition), (6, 5, 1), 2, label_size=3 if condition else None)
    vae.compile()
    label = tf.constant([0, 2]) if condition else None
    z = tf.random.stateless_normal([2, 5], [0, 0])
    eps = np.random.default_rng(1).normal(size=(20_000, 2, vae.generator.noise_dim)).astype("f4")
    mean = tf.reduce_mean(vae.generator.from_noise(tf.constant(eps), vae.generator.beside(eps, label)), 0)
    active = np.array([True, False, True, False, False])
    shown = _smaller(vae, active).generator.decode(z, label).mean()
    np.testing.assert_allclose(shown, vae.generator.decode(tf.where(active, z, mean), label).mean(), atol=0.02)


@pytest.mark.parametrize(
    ("pieces", "active", "reason"),
    [
        ({}, [True] * 5, "all 5 latent dimensions are active, so there is nothing to remove"),
        ({"posterior": "ladder", "prior": "top-down"}, [True, False] * 2 + [True], "there are several layers of latents"),
        ({"prior": "coupling-flow", "condition": "classes"}, [False] * 5, "the prior may be another for each label"),
    ],
)
def test_where_dead_units_can_not_be_removed_there_is_a_reason(pieces, active, reason, binary_images):
    vae = build_model(tiny(**pieces), (6, 5, 1), 2, label_size=3 if "condition" in pieces else None)
    label = np.zeros(40, int) if "condition" in pieces else None
    found = without_dead_units(vae, binary_images, label, active=np.array(active), log_likelihood=np.zeros(40), samples=1)
    assert isinstance(found, str)
    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("active", "log_likelihood", "message"),
    [
        ([True], np.zeros(9), "`active` must hold one value for each of the 2 latent dimensions, got [1]."),
        ([True, False], np.zeros(3), "`log_likelihood` must hold one value for each of the 9 images, got [3]."),
    ],
)
def test_dead_units_want_one_value_for_each(vae, active, log_likelihood, message):
    with pytest.raises(ConfigError) as error:
        without_dead_units(vae, images(9), active=np.array(active), log_likelihood=log_likelihood, samples=1)
    assert str(error.value) == message
