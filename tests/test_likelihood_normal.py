"""Claims about squared error and its scale."""

import numpy as np
import pytest
import tensorflow as tf

from vae_tf.likelihood import Normal, NormalLearnedScale

SHAPE = (2, 1, 1)


def test_squared_error_is_the_normal_with_a_fixed_scale():
    loc, x, scale = np.float32([[[[0.2]], [[0.9]]]]), np.float32([[[[0.5]], [[0.1]]]]), 0.3
    log_prob = float(Normal(SHAPE, scale=scale).make_distribution(tf.constant(loc)).log_prob(x)[0])
    constant = -x.size * np.log(scale * np.sqrt(2 * np.pi))
    assert log_prob == pytest.approx(constant - np.sum((x - loc) ** 2) / (2 * scale**2), rel=1e-5)


def test_the_learned_scale_starts_where_it_is_told():
    likelihood = NormalLearnedScale(SHAPE, initial_scale=0.4)
    stddev = likelihood.make_distribution(tf.zeros([1, *SHAPE])).stddev()
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
