"""Claims about how steps are run: what is chosen, and that it changes numbers by rounding alone."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from vae_tf import (
    VAE,
    Bernoulli,
    ConvDecoder,
    ConvEncoder,
    DiagonalNormal,
    Elbo,
    InverseAutoregressivePosterior,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
    execution,
)
from vae_tf.config import Config
from vae_tf.errors import ConfigError
from vae_tf.execution import Execution, Work, choose

SHAPE, BATCH = (8, 8, 1), 16
LONG = Work(5000, BATCH)


@pytest.fixture
def matrix_instructions(monkeypatch):
    monkeypatch.setattr(execution, "_multiplies_bfloat16", lambda: True)


def convolutional(**options):
    keras.utils.set_random_seed(0)
    networks = {"filters": (4, 8), "hidden": 16}
    vae = VAE(ConvEncoder(**networks), ConvDecoder(SHAPE, **networks), DiagonalNormal(2), Bernoulli(SHAPE), StandardNormal(2))
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    return vae


def dense(**options):
    vae = VAE(MLPEncoder(hidden=(8,)), MLPDecoder(hidden=(8,)), DiagonalNormal(2), Bernoulli(SHAPE), StandardNormal(2))
    vae.compile(**options)
    return vae


def images(count):
    return (np.random.default_rng(0).random((count, *SHAPE)) < 0.4).astype(np.float32)


def fitted(vae):
    """Train, and return the losses of all epochs."""
    x = images(4 * BATCH)
    return vae.fit(x, batch_size=BATCH, epochs=5, shuffle=False, verbose=0, validation_data=x).history


@pytest.mark.parametrize(
    ("vae", "work", "expected"),
    [
        (dense, LONG, (True, "float32")),
        (dense, Work(100, BATCH), (False, "float32")),
        (convolutional, LONG, (False, "bfloat16")),
        (convolutional, None, (False, "float32")),
        (lambda: convolutional(precision="float32"), LONG, (False, "float32")),
        (lambda: convolutional(jit_compile=True), LONG, (True, "float32")),
        (lambda: dense(precision="bfloat16"), LONG, (False, "bfloat16")),
        (lambda: dense(jit_compile=False), LONG, (False, "float32")),
    ],
)
def test_what_is_not_asked_for_is_chosen(vae, work, expected, matrix_instructions):
    chosen = choose(vae(), work)
    assert (chosen.jit_compile, chosen.precision) == expected


def test_without_instructions_for_it_nothing_is_rounded(monkeypatch):
    monkeypatch.setattr(execution, "_multiplies_bfloat16", lambda: False)
    assert choose(convolutional(), LONG).precision == "float32"


def test_many_small_steps_share_a_call_and_large_ones_do_not():
    assert choose(dense(), Work(5000, 1)).steps_per_execution == 50
    assert choose(dense(), Work(5000, 2**25)).steps_per_execution == 1


@pytest.mark.parametrize(
    ("x", "options", "epochs"),
    [
        (lambda: tf.data.Dataset.from_tensor_slices(images(160)).batch(BATCH), {"steps_per_epoch": 25}, 1),
        (lambda: (images(BATCH) for _ in range(10)), {"steps_per_epoch": 25}, 1),
        (lambda: (images(BATCH) for _ in range(10)), {"steps_per_epoch": 5}, 2),
    ],
)
def test_data_that_end_early_are_trained_on_as_far_as_they_go(x, options, epochs):
    vae = dense()
    history = vae.fit(x(), epochs=epochs, verbose=0, **options).history
    assert len(history["loss"]) == epochs
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("validation", "steps"),
    [(lambda: tf.data.Dataset.from_tensor_slices(images(160)).batch(BATCH), 30), (lambda: ((images(BATCH),) for _ in range(3)), None)],
)
def test_a_validation_that_ends_early_counts(validation, steps):
    history = dense().fit(images(64), batch_size=BATCH, epochs=1, verbose=0, validation_data=validation(), validation_steps=steps).history
    assert np.isfinite(history["val_loss"]).all()


def test_any_number_of_steps_a_call_gives_the_same_bits():
    """Of an autoregressive posterior, too, whose graph TensorFlow optimizes otherwise in a loop."""

    def trained(steps):
        keras.utils.set_random_seed(0)
        posterior = InverseAutoregressivePosterior(3, layers=2, hidden=16, context=8)
        vae = VAE(MLPEncoder(hidden=(8,)), MLPDecoder(hidden=(8,)), posterior, Bernoulli(SHAPE), StandardNormal(3))
        vae.compile(keras.optimizers.Adam(1e-2), Elbo(gradient="total"), jit_compile=False, steps_per_execution=steps)
        return fitted(vae), vae.get_weights()

    (history, weights), *others = [trained(steps) for steps in (1, 3, None)]
    for other, also in others:
        assert other == history
        assert all(np.array_equal(a, b) for a, b in zip(weights, also))


@pytest.mark.parametrize("x", [images(64).astype(np.uint8), tf.data.Dataset.from_tensor_slices(images(64).astype(float)).batch(BATCH)])
def test_images_of_any_type_are_trained_on(x):
    assert np.isfinite(dense().fit(x, epochs=2, verbose=0).history["loss"]).all()


def test_rounding_is_small_and_of_training_alone():
    exact, rounded = convolutional(precision="float32"), convolutional(precision="bfloat16")
    losses, others = fitted(exact), fitted(rounded)
    assert rounded.execution.precision == "bfloat16"
    assert losses["loss"] != others["loss"]
    np.testing.assert_allclose(others["loss"], losses["loss"], rtol=0.02)
    rounded.set_weights(exact.get_weights())
    x = images(BATCH)
    assert rounded.evaluate(x, verbose=0) == exact.evaluate(x, verbose=0)
    np.testing.assert_array_equal(rounded.predict(x, verbose=0), exact.predict(x, verbose=0))


def test_weights_stay_float32_and_the_process_as_it_was():
    before = tf.config.optimizer.get_experimental_options()
    vae = convolutional(precision="bfloat16")
    fitted(vae)
    assert {weight.dtype for weight in vae.trainable_weights} == {tf.float32}
    assert tf.config.optimizer.get_experimental_options().get(execution._ROUNDED, False) == before.get(execution._ROUNDED, False)


def test_a_model_trains_on_in_another_precision():
    vae = convolutional(precision="bfloat16")
    fitted(vae)
    vae.compile(vae.optimizer, precision="float32")
    fitted(vae)
    assert vae.execution.precision == "float32"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "`precision` must be float32 or bfloat16, got 'float16'"),
        ({"precision": "bfloat16", "jit_compile": True}, "`precision` bfloat16 is not for steps that XLA compiles"),
    ],
)
def test_what_can_not_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        convolutional(**options)


def test_the_configuration_knows_precisions():
    values = {"data": {"source": "digits"}, "model": {"latent_dim": 2}, "training": {"precision": "float16"}}
    with pytest.raises(ConfigError, match=r"training\.precision"):
        Config.from_dict(values)


def test_the_choice_reads_as_a_person_says_it():
    assert str(Execution(False, 4, "bfloat16")) == "bfloat16, no XLA, 4 steps a call"
