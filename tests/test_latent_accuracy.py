"""Claims about the accuracy of latents as features."""

import importlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from pieces import tiny

from vae_tf import VAE, DataError, DiagonalNormal, Normal, StandardNormal
from vae_tf.build import build_model
from vae_tf.evaluation.latent_accuracy import latent_accuracy

MODULE = importlib.import_module("vae_tf.evaluation.latent_accuracy")


class Identity(keras.layers.Layer):
    def call(self, inputs):
        return tf.reshape(inputs, [tf.shape(inputs)[0], np.prod(inputs.shape[1:])])


def seeing(slope):
    """A model whose posterior mean is slope [2, 2] times the two pixels."""
    vae = VAE(Identity(), Identity(), DiagonalNormal(2), Normal((2, 1, 1), scale=0.1), StandardNormal(2))
    vae.posterior.parameters.set_weights([np.concatenate([slope, np.zeros([2, 2])], 1), np.zeros(4)])
    return vae


def corners(count, seed, noise=0.05):
    """Images [N, 2, 1, 1] near four corners, of class 3 + 1 if the two pixels agree: which no line tells."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(count, 2))
    x = 0.2 + 0.6 * bits + noise * rng.normal(size=(count, 2))
    return x.astype("f4").reshape(-1, 2, 1, 1), 3 + (bits[:, 0] == bits[:, 1])


def test_a_linear_probe_finds_what_a_line_tells_and_neighbours_what_lies_together():
    (x, agree), (test_x, test_agree) = corners(400, 0), corners(300, 1)
    told = latent_accuracy(seeing(np.eye(2)), x, agree, test_x, test_agree)
    assert told.nearest_neighbours.value > 0.98
    assert told.linear_probe.value < 0.8
    first = latent_accuracy(seeing(np.eye(2)), x, (x[:, 0, 0, 0] > 0.5).astype(int), test_x, (test_x[:, 0, 0, 0] > 0.5).astype(int))
    assert first.linear_probe.value > 0.98


def test_latents_that_see_nothing_are_no_better_than_the_most_frequent_class():
    (x, y), (test_x, test_y) = corners(400, 0), corners(300, 1)
    told = latent_accuracy(seeing(np.zeros((2, 2))), x, y, test_x, test_y)
    assert told.most_frequent.value == np.mean(test_y == np.bincount(y).argmax())
    assert told.linear_probe.value == told.most_frequent.value
    assert told.nearest_neighbours.value < 0.6


def test_the_error_is_that_of_a_share_over_test_images():
    (x, y), (test_x, test_y) = corners(100, 0, noise=0.3), corners(300, 1, noise=0.3)
    found = latent_accuracy(seeing(np.eye(2)), x, y, test_x, test_y).nearest_neighbours
    share = found.value
    assert 0.5 < share < 1
    assert found.standard_error == pytest.approx(np.sqrt(share * (1 - share) / 299))
    assert (found.images, found.unit) == (300, "share")


def test_no_more_images_than_needed_are_fitted_on_whatever_their_order(monkeypatch):
    """Folders list one class after the other."""
    monkeypatch.setattr(MODULE, "_FITTED_ON", 60)
    (x, y), (test_x, test_y) = corners(400, 0), corners(300, 1)
    order = np.argsort(y)
    told = latent_accuracy(seeing(np.eye(2)), x[order], y[order], test_x, test_y)
    assert told.nearest_neighbours.value > 0.9
    assert told.nearest_neighbours.method == "10 nearest posterior means, fitted on 60 training images"
    assert told == latent_accuracy(seeing(np.eye(2)), x[order], y[order], test_x, test_y)


def test_a_model_with_labels_is_told_them_and_it_says_so(binary_images):
    vae = build_model(tiny(condition="classes"), (6, 5, 1), 2, label_size=2)
    vae.label_map.set_weights([10 * np.random.default_rng(0).normal(size=weight.shape) for weight in vae.label_map.get_weights()])
    y = np.arange(40) % 2
    told = latent_accuracy(vae, binary_images, y, binary_images, y)
    assert told.linear_probe.value > 0.9
    assert told.linear_probe.method.endswith("fitted on 40 training images, the encoder was told the classes")


CLASSES = np.arange(40) % 2


@pytest.mark.parametrize(
    ("train_y", "reason"),
    [
        (None, "the images have no labels"),
        (np.zeros((40, 3), "f4"), "labels are vectors, and there are no classes to find"),
        (np.zeros(40, int), "the training images are of one class"),
    ],
)
def test_where_there_is_no_class_to_find_there_is_a_reason(train_y, reason, binary_images):
    vae = build_model(tiny(), (6, 5, 1), 2)
    assert latent_accuracy(vae, binary_images, train_y, binary_images, CLASSES) == reason


@pytest.mark.parametrize(("name", "labels"), [("train_y", (CLASSES[:9], CLASSES)), ("test_y", (CLASSES, CLASSES[:9]))])
def test_a_label_that_is_missing_is_refused(name, labels, binary_images):
    vae = build_model(tiny(), (6, 5, 1), 2)
    with pytest.raises(DataError, match=f"`{name}` must be one for each of the 40 images, got 9."):
        latent_accuracy(vae, binary_images, labels[0], binary_images, labels[1])
