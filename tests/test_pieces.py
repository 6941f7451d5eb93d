"""Claims about every piece, by registry, and about the product of the axes. `pieces.py` has a line for each; without it the suite fails."""

import inspect
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import yaml
from pieces import LAYERED, OPTIONS, REGISTRIES, senseless, spec, tiny

from vae_tf.build import build, build_objective, build_piece
from vae_tf.config import Config, preset
from vae_tf.errors import ConfigError
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.objective import OBJECTIVES
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS

SHAPE, LEVELS, CLASSES, ROWS = (4, 3, 1), 2, 3, 4
LABELS = {"classes": np.arange(ROWS) % CLASSES, "vector": np.random.default_rng(1).normal(size=(ROWS, CLASSES)).astype("f4"), None: None}
STEP = tf.constant(10**6, tf.int64)
PRIOR_NAMES = [*PRIORS, "top-down/vampprior"]
PIECES = [(axis, name) for axis, registry in REGISTRIES.items() for name in registry]
every_piece = pytest.mark.parametrize(("axis", "name"), PIECES, ids=[f"{axis}-{name}" for axis, name in PIECES])


@pytest.fixture(scope="module")
def images():
    return (np.random.default_rng(0).random((ROWS, *SHAPE)) < 0.4).astype("f4")


def companions(axis, name):
    """Names of pieces, `name` among them, that make sense together."""
    axes = {axis: name}
    if name == "ladder":
        axes["prior"] = "top-down"
    if (axis, name) == ("prior", "conditional-normal"):
        axes["condition"] = "classes"
    return axes


def model(axes, seed=0):
    config = tiny(**axes)
    keras.utils.set_random_seed(0)
    return build(Config.from_dict(config.to_dict() | {"seed": seed}), SHAPE, LEVELS, 10, CLASSES)


def label(vae, axes):
    return None if vae.condition is None else tf.constant(LABELS[axes["condition"]])


def densities(vae, x, y):
    """Every number that a model says of fixed images, latents and noise."""
    rng = np.random.default_rng(2)
    z = tf.constant(0.5 * rng.normal(size=(2, ROWS, vae.prior.latent_dim)), tf.float32)
    eps = tf.constant(rng.normal(size=(ROWS, vae.generator.noise_dim)), tf.float32)
    uniform = tf.constant(rng.uniform(0.01, 0.99, size=(ROWS, *SHAPE)), tf.float32)
    q, px = vae.encode(x, y), vae.generator(eps, y)
    condition = vae.generator.beside(z, y)
    return [
        q.log_prob(z),
        vae.prior.log_prob(z, condition),
        vae.prior.from_noise(eps, vae.generator.beside(eps, y)),
        vae.decode(z, y).log_prob(x),
        px.mean(),
        vae.generator.draw(eps, uniform, y),
    ]


@pytest.mark.parametrize("axis", REGISTRIES)
def test_every_piece_is_tested(axis):
    assert set(OPTIONS[axis]) == set(REGISTRIES[axis]), "tests/pieces.py needs one line for each registered piece"


@every_piece
def test_gradients_reach_every_weight(axis, name, images):
    axes = companions(axis, name)
    vae = model(axes)
    with tf.GradientTape() as tape:
        draw = vae.draw(tf.constant(images), vae.objective.samples, tf.constant([0, 1]), label=label(vae, axes))
        loss = -tf.reduce_mean(vae.objective(draw, STEP))
    for gradient, variable in zip(tape.gradient(loss, vae.trainable_variables), vae.trainable_variables):
        assert gradient is not None, variable.name
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), variable.name


@every_piece
def test_saved_weights_bring_back_every_number(axis, name, images, tmp_path):
    axes = companions(axis, name)
    first, second = model(axes), model(axes)
    for variable in first.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    first.save_weights(tmp_path / "a.weights.h5")
    second.load_weights(tmp_path / "a.weights.h5")
    y = label(first, axes)
    for a, b in zip(densities(first, images, y), densities(second, images, y)):
        np.testing.assert_array_equal(a, b)


@every_piece
def test_a_configuration_survives_a_file(axis, name):
    config = tiny(**companions(axis, name))
    assert Config.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


@every_piece
def test_eager_graph_and_xla_say_the_same_of_fixed_noise(axis, name, images):
    if axis == "objective":
        pytest.skip("an objective says nothing of noise; test_objective.py compares the modes on one draw")
    axes = companions(axis, name)
    vae = model(axes)
    x, y = tf.constant(images), label(vae, axes)
    eager = densities(vae, x, y)
    for jit in (False, True):
        compiled = tf.function(lambda: densities(vae, x, y), jit_compile=jit, autograph=False)()
        for a, b in zip(eager, compiled):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@every_piece
def test_fit_takes_a_step_and_the_numbers_stay_finite(axis, name, images):
    axes = companions(axis, name)
    vae = model(axes)
    before = vae.get_weights()
    history = vae.fit(images, LABELS[axes.get("condition")], batch_size=ROWS, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert any(np.any(a != b) for a, b in zip(before, vae.get_weights()))
    assert len(vae.generate(ROWS, label=LABELS[axes.get("condition")])) == ROWS


@pytest.mark.parametrize("condition", [None, "classes"])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_product_of_the_axes_works_or_is_refused_with_a_remedy(posterior, condition, images):
    """Posterior x prior x likelihood x objective, eagerly, one draw each; with a condition the first likelihood stands for all."""
    likelihoods = {
        name: build_piece("likelihood", LIKELIHOODS, spec("likelihood", name), image_shape=SHAPE, levels=LEVELS)
        for name in (LIKELIHOODS if condition is None else list(LIKELIHOODS)[:1])
    }
    y = None if condition is None else tf.constant(LABELS[condition])
    for prior in PRIOR_NAMES:
        axes = {"posterior": posterior, "prior": prior, "condition": condition}
        if reason := senseless(axes):
            with pytest.raises(ConfigError) as refusal:
                model(axes)
            assert reason in str(refusal.value)
            continue
        vae = model(axes)
        objectives = {}
        for objective in OBJECTIVES:
            made = build_objective(tiny(**axes, objective=objective), 10)
            lacking = [need for need in made.needs if need in vae.posterior.lacks or need in vae.prior.lacks]
            if lacking:
                with pytest.raises(ConfigError, match="`objective` asks for .* choose "):
                    vae.compile(objective=made)
            else:
                objectives[objective] = made
        assert len(objectives) >= len(OBJECTIVES) // 2
        samples = max(made.samples for made in objectives.values())
        for likelihood, layer in likelihoods.items():
            vae.generator.likelihood = layer
            draw = vae.draw(tf.constant(images), samples, tf.constant([0, 1]), label=y)
            for objective, made in objectives.items():
                bound = made(draw, STEP)
                assert bound.shape == [ROWS], (prior, likelihood, objective)
                assert np.isfinite(bound).all(), (prior, likelihood, objective)


@pytest.mark.parametrize("decoder", OPTIONS["decoder"])
def test_the_product_of_decoders_likelihoods_and_conditions_works(decoder, images):
    """With each encoder. A likelihood takes what the decoder makes: one after the other takes the place of the first."""
    for encoder, condition in product(OPTIONS["encoder"], (None, "vector")):
        vae = model({"encoder": encoder, "decoder": decoder, "condition": condition})
        y = label(vae, {"condition": condition})
        for likelihood in LIKELIHOODS:
            given = {"image_shape": SHAPE, "levels": LEVELS}
            vae.generator.likelihood = build_piece("likelihood", LIKELIHOODS, spec("likelihood", likelihood), **given)
            assert np.isfinite(vae(images if y is None else (images, y))).all(), (encoder, condition, likelihood)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"posterior": "hierarchical", "latent_dim": 5}, r"needs at least 2 of them, got `latent_dim` \[5\]; give one size for each"),
        ({"prior": "top-down", "latent_dim": 5}, r"needs at least 2 of them, got `latent_dim` \[5\]"),
        (
            {"latent_dim": [2, 3]},
            "`model.latent_dim` has 2 layers, and neither posterior nor prior has any; choose",
        ),
        ({"posterior": "iaf", "objective": "elbo-path"}, "InverseAutoregressivePosterior has none: .*`objective.gradient=total`"),
        ({"condition": "classes", "label_size": None}, "needs images labelled by at least 2 classes, got images without labels"),
        ({"condition": "classes", "label_size": 1}, "needs images labelled by at least 2 classes, got labels of 1 class"),
        ({"condition": "classes", "label_size": 2**40}, "`model.condition` takes at most 65536 classes"),
        ({"condition": "vector", "label_size": None}, "`model.condition` needs images labelled by vectors, got images without labels"),
        ({"prior": "nonsense"}, "`model.prior` 'nonsense' does not exist"),
        ({"prior": {"name": "top-down", "top": {"name": "nonsense"}}, "latent_dim": [2, 3]}, "`model.prior.top` 'nonsense' does not exist"),
        ({"prior": {"name": "top-down", "top": 5}, "latent_dim": [2, 3]}, "`model.prior.top`: "),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_built(axes, message):
    values = tiny().to_dict()
    axes = dict(axes)
    label_size = axes.pop("label_size", CLASSES)
    if axes.pop("objective", None):
        values["objective"] = {"name": "elbo", "gradient": "path"}
    for axis, choice in axes.items():
        values["model"][axis] = spec(axis, choice) if isinstance(choice, str) and choice in OPTIONS[axis] else choice
    with pytest.raises(ConfigError, match=message):
        build(Config.from_dict(values), SHAPE, LEVELS, 10, label_size)


def test_layered_pieces_are_those_that_take_layers():
    for axis, names in LAYERED.items():
        assert {name for name, piece in REGISTRIES[axis].items() if "latent_dims" in inspect.signature(piece).parameters} == set(names)


@pytest.mark.parametrize(
    "axes",
    [
        {"condition": "classes"},
        {"condition": "vector", "prior": "conditional-normal"},
        {"prior": "coupling-flow", "posterior": "coupling-flow"},
        {"posterior": "ladder", "prior": "top-down/vampprior"},
        {"posterior": "hierarchical", "prior": "top-down/mixture"},
        {"posterior": "iaf", "prior": "iaf"},
        {"encoder": "residual", "decoder": "residual"},
    ],
)
def test_mixed_precision_leaves_log_densities_in_single_precision(axes, images):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        vae = model(axes)
        history = vae.fit(images, LABELS[axes.get("condition")], batch_size=ROWS, verbose=0).history
        draw = vae.draw(tf.constant(images), 1, tf.constant([0, 1]), label=label(vae, axes))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert {value.dtype for value in (draw.z, draw.log_q, draw.log_prior, draw.log_likelihood)} == {tf.float32}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["objective.name=renyi"], "unknown key `warmup_epochs`.* `--set objective=renyi`"),
        (["objective.warmup_steps=4"], "a configuration counts time in epochs; give `warmup_epochs`"),
        (["objective.warmup_epochs=-1"], "`objective.warmup_epochs` must be at least 0 epochs, got -1"),
        (["objective.warmup_epochs=true"], "`objective.warmup_epochs` must be at least 0 epochs, got True"),
        (["objective.warmup_epochs=9999"], "train for longer or shorten it, by `objective.warmup_epochs`"),
        (["objective.samples=true"], "`samples` must be a number or a word, got true"),
        (["model.prior=top-down", "model.prior.top.components=3"], "choose the piece first, by model.prior.top=NAME"),
    ],
)
def test_a_misplaced_setting_is_refused_with_the_way_out(assignments, message):
    with pytest.raises(ConfigError, match=message):
        build(preset("digits").override(assignments), (8, 8, 1), 17, 10)


def test_a_piece_inside_a_piece_is_set_by_name_and_option():
    settings = ["model.latent_dim=[4, 8]", "model.posterior=ladder", "model.prior=top-down", "model.prior.top=vampprior"]
    config = preset("digits").override([*settings, "model.prior.top.components=7"])
    assert config.model.prior == {"name": "top-down", "top": {"name": "vampprior", "components": 7}}
    assert build(config, (8, 8, 1), 17, 10).generator.noise_layout == {"component": 1, "z2": 4, "z1": 8}
