"""Claims about values of a single coordinate, whose last axis of 1 Keras would add or drop by itself."""

import pytest
import tensorflow as tf
import tf_keras as keras

from vae_tf.chain import Chain
from vae_tf.prior import ConditionalNormal, CouplingFlowPrior, StandardNormal, TopDown


def test_a_chain_takes_any_number_of_leading_axes():
    chain = Chain([keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])
    x = tf.random.stateless_normal([3, 5, 1], [0, 0])
    whole = chain(x)
    assert whole.shape == (3, 5, 2)
    tf.debugging.assert_near(chain(x[1]), whole[1])
    assert len(chain.trainable_variables) == 4


@pytest.mark.parametrize(
    ("prior", "condition"),
    [
        (lambda: CouplingFlowPrior(2, hidden=4), None),
        (lambda: CouplingFlowPrior(3, hidden=4), None),
        (lambda: TopDown((1, 1), StandardNormal(1), hidden=(4,)), None),
        (lambda: ConditionalNormal(2, 1), tf.zeros([3, 5, 1])),
    ],
    ids=["flow of 2", "flow of 3", "layers of 1", "label of 1"],
)
def test_a_prior_of_few_coordinates_takes_one_sample_or_many(prior, condition):
    prior = prior()
    z = tf.random.stateless_normal([3, 5, prior.latent_dim], [0, 0])
    first = None if condition is None else condition[0]
    alone, together = prior.log_prob(z[0], first), prior.log_prob(z, condition)
    assert (alone.shape, together.shape) == ((5,), (3, 5))
    tf.debugging.assert_near(alone, together[0], rtol=1e-5)
    assert prior.from_noise(z, condition).shape == (3, 5, prior.latent_dim)
    assert prior.from_noise(z[0], first).shape == (5, prior.latent_dim)
