"""Claims about noise by rows."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from vae_tf.noise import normal_rows, sixteen_bits_rows, uniform_rows

DRAWS = {"normal": normal_rows, "uniform": uniform_rows, "16 bits": sixteen_bits_rows}
KEY = tf.constant([3, 7])


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("width", [1, 5, 8, 50])
def test_a_row_is_a_function_of_its_number(name, width):
    whole = DRAWS[name](KEY, 3000, width).numpy()
    parts = [DRAWS[name](KEY, count, width, first).numpy() for first, count in ((0, 1000), (1000, 1), (1001, 1999))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    in_a_graph = tf.function(lambda first: DRAWS[name](KEY, 7, width, first))(tf.constant(20))
    np.testing.assert_array_equal(in_a_graph, whole[20:27])


@pytest.mark.parametrize("name", DRAWS)
def test_rows_and_keys_have_numbers_of_their_own(name):
    values = np.stack([DRAWS[name](key, 500, 8) for key in (KEY, tf.constant([3, 8]))]).reshape(-1, 8).astype(float)
    assert len(np.unique(values, axis=0)) == len(values)
    assert np.abs(np.corrcoef(values.T) - np.eye(8)).max() < 0.15
    assert np.abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("name", "distribution"), [("normal", stats.norm()), ("uniform", stats.uniform()), ("16 bits", stats.uniform(scale=2**16))]
)
def test_numbers_are_of_their_distribution(name, distribution):
    assert stats.kstest(DRAWS[name](KEY, 2000, 5).numpy().ravel().astype(float), distribution.cdf).pvalue > 0.001
