"""Claims about the model as a Keras model: fit, evaluate, predict and callbacks in every mode, and the metrics' meaning."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf import (
    VAE,
    Bernoulli,
    ConfigError,
    ConvDecoder,
    ConvEncoder,
    DataError,
    DiagonalNormal,
    Elbo,
    FullNormal,
    ImportanceWeighted,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
)

tfd = tfp.distributions
METRICS = ("loss", "elbo", "kl", "reconstruction")


def tiny(latent_dim=2, seed=0, posterior=DiagonalNormal, shape=(6, 5, 1)):
    keras.utils.set_random_seed(1)
    return VAE(
        MLPEncoder(hidden=(8,)), MLPDecoder(hidden=(8,)), posterior(latent_dim), Bernoulli(shape), StandardNormal(latent_dim), seed=seed
    )


def trained(x, epochs=2, objective=None, **compile_options):
    vae = tiny()
    vae.compile(keras.optimizers.Adam(0.01), objective, **compile_options)
    return vae, vae.fit(x, batch_size=10, epochs=epochs, shuffle=False, verbose=0).history


def test_encode_and_decode_return_distributions(binary_images):
    vae = tiny()
    q, px = vae.encode(binary_images[:4]), vae.decode(np.zeros((3, 4, 2), np.float32))
    assert isinstance(q, tfd.Distribution)
    assert isinstance(px, tfd.Distribution)
    assert (q.batch_shape, q.event_shape, px.batch_shape, px.event_shape) == ([4], [2], [3, 4], [6, 5, 1])


@pytest.mark.parametrize("posterior", [DiagonalNormal, FullNormal])
def test_the_kl_is_counted_once(binary_images, posterior):
    """The reported KL is the closed form, and the loss is minus reconstruction plus exactly one KL."""
    vae = tiny(posterior=posterior)
    vae.compile(objective=Elbo(samples=2000))
    got = vae.evaluate(binary_images, batch_size=10, verbose=0, return_dict=True)
    # KL of each posterior to N(0, I): for the diagonal normal a sum of (m^2 + s^2 - 1 - log s^2) / 2
    q = vae.encode(binary_images)
    covariance = q.covariance() if posterior is FullNormal else tf.linalg.diag(q.variance())
    closed = 0.5 * (tf.reduce_sum(q.mean() ** 2, -1) + tf.linalg.trace(covariance) - 2 - tf.linalg.logdet(covariance))
    exact = float(tf.reduce_mean(closed))
    assert exact > 0.05
    assert got["kl"] == pytest.approx(exact, rel=0.05)
    assert got["loss"] == pytest.approx(-got["reconstruction"] + got["kl"], rel=1e-4)
    assert got["elbo"] == pytest.approx(-got["loss"], rel=1e-5)


def test_the_weight_changes_the_loss_and_not_the_elbo(binary_images):
    vae = tiny()
    vae.compile(objective=Elbo(weight=3.0))
    got = vae.evaluate(binary_images, verbose=0, return_dict=True)
    assert got["elbo"] == pytest.approx(got["reconstruction"] - got["kl"], rel=1e-4)
    assert got["loss"] == pytest.approx(-got["reconstruction"] + 3 * got["kl"], rel=1e-4)


@pytest.mark.parametrize("objective", [Elbo(), Elbo(weight=2.0, warmup_steps=5), ImportanceWeighted(samples=3)])
@pytest.mark.parametrize(
    "mode", [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 2}], ids=["graph", "eager", "xla", "many-steps"]
)
def test_fit_improves_the_bound_in_every_mode(binary_images, objective, mode):
    _, history = trained(binary_images, epochs=8, objective=objective, **mode)
    assert set(METRICS) == set(history)
    assert history["reconstruction"][-1] > history["reconstruction"][0] + 1


def test_eager_and_graph_give_the_same_numbers(binary_images):
    (_, eager), (_, graph) = trained(binary_images, run_eagerly=True), trained(binary_images)
    np.testing.assert_allclose(eager["loss"], graph["loss"], rtol=1e-5)


def test_equal_seeds_give_equal_weights_and_another_seed_others(binary_images):
    def weights(seed):
        vae = tiny(seed=seed)
        vae.compile(keras.optimizers.Adam(0.01))
        vae.fit(binary_images, batch_size=10, shuffle=False, verbose=0)
        return [variable.numpy() for variable in vae.trainable_variables]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


def test_fit_takes_datasets_with_labels_validation_data_and_callbacks(binary_images, tmp_path):
    labels = np.zeros(len(binary_images))
    dataset = tf.data.Dataset.from_tensor_slices((binary_images, labels)).batch(16)
    vae = tiny()
    vae.compile()
    callbacks = [
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "best.weights.h5"), "val_loss", save_weights_only=True, save_best_only=True),
        keras.callbacks.ReduceLROnPlateau("val_loss"),
        keras.callbacks.TensorBoard(str(tmp_path / "tensorboard")),
    ]
    history = vae.fit(dataset, epochs=2, validation_data=binary_images[:7], callbacks=callbacks, verbose=0).history
    assert {*METRICS, *(f"val_{name}" for name in METRICS)} <= set(history)
    assert (tmp_path / "best.weights.h5").exists()
    assert list((tmp_path / "tensorboard").rglob("events*"))


def test_fit_and_evaluate_take_the_batch_size_in_its_place(binary_images):
    vae = tiny()
    vae.compile()
    vae.fit(binary_images, None, 10, 2, verbose=0)
    assert int(vae.optimizer.iterations) == 8
    assert vae.evaluate(binary_images, None, 10, verbose=0) == vae.evaluate(binary_images, batch_size=10, verbose=0)


def test_metrics_average_over_examples_not_over_batches(binary_images):
    """The last batch is smaller: its images must not weigh more."""
    vae = tiny()
    vae.compile(objective=Elbo(samples=500))
    x = np.concatenate([np.zeros_like(binary_images[:9]), np.ones_like(binary_images[:1])])
    whole = vae.evaluate(x, batch_size=10, verbose=0, return_dict=True)
    parts = vae.evaluate(x, batch_size=9, verbose=0, return_dict=True)
    assert parts["reconstruction"] == pytest.approx(whole["reconstruction"], rel=0.01)


def test_sample_weights_weigh_examples(binary_images):
    vae = tiny()
    vae.compile(objective=Elbo(samples=500))
    x = np.concatenate([np.zeros_like(binary_images[:5]), np.ones_like(binary_images[:5])])
    only_zeros = vae.evaluate(x[:5], verbose=0, return_dict=True)
    weighted = vae.evaluate(x, x, sample_weight=np.repeat([1.0, 0.0], 5), verbose=0, return_dict=True)
    assert weighted["reconstruction"] == pytest.approx(only_zeros["reconstruction"], rel=0.01)


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_an_example_of_weight_zero_is_not_trained_on(binary_images, shape):
    """Also where weights come as a column: they must not be spread over the batch."""

    def weights_after(weight):
        vae = tiny()
        vae.compile(keras.optimizers.SGD(0.1))
        vae.fit(x, x, sample_weight=weight, batch_size=20, shuffle=False, epochs=3, verbose=0)
        return vae.trainable_variables

    x = np.concatenate([binary_images[:10], np.ones_like(binary_images[:10])])
    weight = np.repeat([2.0, 0.0], 10).astype(np.float32)
    expected = weights_after(weight)
    got = weights_after(weight.reshape(shape))
    for a, b in zip(expected, got):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert not all(np.allclose(a, b) for a, b in zip(expected, weights_after(np.ones(20, np.float32))))


def test_layers_know_that_they_are_trained_and_their_penalties_count(binary_images):
    class Body(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(10.0))
            self.normalization = keras.layers.BatchNormalization()

        def call(self, inputs, training=False):
            flat = tf.reshape(inputs, [-1, np.prod(inputs.shape[1:])])
            return self.normalization(self.dense(flat), training=training)

    vae = VAE(Body(), MLPDecoder(hidden=(8,)), DiagonalNormal(2), Bernoulli((6, 5, 1)), StandardNormal(2))
    vae.compile(keras.optimizers.Adam(0.01))
    before = np.abs(vae.encoder.dense.kernel).sum()
    vae.fit(binary_images, batch_size=10, epochs=10, verbose=0)
    assert np.abs(vae.encoder.normalization.moving_mean).sum() > 0
    assert np.abs(vae.encoder.dense.kernel).sum() < 0.8 * before


def test_evaluate_repeats_itself_and_does_not_replay_the_training_noise(binary_images):
    vae, _ = trained(binary_images)
    first, again = (vae.evaluate(binary_images, batch_size=10, verbose=0) for _ in range(2))
    assert first == again
    seeds = {tuple(vae._seed(stream, tf.constant(index)).numpy()) for stream in (0, 1) for index in range(50)}
    assert len(seeds) == 100


def test_predict_reconstructs(binary_images):
    vae, _ = trained(binary_images)
    reconstruction = vae.predict(binary_images, verbose=0)
    assert reconstruction.shape == binary_images.shape
    np.testing.assert_allclose(reconstruction, vae.decode(vae.encode(binary_images).mean()).mean(), atol=1e-5)


def test_weights_survive_saving(binary_images, tmp_path):
    vae, _ = trained(binary_images)
    vae.save_weights(tmp_path / "model.weights.h5")
    fresh = tiny(seed=5)
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh.generate(4, seed=3), vae.generate(4, seed=3))


def test_generate_depends_on_the_seed_and_on_nothing_else():
    vae = tiny()
    np.testing.assert_array_equal(vae.generate(3, seed=1), vae.generate(3, seed=1))
    np.testing.assert_allclose(vae.generate(3, seed=1), vae.generate(5, seed=1)[:3], atol=1e-6)
    assert not np.array_equal(vae.generate(3, seed=1), vae.generate(3, seed=2))


def test_the_generator_holds_nothing_of_the_encoder():
    vae = tiny()
    generator = {variable.ref() for variable in vae.generator.variables}
    assert generator.isdisjoint({variable.ref() for variable in [*vae.encoder.variables, *vae.posterior.variables]})
    assert generator == {variable.ref() for variable in [*vae.decoder.variables, *vae.likelihood.variables]}


def test_a_draw_is_a_function_of_two_noises():
    vae = tiny()
    eps, uniform = tf.zeros([3, 2]), tf.fill([3, 6, 5, 1], 0.5)
    x = vae.generator.draw(eps, uniform)
    np.testing.assert_array_equal(x, vae.generator.draw(eps, uniform))
    np.testing.assert_array_equal(x, (vae.generator(eps).mean().numpy() > 0.5).astype(np.float32))


@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 5, 3), (28, 28, 1), (9, 16, 3)])
def test_convolutions_fit_every_image_size(shape):
    encoder, decoder = ConvEncoder(filters=(2, 3), hidden=4), ConvDecoder(shape, filters=(2, 3), hidden=4)
    vae = VAE(encoder, decoder, DiagonalNormal(2), Bernoulli(shape), StandardNormal(2))
    assert vae.generate(2).shape == (2, *shape)


def test_a_gate_multiplies():
    z = tf.random.stateless_normal([3, 2], [0, 0])
    layer = MLPDecoder(hidden=(4,), activation="gated")
    features = layer(z)
    value, gate = np.split(layer.body.layers[0].both(z), 2, axis=-1)
    np.testing.assert_allclose(features, value / (1 + np.exp(-gate)), rtol=1e-5)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda vae: vae.compile(loss="mse"),
            ConfigError,
            "`loss` is not for a VAE: the loss is minus the bound of `objective`",
        ),
        (lambda vae: vae.compile(metrics=["mse"]), ConfigError, "`metrics` is not for a VAE"),
        (lambda vae: vae.compile("adam", "mse"), ConfigError, "`objective` must be an objective such as .*, got 'mse'"),
        (lambda vae: vae.save("vae.keras"), ConfigError, "`save` would write code into a file; use `save_weights`"),
        (lambda vae: vae.fit(tf.fill([4, 6, 5, 1], 0.5)), DataError, "only 0 and 1 for a Bernoulli"),
        (lambda vae: vae.fit(tf.data.Dataset.from_tensors(tf.fill([4, 6, 5, 1], 0.5))), DataError, "only 0 and 1 for a Bernoulli"),
        (lambda vae: vae.evaluate(np.full((4, 6, 5, 1), 0.5, "f4")), DataError, "only 0 and 1 for a Bernoulli"),
        (
            lambda vae: vae.fit(np.zeros((4, 6, 5, 1), "f4"), validation_data=(tf.fill([4, 6, 5, 1], 0.5), None)),
            DataError,
            "only 0 and 1 for a Bernoulli",
        ),
        (
            lambda vae: VAE(vae.encoder, vae.decoder, vae.posterior, vae.likelihood, vae.prior, seed=-1),
            ConfigError,
            "`seed` must be from 0 to 2..31 - 1, got -1",
        ),
        (lambda vae: MLPEncoder(activation="rleu"), ConfigError, "`activation` must be a Keras activation such as 'relu', .* got 'rleu'"),
        (lambda vae: vae.fit(np.full((4, 6, 5, 1), 0.5, "f4")), DataError, "only 0 and 1 for a Bernoulli"),
        (lambda vae: vae.fit(np.zeros((4, 28, 28, 1), "f4")), DataError, r"shape \[N, 6, 5, 1\], got \[4, 28, 28, 1\]"),
        (lambda vae: vae.fit(np.zeros((4, 6, 5, 1), "f4"), sample_weight=np.ones(4)), ConfigError, "`sample_weight` needs a `y`"),
        (lambda vae: vae.generate(0), ConfigError, "`count` must be at least 1, got 0"),
        (lambda vae: vae.generate(3, seed=-1), ConfigError, "`seed` must be at least 0, got -1"),
        (
            lambda vae: VAE(vae.encoder, vae.decoder, vae.posterior, vae.likelihood, StandardNormal(3)),
            ConfigError,
            "the posterior's 2 latent dimensions, got 3",
        ),
        (lambda vae: MLPEncoder(hidden=()), ConfigError, "`hidden` must hold 1 to 8 widths"),
        (lambda vae: ConvEncoder(filters=(0,)), ConfigError, "`filters` must hold 1 to 8 widths, each from 1 to 65536, got .0."),
    ],
)
def test_refuses(act, error, message):
    vae = tiny()
    vae.compile()
    with pytest.raises(error, match=message):
        act(vae)
