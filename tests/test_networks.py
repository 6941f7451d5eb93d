"""Claims about encoders and decoders: every one of the registries."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.networks import DECODERS, ENCODERS, ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder, ResidualDecoder, ResidualEncoder
from vae_tf.networks.layers import DoublingConv
from vae_tf.networks.residual import Residual

D, SHAPE = 3, (7, 5, 3)
OPTIONS = {  # a body that is not here fails
    "mlp": {"hidden": (6, 5)},
    "conv": {"filters": (4, 6), "hidden": 7},
    "residual": {"filters": (8, 6), "hidden": 7},
}
SHAPES = [(8, 8, 1), SHAPE, (28, 28, 1), (9, 16, 3), (32, 32, 3), (64, 64, 3), (1, 1, 1)]
GATED = {"mlp", "conv"}
BODIES = [
    *(("encoder", name, {}) for name in ENCODERS),
    *(("decoder", name, {"skips": skips}) for name in DECODERS for skips in (False, True)),
    *((kind, name, {"activation": "gated"}) for kind in ("encoder", "decoder") for name in sorted(GATED)),
]
every_body = pytest.mark.parametrize(("kind", "name", "options"), BODIES)
every_decoder = pytest.mark.parametrize("name", DECODERS)
every_decoder_of_maps = pytest.mark.parametrize("name", [name for name in DECODERS if name != "mlp"])


def normal(*shape, seed=0):
    return tf.random.stateless_normal(shape, [seed, 1])


def make(kind, name, shape=SHAPE, **options):
    """A tiny body and inputs for it."""
    keras.utils.set_random_seed(0)
    if kind == "encoder":
        return ENCODERS[name](**OPTIONS[name] | options), normal(4, *shape)
    given = {} if name == "mlp" else {"image_shape": shape}
    return DECODERS[name](**given, **OPTIONS[name] | options), normal(4, D)


def levels(decoder):
    """The layers after each of which z enters, where it does; a list that the decoder reads."""
    return decoder.body.layers if hasattr(decoder, "body") else decoder.levels


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_makes_vectors_of_images_of_every_size(name, shape):
    encoder, x = make("encoder", name, shape)
    assert encoder(x).shape == (4, np.ravel(OPTIONS[name]["hidden"])[-1])


@pytest.mark.parametrize("shape", SHAPES)
@every_decoder_of_maps
def test_a_decoder_makes_maps_of_every_size(name, shape):
    decoder, z = make("decoder", name, shape)
    assert decoder(z).shape == (4, *shape[:2], OPTIONS[name]["filters"][0])


@every_body
def test_gradients_reach_every_weight(kind, name, options):
    body, inputs = make(kind, name, **options)
    with tf.GradientTape() as tape:
        features = body(inputs)
        loss = tf.reduce_sum(features * normal(*features.shape, seed=1))
    gradients = tape.gradient(loss, body.trainable_weights)
    assert [w.name for w, g in zip(body.trainable_weights, gradients) if g is None or not np.any(g)] == []
    assert body.non_trainable_weights == []


@every_body
def test_eager_graph_and_xla_agree(kind, name, options):
    body, inputs = make(kind, name, **options)

    def features_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            features = body(x)
        return features, tape.gradient(features, x)

    eager = features_and_gradient(inputs)
    assert np.std(eager[0]) > 1e-3
    for jit_compile in (False, True):
        compiled = tf.function(features_and_gradient, jit_compile=jit_compile)(inputs)
        for value, expected in zip(compiled, eager):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@every_body
def test_training_changes_nothing_and_no_example_sees_another(kind, name, options):
    body, inputs = make(kind, name, **options)

    class Outer(keras.layers.Layer):
        def call(self, x, training=False):
            return body(x)  # which reads `training` from the outermost call, as inside a model

    features = Outer()(inputs, training=False)
    np.testing.assert_array_equal(Outer()(inputs, training=True), features)
    np.testing.assert_allclose(body(inputs[:1]), features[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
@every_decoder
def test_with_skips_z_enters_after_every_level(name, index):
    def spread_after_cut(skips):
        """How much z changes what follows a level that returns a constant."""
        decoder, z = make("decoder", name, skips=skips)
        decoder(z)
        path, seen = levels(decoder), []
        cut = path[index].call
        path[index].call = lambda h, **_: tf.ones_like(cut(h))
        if index + 1 < len(path):
            follow = path[index + 1].call
            path[index + 1].call = lambda h, **_: seen.append(h) or follow(h)
        seen.append(decoder(z))
        return np.ptp(seen[0], axis=0).max()

    assert spread_after_cut(skips=False) == 0
    assert spread_after_cut(skips=True) > 0.01


@every_decoder_of_maps
def test_a_level_reaches_all_pixels_alike(name):
    """Equal weights and equal inputs give equal pixels away from the border: there is no checkerboard to unlearn."""
    decoder, z = make("decoder", name)
    decoder(z)
    source = OPTIONS[name]["filters"][-1]
    for level, channels in zip(decoder.levels, reversed(OPTIONS[name]["filters"])):
        for weight in level.trainable_weights:
            weight.assign(tf.ones_like(weight))
        inside = level(tf.ones([1, 12, 12, source]))[0, 6:-6, 6:-6].numpy()
        assert inside.shape == (12, 12, channels)
        np.testing.assert_allclose(inside, np.broadcast_to(inside[:1, :1], inside.shape), rtol=1e-5)
        source = channels


def test_doubling_is_a_convolution_of_repeated_pixels():
    layer, plain, h = DoublingConv(5), keras.layers.Conv2D(5, 3, padding="same"), normal(2, 4, 3, 7)
    doubled = layer(h)
    plain.build([None, 8, 6, 7])
    plain.set_weights([*layer.get_weights()[:1], np.ones(5)])
    layer.bias.assign(tf.ones(5))
    np.testing.assert_allclose(layer(h), plain(keras.layers.UpSampling2D(2)(h)), rtol=1e-5, atol=1e-5)
    assert doubled.shape == (2, 8, 6, 5)


def test_gates_multiply_in_convolutions_too():
    encoder, x = make("encoder", "conv", activation="gated")
    encoder(x)
    gated = encoder.body.layers[0]
    value, gate = np.split(gated.both(x), 2, axis=-1)
    np.testing.assert_allclose(gated(x), value / (1 + np.exp(-gate)), rtol=1e-5, atol=1e-6)


def test_a_residual_block_starts_near_the_identity():
    keras.utils.set_random_seed(0)
    h = normal(4, 8, 8, 32)
    branch = Residual(32, "swish")(h) - h
    assert 0.01 < np.std(branch) / np.std(h) < 0.2


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: MLPEncoder(hidden=()), "`hidden` must hold 1 to 8 widths, each from 1 to 65536, got []."),
        (lambda: MLPDecoder(hidden=(3,) * 9), "`hidden` must hold 1 to 8 widths"),
        (lambda: ConvEncoder(filters=(0,)), "`filters` must hold 1 to 8 widths, each from 1 to 65536, got [0]."),
        (lambda: ConvDecoder((8, 8, 1), filters=()), "`filters` must hold 1 to 8 widths"),
        (lambda: ConvDecoder((8, 8, 1), hidden=0), "`hidden` must hold 1 to 8 widths"),
        (
            lambda: ConvDecoder((64, 64, 3), filters=(128,)),
            "`filters` of a decoder starts from a map of 32 x 32 x 128 = 131072 values, more than 65536; add a level or make the last one "
            "narrower, got [128].",
        ),
        (lambda: ResidualDecoder((64, 64, 3), filters=(128,)), "`filters` of a decoder starts from a map of 32 x 32 x 128"),
        (lambda: ResidualEncoder(filters=(70000,)), "`filters` must hold 1 to 8 widths"),
        (lambda: ResidualEncoder(blocks=-1), "`blocks` must be from 0 to 16, got -1."),
        (lambda: ResidualDecoder((8, 8, 1), blocks=17), "`blocks` must be from 0 to 16, got 17."),
        (lambda: MLPEncoder(activation="rleu"), "`activation` must be a Keras activation such as 'relu', or 'gated' in mlp and conv"),
        (lambda: ConvDecoder((8, 8, 1), activation="rleu"), "or 'gated' in mlp and conv networks, got 'rleu'."),
        (lambda: ResidualEncoder(activation="gated"), "or 'gated' in mlp and conv networks, got 'gated'."),
    ],
)
def test_refuses(act, message):
    with pytest.raises(ConfigError) as refused:
        act()
    assert message in str(refused.value)
