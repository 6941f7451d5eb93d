"""Claims about bounds on the evidence, and about the noise of their gradients."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from oracle import LinearGaussian

from vae_tf.objective import Draw, Elbo, ImportanceWeighted, Renyi

tfd = tfp.distributions
MODEL = LinearGaussian.random(values=7, latent_dim=3)
X = MODEL.sample(5)
STEP = tf.constant(10**6, tf.int64)


def crude_posterior(x):
    """A posterior that is far from exact: the prior itself."""
    return tfd.MultivariateNormalDiag(tf.zeros([len(x), 3], tf.float64))


def test_iwae_bound_is_not_below_elbo_for_each_image():
    draw = MODEL.draw(X, crude_posterior(X), samples=50)
    assert np.all(ImportanceWeighted(samples=50)(draw, STEP) >= Elbo(samples=50)(draw, STEP))


def test_iwae_bound_rises_towards_the_evidence_with_more_samples():
    bounds = [np.mean(ImportanceWeighted(samples=s)(MODEL.draw(X, crude_posterior(X), s), STEP)) for s in (1, 10, 100, 10_000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(MODEL.evidence(X).mean(), abs=0.5)


@pytest.mark.parametrize("objective", [ImportanceWeighted(samples=1), Renyi(samples=1), Renyi(samples=1, alpha=-3.0)])
def test_with_one_sample_every_bound_is_the_elbo(objective):
    draw = MODEL.draw(X, crude_posterior(X), samples=1)
    np.testing.assert_allclose(objective(draw, STEP), Elbo()(draw, STEP))


def test_the_weights_of_an_importance_weighted_bound_warm_up_from_the_likelihood_alone():
    draw, bound = MODEL.draw(X, MODEL.rough_posterior(X), samples=4), ImportanceWeighted(samples=4, warmup_steps=100)
    by_likelihood = tf.reduce_logsumexp(draw.log_likelihood, 0) - np.log(4)
    np.testing.assert_allclose(bound(draw, tf.constant(0)), by_likelihood)
    half = tf.reduce_logsumexp(draw.log_likelihood + 0.5 * (draw.log_prior - draw.log_q), 0) - np.log(4)
    np.testing.assert_allclose(bound(draw, tf.constant(50)), half)
    for step in (100, 10**6):
        np.testing.assert_allclose(bound(draw, tf.constant(step)), ImportanceWeighted(samples=4)(draw, STEP))
    assert bound.settled_at == 100


def test_elbo_plus_the_divergence_to_the_true_posterior_is_the_evidence():
    q = MODEL.rough_posterior(X)
    samples = 10_000
    per_draw = Elbo(samples=samples)(MODEL.draw(X, q, samples), STEP)
    gap = tfd.kl_divergence(q, MODEL.posterior(X))
    np.testing.assert_allclose(per_draw + gap, MODEL.evidence(X), atol=0.1)


def test_warm_up_raises_the_weight_linearly_and_stays():
    objective = Elbo(weight=4.0, warmup_steps=100)
    assert [float(objective.beta(tf.constant(step))) for step in (0, 25, 100, 1000)] == [0.0, 1.0, 4.0, 4.0]
    assert objective.settled_at == 100


def test_a_cyclical_weight_rises_again_after_as_long_a_stay_and_ends_high():
    objective = Elbo(weight=4.0, warmup_steps=100, cycles=2)
    expected = {0: 0.0, 25: 1.0, 100: 4.0, 199: 4.0, 200: 0.0, 225: 1.0, 300: 4.0, 400: 4.0, 10**6: 4.0}
    assert {step: float(objective.beta(tf.constant(step, tf.int64))) for step in expected} == expected
    assert objective.settled_at == 300


def test_weight_multiplies_the_divergence_only():
    log_q = tf.constant([[3.0]])
    draw = Draw(None, None, log_q, tf.constant([[1.0]]), log_likelihood=tf.constant([[-10.0]]), log_q_path=lambda: log_q)
    assert float(Elbo(weight=5.0)(draw, STEP)[0]) == -10 - 5 * 2


def test_renyi_bounds_lead_from_the_elbo_to_the_largest_weight():
    draw = MODEL.draw(X, crude_posterior(X), samples=50)
    log_weights = draw.log_weights().numpy()
    np.testing.assert_allclose(Renyi(alpha=0.0, samples=50)(draw, STEP), ImportanceWeighted(samples=50)(draw, STEP))
    np.testing.assert_allclose(Renyi(alpha=-1e6, samples=50)(draw, STEP), log_weights.max(0), atol=1e-4)
    draw = MODEL.draw(X, MODEL.rough_posterior(X), samples=50)
    np.testing.assert_allclose(Renyi(alpha=0.999, samples=50)(draw, STEP), Elbo(samples=50)(draw, STEP), atol=0.05)


def test_the_renyi_bound_is_the_evidence_less_the_divergence():
    """For normals D_alpha is known: q and the exact posterior with equal covariance and means `shift` standard deviations apart."""
    exact, shift = MODEL.posterior(X), 0.5
    q = tfd.MultivariateNormalTriL(exact.mean() + shift * exact.scale_tril[..., 0], exact.scale_tril)
    draw = MODEL.draw(X, q, samples=10_000)
    for alpha in (-1.0, 0.5, 2.0):
        expected = MODEL.evidence(X) - alpha * shift**2 / 2
        np.testing.assert_allclose(Renyi(alpha=alpha, samples=10_000)(draw, STEP), expected, atol=0.05)


def encoder_gradients(objective, shift, draws):
    """The gradient by loc of `draws` bounds for the first image, [draws, 3]; q is the exact posterior, or moved and wider by `shift`."""
    x = np.repeat(X[:1], draws, 0)
    exact = MODEL.posterior(x)
    loc = tf.Variable(exact.mean() + shift)
    with tf.GradientTape() as tape:
        bound = objective(MODEL.draw(x, tfd.MultivariateNormalTriL(loc, (1 + shift) * exact.scale_tril), objective.samples), STEP)
    return tape.gradient(bound, loc).numpy()


def assert_equal_on_average(first, second):
    error = np.sqrt((np.var(first, 0) + np.var(second, 0)) / len(first))
    np.testing.assert_array_less(np.abs(first.mean(0) - second.mean(0)), 4 * error)


@pytest.mark.parametrize(
    ("silent", "noisy"),
    [
        (Elbo(gradient="path"), Elbo(gradient="total")),
        (ImportanceWeighted(gradient="stl"), ImportanceWeighted(gradient="plain")),
        (ImportanceWeighted(gradient="dreg"), ImportanceWeighted(gradient="plain")),
    ],
)
def test_the_gradient_has_no_noise_at_the_exact_posterior_without_the_parameters_of_log_q(silent, noisy):
    np.testing.assert_allclose(encoder_gradients(silent, 0.0, draws=20), 0, atol=1e-5)
    assert np.std(encoder_gradients(noisy, 0.0, draws=20)) > 0.1


def test_path_and_total_gradients_agree_on_average():
    path, total = (encoder_gradients(Elbo(gradient=kind), 0.2, draws=20_000) for kind in ("path", "total"))
    assert np.all(np.abs(path.mean(0)) > 0.2)
    assert_equal_on_average(path, total)


@pytest.mark.parametrize("samples", [1, 2, 8])
def test_plain_and_doubly_reparameterized_gradients_agree_on_average(samples):
    plain, dreg = (encoder_gradients(ImportanceWeighted(samples=samples, gradient=kind), 0.1, draws=20_000) for kind in ("plain", "dreg"))
    assert np.all(np.abs(dreg.mean(0)) > 10 * np.std(dreg, 0) / np.sqrt(len(dreg)))
    assert_equal_on_average(plain, dreg)


def test_sticking_the_landing_agrees_on_average_with_one_sample_and_is_biased_with_more():
    one = [encoder_gradients(ImportanceWeighted(samples=1, gradient=kind), 0.1, draws=20_000) for kind in ("stl", "plain")]
    assert_equal_on_average(*one)
    more = [encoder_gradients(ImportanceWeighted(samples=8, gradient=kind), 0.1, draws=20_000) for kind in ("stl", "plain")]
    with pytest.raises(AssertionError):
        assert_equal_on_average(*more)


def test_more_samples_drown_the_plain_gradient_in_noise_and_not_the_doubly_reparameterized():
    def signal_to_noise(kind, samples):
        gradient = encoder_gradients(ImportanceWeighted(samples=samples, gradient=kind), 0.1, draws=4_000)
        return np.mean(np.abs(gradient.mean(0)) / np.std(gradient, 0))

    assert signal_to_noise("plain", 64) < 0.5 * signal_to_noise("plain", 1)
    assert signal_to_noise("dreg", 64) > signal_to_noise("dreg", 1)


def test_all_gradients_of_a_bound_are_the_same_for_the_decoder():
    weights = tf.Variable(MODEL.weights, dtype=tf.float64)
    model, gradients = replace(MODEL, weights=weights), {}
    for kind in ("plain", "stl", "dreg"):
        with tf.GradientTape() as tape:
            bound = ImportanceWeighted(gradient=kind)(model.draw(X, MODEL.rough_posterior(X), 5), STEP)
        gradients[kind] = tape.gradient(bound, weights)
    assert np.any(gradients["plain"])
    np.testing.assert_allclose(gradients["stl"], gradients["plain"])
    np.testing.assert_allclose(gradients["dreg"], gradients["plain"])
