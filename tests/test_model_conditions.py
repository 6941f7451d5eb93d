"""Claims about labels, corrupted inputs and layers of latents in the Keras model."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from vae_tf import (
    VAE,
    Bernoulli,
    Classes,
    ConditionalNormal,
    DiagonalNormal,
    Elbo,
    Hierarchical,
    Inference,
    Ladder,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
    TopDown,
    VampPrior,
    Vector,
)
from vae_tf.errors import ConfigError, DataError
from vae_tf.evaluation import evaluate

SHAPE = (6, 5, 1)
LABELS = np.arange(40) % 2


@pytest.fixture(scope="module")
def halves():
    """[40, 6, 5, 1]: class 0 is white on the left, class 1 on the right, with a little noise."""
    x = np.zeros((40, *SHAPE), np.float32)
    x[LABELS == 0, :, :2], x[LABELS == 1, :, 3:] = 1, 1
    return np.abs(x - (np.random.default_rng(0).random(x.shape) < 0.05)).astype("f4")


def conditional(prior=None, condition=None):
    condition = condition or Classes(2)
    return VAE(
        MLPEncoder(hidden=(16,)), MLPDecoder(hidden=(16,)), DiagonalNormal(2), Bernoulli(SHAPE), prior or StandardNormal(2), condition
    )


def test_a_conditional_model_makes_what_it_is_asked_for(halves):
    vae = conditional()
    vae.compile("adam")
    vae.optimizer.learning_rate = 0.02
    vae.fit(halves, LABELS, batch_size=20, epochs=60, verbose=0)
    for label, (bright, dark) in enumerate((((slice(0, 2)), slice(3, 5)), ((slice(3, 5)), slice(0, 2)))):
        images = vae.generate(8, label=label)
        assert images[:, :, bright].mean() > 0.8 > 0.3 > images[:, :, dark].mean()


def test_labels_may_be_vectors(halves):
    vae = conditional(condition=Vector(3))
    vae.compile()
    y = np.random.default_rng(0).normal(size=(40, 3)).astype("f4")
    vae.fit(halves, y, batch_size=20, verbose=0)
    assert vae.generate(2, label=[0.0, 1.0, 2.0]).shape == (2, *SHAPE)
    assert vae.generate(2, label=y[:2]).shape == (2, *SHAPE)


def test_a_conditional_prior_follows_the_label(halves):
    vae = conditional(ConditionalNormal(2, 2))
    vae.compile()
    vae.fit(halves, LABELS, batch_size=20, epochs=2, verbose=0)
    z = tf.zeros([1, 2])
    by_class = [float(vae.prior.log_prob(z, vae.generator.beside(z, tf.constant([label])))[0]) for label in (0, 1)]
    assert by_class[0] != by_class[1]


def test_a_conditional_model_predicts_and_evaluates_with_labels(halves):
    vae = conditional()
    vae.compile()
    assert vae.evaluate(halves, LABELS, verbose=0)[0] > 0
    assert vae((halves, LABELS)).shape == (40, *SHAPE)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda vae, x: vae.fit(x), DataError, "`y` must hold the labels of a model with a condition, got none"),
        (lambda vae, x: vae.fit(x, LABELS + 1), DataError, "`y` must hold classes from 0 to 1, got 1 to 2"),
        (lambda vae, x: vae.fit(x, LABELS.astype("f4")), DataError, "`y` must hold one class number per image"),
        (lambda vae, x: vae.generate(4), ConfigError, "`label` must be given"),
        (lambda vae, x: vae.generate(4, label=7), DataError, "`y` must hold classes from 0 to 1, got 7 to 7"),
        (lambda vae, x: vae.generate(4, label=[0, 1]), DataError, "`label` must be one for all images, or one for each of the 4, got 2"),
        (lambda vae, x: vae.encode(x), ConfigError, "`label` must be given"),
    ],
)
def test_refuses_missing_and_impossible_labels(attempt, error, message, halves):
    vae = conditional()
    vae.compile()
    with pytest.raises(error, match=message):
        attempt(vae, halves)


def test_a_model_without_condition_refuses_labels_of_what_it_generates():
    vae = VAE(MLPEncoder(hidden=(4,)), MLPDecoder(hidden=(4,)), DiagonalNormal(2), Bernoulli(SHAPE), StandardNormal(2))
    with pytest.raises(ConfigError, match="`label` must be left out: images have none"):
        vae.generate(2, label=1)


def test_a_denoising_model_sees_the_corrupted_and_explains_the_clean_images(halves):
    vae = VAE(MLPEncoder(hidden=(16,)), MLPDecoder(hidden=(16,)), DiagonalNormal(2), Bernoulli(SHAPE), StandardNormal(2))
    vae.compile()
    seen = np.full_like(halves, 0.5)
    draw = vae.draw(tf.constant(halves), 1, tf.constant([0, 0]), given=tf.constant(seen))
    np.testing.assert_array_equal(draw.x, halves)
    np.testing.assert_allclose(draw.mean(), vae.encode(seen).mean())
    vae.fit(tf.data.Dataset.from_tensors(((seen, halves),)), epochs=1, verbose=0)
    vae.fit((seen, halves), batch_size=20, verbose=0)
    vae.evaluate((seen - 1, halves), verbose=0)
    for data in (tf.data.Dataset.from_tensors(((halves, seen),)), (halves, seen)):
        with pytest.raises(DataError, match="only 0 and 1"):
            vae.fit(data, epochs=1, verbose=0)


def layered(ladder):
    keras.utils.set_random_seed(0)
    dims = (2, 3)
    prior = TopDown(dims, StandardNormal(2), hidden=(8,))
    posterior = Ladder(dims, prior.conditional, hidden=(8,)) if ladder else Hierarchical(dims, hidden=(8,))
    vae = VAE(MLPEncoder(hidden=(16,)), MLPDecoder(hidden=(16,)), posterior, Bernoulli(SHAPE), prior)
    vae.compile()
    return vae


@pytest.mark.parametrize("ladder", [False, True])
def test_a_hierarchy_is_trained_and_evaluated_like_any_other(ladder, halves):
    vae = layered(ladder)
    history = vae.fit(halves, batch_size=20, epochs=60, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0] + 1
    evaluation = evaluate(vae, halves, samples=20, prior_images=2, verbose=False)
    assert evaluation.log_likelihood.value >= evaluation.elbo.value
    assert len(evaluation.kl_per_dimension) == 5


def test_the_kl_of_layers_adds_up(halves):
    draw = layered(ladder=True).draw(tf.constant(halves), 4, tf.constant([0, 1]))
    parts = draw.kl_terms()
    assert [part.shape[-1] for part in parts] == [2, 3]
    np.testing.assert_allclose(sum(tf.reduce_sum(part, -1) for part in parts), draw.log_q - draw.log_prior, rtol=1e-3, atol=1e-3)


def test_pieces_that_need_each_other_are_put_together_by_hand(halves):
    encoder, posterior = MLPEncoder(hidden=(16,)), DiagonalNormal(2)
    prior = VampPrior(2, SHAPE, Inference.of(encoder, posterior), components=4)
    vae = VAE(encoder, MLPDecoder(hidden=(16,)), posterior, Bernoulli(SHAPE), prior)
    vae.compile(objective=Elbo())
    before = prior.pseudo_inputs().numpy()
    vae.fit(halves, batch_size=20, verbose=0)
    assert np.any(prior.pseudo_inputs() != before)
    names = [variable.name for variable in vae.trainable_variables]
    assert len(names) == len({id(variable) for variable in vae.trainable_variables})


def test_the_slope_of_a_draw_is_the_derivative_of_its_log_weight(halves):
    vae = layered(ladder=False)
    x, seed = tf.constant(halves[:2]), tf.constant([0, 1])
    draw = vae.draw(x, 1, seed)
    q = vae.encode(x)
    step = 1e-3  # small enough not to cross the kinks of ReLU
    for d in range(5):
        shift = step * tf.one_hot(d, 5)
        up, down = (vae.decode(z).log_prob(x) + vae.prior.log_prob(z) - q.log_prob(z) for z in (draw.z + shift, draw.z - shift))
        np.testing.assert_allclose(draw.slope()[..., d], (up - down) / (2 * step), rtol=0.05, atol=0.1)
