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


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_with_the_exact_posterior_every_bound_is_the_evidence_for_each_draw(name, samples):
    bound = OBJECTIVES[name](samples=samples)(MODEL.draw(X, MODEL.posterior(X), samples), STEP)
    np.testing.assert_allclose(bound, MODEL.evidence(X), rtol=1e-5)


def test_iwae_bound_is_not_below_elbo_for_each_draw():
    draw = MODEL.draw(X, crude_posterior(X), samples=50)
    assert np.all(ImportanceWeighted(50)(draw, STEP) >= Elbo(samples=50)(draw, STEP))


def test_iwae_bound_rises_towards_the_evidence_with_more_samples():
    bounds = [np.mean(ImportanceWeighted(s)(MODEL.draw(X, crude_posterior(X), s), STEP)) for s in (1, 10, 100, 10_000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(MODEL.evidence(X).mean(), abs=0.5)


def test_iwae_with_one_sample_is_the_elbo():
    draw = MODEL.draw(X, crude_posterior(X), samples=1)
    np.testing.assert_allclose(ImportanceWeighted(1)(draw, STEP), Elbo()(draw, STEP))


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
    draw = Draw(None, None, log_q, log_q, log_prior=tf.constant([[1.0]]), log_likelihood=tf.constant([[-10.0]]))
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
        q, held = (tfd.MultivariateNormalTriL(value, exact.scale_tril) for value in (loc, tf.stop_gradient(loc)))
        draw = MODEL.draw(x, q, samples=1)
        bound = Elbo(gradient=gradient)(draw._replace(log_q_path=held.log_prob(draw.z)), STEP)
    return tape.gradient(bound, loc).numpy()


def test_the_path_gradient_has_no_noise_at_the_exact_posterior_and_the_total_gradient_has():
    np.testing.assert_allclose(encoder_gradients("path", 0.0, draws=20), 0, atol=1e-5)
    assert np.std(encoder_gradients("total", 0.0, draws=20)) > 0.1


def test_path_and_total_gradients_agree_on_average():
    path, total = (encoder_gradients(kind, 0.2, draws=20_000) for kind in ("path", "total"))
    assert np.all(np.abs(path.mean(0)) > 0.2)
    np.testing.assert_array_less(np.abs(path.mean(0) - total.mean(0)), 4 * np.std(total, 0) / np.sqrt(len(total)))
