"""Claims about bounds, checked against a model whose evidence is known."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from oracle import LinearGaussian

from vae_tf.errors import ConfigError
from vae_tf.objective import OBJECTIVES, Draw, Elbo, ImportanceWeighted

tfd = tfp.distributions
MODEL = LinearGaussian.random(values=7, latent_dim=3)
X = MODEL.sample(5)
STEP = tf.constant(10**6, tf.int64)


def crude_posterior(x):
    """A posterior that is far from exact: the prior itself."""
    return tfd.MultivariateNormalDiag(tf.zeros([len(x), 3], tf.float64))


def rough_posterior():
    """A posterior without correlations, not exact."""
    return tfd.MultivariateNormalDiag(MODEL.posterior(X).mean(), np.full([len(X), 3], 0.3))


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_with_the_exact_posterior_every_bound_is_the_evidence_for_each_draw(name, samples):
    bound = OBJECTIVES[name](samples=samples)(MODEL.draw(X, MODEL.posterior(X), samples), STEP)
    np.testing.assert_allclose(bound, MODEL.evidence(X), rtol=1e-5)


def test_iwae_bound_is_not_below_elbo_for_each_draw():
    draw = MODEL.draw(X, crude_posterior(X), samples=50)
    assert np.all(ImportanceWeighted(samples=50)(draw, STEP) >= Elbo(samples=50)(draw, STEP))


def test_iwae_bound_rises_towards_the_evidence_with_more_samples():
    bounds = [np.mean(ImportanceWeighted(samples=s)(MODEL.draw(X, crude_posterior(X), s), STEP)) for s in (1, 10, 100, 10_000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(MODEL.evidence(X).mean(), abs=0.5)


def test_iwae_with_one_sample_is_the_elbo():
    draw = MODEL.draw(X, crude_posterior(X), samples=1)
    np.testing.assert_allclose(ImportanceWeighted(samples=1)(draw, STEP), Elbo()(draw, STEP))


def test_elbo_plus_the_divergence_to_the_true_posterior_is_the_evidence():
    q = tfd.MultivariateNormalDiag(MODEL.posterior(X).mean(), np.full([5, 3], 0.3))
    samples = 10_000
    per_draw = Elbo(samples=samples)(MODEL.draw(X, q, samples), STEP)
    gap = tfd.kl_divergence(q, MODEL.posterior(X))
    np.testing.assert_allclose(per_draw + gap, MODEL.evidence(X), atol=0.1)


def test_warm_up_raises_the_weight_linearly_and_stays():
    objective = Elbo(weight=4.0, warmup_steps=100)
    assert [float(objective.beta(tf.constant(step))) for step in (0, 25, 100, 1000)] == [0.0, 1.0, 4.0, 4.0]
    assert objective.settled_at == 100


def test_weight_multiplies_the_divergence_only():
    log_q = tf.constant([[3.0]])
    draw = Draw(None, None, log_q, tf.constant([[1.0]]), log_likelihood=tf.constant([[-10.0]]), log_q_path=lambda: log_q)
    assert float(Elbo(weight=5.0)(draw, STEP)[0]) == -10 - 5 * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Elbo(weight=-1.0), "`weight` must be finite and at least 0, got -1.0"),
        (lambda: Elbo(samples=0), "`samples` must be from 1 to 10000, got 0"),
        (lambda: Elbo(warmup_steps=-5), "`warmup_steps` must be finite and at least 0, got -5"),
        (lambda: Elbo(gradient="score"), "`gradient` must be .path. or .total., got .score."),
        (lambda: ImportanceWeighted(samples=0), "`samples` must be from 1 to 10000, got 0"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def encoder_gradients(gradient, shift, draws):
    """d ELBO / d loc for `draws` samples from N(exact mean + shift, exact covariance) of the first image's posterior, [draws, 3]."""
    x = np.repeat(X[:1], draws, 0)
    exact = MODEL.posterior(x)
    loc = tf.Variable(exact.mean() + shift)
    with tf.GradientTape() as tape:
        bound = Elbo(gradient=gradient)(MODEL.draw(x, tfd.MultivariateNormalTriL(loc, exact.scale_tril), samples=1), STEP)
    return tape.gradient(bound, loc).numpy()


def test_the_path_gradient_has_no_noise_at_the_exact_posterior_and_the_total_gradient_has():
    np.testing.assert_allclose(encoder_gradients("path", 0.0, draws=20), 0, atol=1e-5)
    assert np.std(encoder_gradients("total", 0.0, draws=20)) > 0.1


def test_path_and_total_gradients_agree_on_average():
    path, total = (encoder_gradients(kind, 0.2, draws=20_000) for kind in ("path", "total"))
    assert np.all(np.abs(path.mean(0)) > 0.2)
    np.testing.assert_array_less(np.abs(path.mean(0) - total.mean(0)), 4 * np.std(total, 0) / np.sqrt(len(total)))


def test_a_draw_tells_the_same_in_parts_and_as_a_whole():
    for q in (MODEL.posterior(X), rough_posterior()):
        draw = MODEL.draw(X, q, samples=3)
        np.testing.assert_allclose(tf.reduce_sum(tf.concat(draw.kl_terms(), -1), -1), draw.log_q - draw.log_prior)
        np.testing.assert_allclose(draw.log_q_path(), draw.log_q)
    np.testing.assert_allclose(tf.linalg.diag_part(tf.reduce_sum(draw.log_q_pairs(), -1)), draw.log_q[0])
    np.testing.assert_allclose(MODEL.draw(X, MODEL.posterior(X), samples=3).slope(), 0, atol=1e-5)


def test_a_draw_says_what_it_does_not_tell():
    draw = Draw(None, None, *[tf.zeros([1, 1])] * 3)
    with pytest.raises(ConfigError, match="`draw` does not tell this; a draw of a model does"):
        draw.kl_terms()
