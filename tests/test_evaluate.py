"""Claims about the estimators of log p(x), on models whose evidence is known."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras
from oracle import Identity, LinearGaussian, softplus_inverse

from vae_tf import (
    VAE,
    Bernoulli,
    ConfigError,
    DataError,
    DiagonalNormal,
    Elbo,
    FullNormal,
    Generator,
    MLPDecoder,
    MLPEncoder,
    Normal,
    StandardNormal,
)
from vae_tf.build import build_model
from vae_tf.config import Config
from vae_tf.evaluation import Estimate, evaluate, log_weights
from vae_tf.generator import noise
from vae_tf.latents import active_units, kl_per_dimension, posterior_moments, prior_draws, prior_moments

tfd = tfp.distributions
D = 2
ORACLE = LinearGaussian.random(values=6, latent_dim=D)


@pytest.fixture(scope="module")
def linear():
    """A VAE that is the linear-Gaussian oracle, with its exact posterior: log p(x) is known."""
    vae = VAE(Identity(), Identity(), FullNormal(D), Normal((6, 1, 1), scale=ORACLE.scale), StandardNormal(D))
    vae.likelihood.parameters.set_weights([ORACLE.weights.T, ORACLE.loc])
    w = ORACLE.weights.astype("f8")
    covariance = np.linalg.inv(np.eye(D) + w.T @ w / ORACLE.scale**2)
    gain = covariance @ w.T / ORACLE.scale**2  # E[z | x] = gain (x - b)
    cholesky = np.linalg.cholesky(covariance)
    # TFP fills the triangle [[a, 0], [b, c]] from the vector (c, b, a), clockwise.
    triangle = [softplus_inverse(cholesky[1, 1]), cholesky[1, 0], softplus_inverse(cholesky[0, 0])]
    kernel, bias = np.zeros((6, 5)), np.zeros(5)
    kernel[:, :D], bias[:D], bias[D:] = gain.T, -gain @ ORACLE.loc, [triangle[1 if i == 1 else i] for i in range(3)]
    vae.posterior.parameters.set_weights([kernel, bias])
    vae.compile()
    return vae


@pytest.fixture(scope="module")
def x():
    return ORACLE.sample(50).reshape(-1, 6, 1, 1)


@pytest.fixture(scope="module")
def evidence(x):
    return ORACLE.evidence(x.reshape(-1, 6))


def crude(linear):
    """The same generator under a bad encoder."""
    vae = VAE(Identity(), Identity(), DiagonalNormal(D), Normal((6, 1, 1), scale=ORACLE.scale), StandardNormal(D))
    vae.likelihood.set_weights(linear.likelihood.get_weights())
    kernel, bias = vae.posterior.parameters.get_weights()
    vae.posterior.parameters.set_weights([0 * kernel, bias])
    vae.compile()
    return vae


def test_with_the_exact_posterior_one_sample_is_enough(linear, x, evidence):
    weights = log_weights(linear, x, samples=1)
    np.testing.assert_allclose(weights.log_likelihood, evidence, atol=1e-3)
    np.testing.assert_allclose(weights.elbo, evidence, atol=1e-3)


def test_importance_sampling_with_a_crude_encoder_and_plain_monte_carlo_both_find_the_evidence(linear, x, evidence):
    vae = crude(linear)
    for proposal in ("posterior", "prior"):
        estimate = log_weights(vae, x, samples=50_000, proposal=proposal).log_likelihood
        assert np.mean(estimate - evidence) == pytest.approx(0, abs=0.15), proposal
    assert log_weights(vae, x, samples=500).elbo.mean() < evidence.mean() - 1


def test_plain_monte_carlo_is_hopeless_where_the_encoder_needs_one_sample(linear, x, evidence):
    error = {p: np.abs(log_weights(linear, x, samples=10, proposal=p).log_likelihood - evidence).mean() for p in ("posterior", "prior")}
    assert error["prior"] > 1000 * error["posterior"]


@pytest.mark.parametrize(("shift", "beaten"), [(8.0, True), (0.0, False)])
def test_an_encoder_that_looks_in_the_wrong_place_is_beaten_by_the_prior_and_the_table_says_so(shift, beaten):
    oracle = LinearGaussian(0.08 * LinearGaussian.orthogonal(6, 2).weights, np.full(6, 0.5, np.float32), 0.04)
    x = oracle.sample(50)
    found = evaluate(oracle.vae(widen=0.5, shift=shift), x.reshape(-1, 6, 1, 1), samples=500, annealed_images=0, verbose=False)
    assert set(found.higher) == ({"plain Monte Carlo"} if beaten else set())
    assert any("plain Monte Carlo found" in note and "at least" in note for note in found.notes) == beaten
    if beaten:
        more = found.higher["plain Monte Carlo"]
        assert more.value == pytest.approx(oracle.evidence(x).mean() - found.log_likelihood.value, abs=0.3)


def test_more_samples_raise_the_estimate(linear, x):
    values = [log_weights(crude(linear), x, samples=s).log_likelihood.mean() for s in (1, 10, 100, 1000)]
    assert values == sorted(values)


def test_the_estimate_does_not_depend_on_how_the_work_is_cut(linear, x, monkeypatch):
    """Chunks of samples and of images only bound the memory: with the exact posterior all cuts give one answer."""
    whole = log_weights(linear, x, samples=250).log_likelihood
    monkeypatch.setattr("vae_tf.evaluation.importance._ROWS", 60)
    monkeypatch.setattr("vae_tf.evaluation.importance._SAMPLES", 30)
    np.testing.assert_allclose(log_weights(linear, x, samples=250).log_likelihood, whole, atol=1e-3)


def test_memory_is_bounded_whatever_the_number_of_samples(linear, x, monkeypatch):
    rows = []
    decode = Generator.decode

    def counted(generator, z, label=None, training=False):
        rows.append(int(np.prod(z.shape[:-1])))
        return decode(generator, z, label, training)

    monkeypatch.setattr(Generator, "decode", counted)
    log_weights(linear, x, samples=5000)
    assert max(rows) <= 2000


def test_equal_seeds_give_equal_numbers(linear, x):
    vae = crude(linear)
    first, again, other = (log_weights(vae, x, samples=3, seed=seed).log_likelihood for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_image_weighs_the_same():
    estimate = Estimate.over(np.array([1.0, 2.0, 3.0, 6.0]), "by hand")
    assert estimate.value == 3
    assert estimate.standard_error == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)


def test_active_units_and_kl_per_dimension_see_a_dead_dimension(linear, x):
    vae = crude(linear)
    kernel, bias = vae.posterior.parameters.get_weights()
    kernel[:, 0] = 1.0  # the mean of the first latent follows the image, the second stays at the prior
    bias[:] = [0, 0, softplus_inverse(0.5), softplus_inverse(1.0)]
    vae.posterior.parameters.set_weights([kernel, bias])
    mean, stddev = posterior_moments(vae, x)
    assert active_units(mean).tolist() == [True, False]
    first, second = kl_per_dimension(mean, stddev)
    assert first == pytest.approx(np.mean(0.5 * (x.reshape(-1, 6).sum(-1) ** 2 + 0.25 - 1 - np.log(0.25))), rel=1e-3)
    assert second == pytest.approx(0, abs=1e-4)


def tiny_bernoulli():
    vae = VAE(MLPEncoder(hidden=(4,)), MLPDecoder(hidden=(4,)), DiagonalNormal(2), Bernoulli((6, 5, 1)), StandardNormal(2))
    vae.compile()
    return vae


def test_an_evaluation_is_written_and_read_by_a_person(binary_images, tmp_path):
    evaluation = evaluate(tiny_bernoulli(), binary_images, samples=20, prior_images=10, verbose=False)
    evaluation.write(tmp_path / "evaluation.json")
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    likelihood = stored["log_likelihood"]
    assert likelihood["method"] == "importance sampling, 20 posterior samples per image"
    assert (likelihood["images"], stored["log_likelihood_prior"]["images"]) == (40, 10)
    assert stored["elbo"]["value"] == pytest.approx(stored["reconstruction"]["value"] - stored["kl"]["value"])
    assert stored["bits_per_dimension"]["value"] == pytest.approx(-likelihood["value"] / (30 * np.log(2)))
    assert f"{likelihood['value']:.3f} +- {likelihood['standard_error']:.3f}" in evaluation.table()


def test_a_density_has_no_bits_per_dimension(linear):
    images = np.random.default_rng(0).random((8, 6, 1, 1)).astype("f4")
    assert evaluate(linear, images, samples=2, verbose=False).bits_per_dimension is None


@pytest.mark.parametrize(
    ("options", "x", "error", "message"),
    [
        ({"samples": 0}, np.zeros((4, 6, 5, 1), "f4"), ConfigError, "`samples` must be at least 1 and below 2..31 - 1, got 0"),
        ({"prior_images": 1}, np.zeros((4, 6, 5, 1), "f4"), ConfigError, "`prior_images` must be at least 2 and below 2..31 - 1, got 1"),
        ({}, np.full((4, 6, 5, 1), 0.5, "f4"), DataError, "only 0 and 1"),
        ({}, np.zeros((1, 6, 5, 1), "f4"), DataError, "at least 2 images, for one has no standard error; got 1"),
    ],
)
def test_refuses(options, x, error, message):
    with pytest.raises(error, match=message):
        evaluate(tiny_bernoulli(), x, verbose=False, **options)


def built(posterior="diagonal-normal", prior="standard-normal", latent_dim=2, condition=None):
    body = {"name": "mlp", "hidden": [8]}
    model = {"latent_dim": latent_dim, "encoder": body, "decoder": body, "posterior": posterior, "prior": prior, "condition": condition}
    keras.utils.set_random_seed(1)
    vae = build_model(Config.from_dict({"data": {"source": "digits"}, "model": model}), (6, 5, 1), 2, label_size=3)
    vae.compile(objective=Elbo(gradient="total"))
    return vae


LAYERS = {"name": "top-down", "top": {"name": "vampprior", "components": 4}, "hidden": [4]}
MODELS = {
    "flow": {"posterior": {"name": "iaf", "hidden": 8}, "prior": {"name": "coupling-flow", "hidden": 8}},
    "mixture": {"posterior": "full-normal", "prior": {"name": "mixture", "components": 3}},
    "vampprior": {"prior": {"name": "vampprior", "components": 3}},
    "layers": {"posterior": {"name": "ladder", "hidden": [4]}, "prior": LAYERS, "latent_dim": [1, 2]},
    "classes": {"condition": "classes", "prior": "conditional-normal"},
    "vector": {"condition": "vector", "prior": "conditional-normal"},
}


@pytest.mark.parametrize("name", MODELS)
def test_any_prior_and_posterior_is_evaluated(binary_images, name):
    vae = built(**MODELS[name])
    if name == "mixture":  # whose posterior is too narrow to reach all components before it is trained
        kernel, _ = vae.posterior.parameters.get_weights()
        vae.posterior.parameters.set_weights([0 * kernel, np.array([0, 0, 2.5, 0, 2.5])])
    label = {"classes": np.arange(40) % 3, "vector": np.random.default_rng(0).random((40, 3), np.float32)}.get(name)
    evaluation = evaluate(vae, binary_images, label, samples=2000, verbose=False)
    assert len(evaluation.kl_per_dimension) == vae.prior.latent_dim
    assert np.isfinite(evaluation.kl_per_dimension).all()
    assert sum(evaluation.kl_per_layer.values()) == pytest.approx(evaluation.kl.value, rel=1e-4, abs=1e-4)
    assert list(evaluation.kl_per_layer) == {"layers": ["z2", "z1"]}.get(name, ["z"])
    assert evaluation.kl_matched == (("z",) if name in ("flow", "mixture", "vampprior") else ())
    both, error = (evaluation.log_likelihood, evaluation.log_likelihood_prior), evaluation.log_likelihood.standard_error
    assert both[0].value == pytest.approx(both[1].value, abs=error), "an untrained model is near enough to its prior for both to agree"
    assert ("log p(x | y)" in both[0].method) == ("log p(x | y)" in both[1].method) == (label is not None)


def test_the_kl_of_the_dimensions_of_layers_adds_up_given_the_layers_above(binary_images):
    """A prior that follows the layer above closely: marginals know nothing of that."""
    vae = built("hierarchical", "top-down", [2, 3])
    kernel, bias = vae.prior.networks[0].layers[-1].get_weights()
    vae.prior.networks[0].layers[-1].set_weights([20 * kernel, bias])
    evaluation = evaluate(vae, binary_images, samples=500, verbose=False)
    assert evaluation.kl_matched == ()
    dimensions, layers = np.array(evaluation.kl_per_dimension), evaluation.kl_per_layer
    np.testing.assert_allclose([dimensions[:2].sum(), dimensions[2:].sum()], [layers["z2"], layers["z1"]], rtol=1e-5)
    assert dimensions.sum() == pytest.approx(evaluation.kl.value, rel=1e-4)
    q_top = vae.posterior.top(vae.posterior.top_features(vae.encoder(tf.constant(binary_images))))
    exact = tfd.kl_divergence(q_top.distribution, tfd.Normal(0.0, 1.0)).numpy().mean(0)
    np.testing.assert_allclose(dimensions[:2], exact, atol=0.02)
    marginal = kl_per_dimension(*posterior_moments(vae, binary_images), *prior_moments(vae.generator))
    assert abs(marginal.sum() - evaluation.kl.value) > 0.1 * evaluation.kl.value, "the moments of marginals are another thing"
    assert re.search(r"^kl of z2 +\d+\.\d{3} nats.*\nkl of z1", evaluation.table(), re.MULTILINE)


def test_only_the_layer_that_is_bound_together_is_matched_by_moments(binary_images):
    vae = built("ladder", LAYERS, [2, 3])
    evaluation = evaluate(vae, binary_images, samples=200, verbose=False)
    assert evaluation.kl_matched == ("z2",)
    assert sum(evaluation.kl_per_dimension[2:]) == pytest.approx(evaluation.kl_per_layer["z1"], rel=1e-4)
    moments = kl_per_dimension(*posterior_moments(vae, binary_images), *prior_moments(vae.generator))
    np.testing.assert_allclose(evaluation.kl_per_dimension[:2], moments[:2])


def test_one_layer_of_normals_has_the_exact_kl_without_draws(binary_images):
    evaluation = evaluate(built(), binary_images, samples=1, verbose=False)
    np.testing.assert_allclose(evaluation.kl_per_dimension, kl_per_dimension(*posterior_moments(built(), binary_images)))


def test_the_moments_of_the_prior_are_exact_where_it_is_standard_and_else_those_of_its_draws():
    mean, stddev = prior_moments(built().generator)
    assert (mean.tolist(), stddev.tolist()) == ([0, 0], [1, 1])
    vae = built(prior={"name": "mixture", "components": 2})
    vae.prior.loc.assign([[3.0, 1.0], [-3.0, 1.0]])
    mean, stddev = prior_moments(vae.generator)
    np.testing.assert_allclose(mean, [0, 1], atol=0.1)
    np.testing.assert_allclose(stddev, [10**0.5, 1], rtol=0.03)  # variance 3^2 + 1


@pytest.mark.parametrize("condition", ["classes", "vector"])
def test_the_moments_of_a_prior_that_knows_the_label_are_those_of_each_label(condition):
    vae = built(condition=condition, prior="conditional-normal")
    label = np.array([2, 0, 2]) if condition == "classes" else np.eye(3, dtype=np.float32)[[2, 0, 2]]
    mean, stddev = prior_moments(vae.generator, label)
    expected = vae.prior.from_noise(tf.zeros([3, 2]), vae.condition(tf.constant(label))).numpy()
    np.testing.assert_allclose(mean, expected, atol=0.15)
    assert (stddev > 0).all()
    np.testing.assert_array_equal(mean[0], mean[2])
    assert not np.allclose(mean[0], mean[1])


def test_the_kl_per_dimension_is_that_of_normals():
    q, p = tfd.Normal([[1.0, 2.0], [0.0, -1.0]], [[0.5, 1.0], [2.0, 3.0]]), tfd.Normal([0.0, 1.0], [1.0, 2.0])
    got = kl_per_dimension(q.loc.numpy(), q.scale.numpy(), p.loc.numpy(), p.scale.numpy())
    np.testing.assert_allclose(got, tfd.kl_divergence(q, p).numpy().mean(0), rtol=1e-5)


def test_draws_of_the_prior_are_given_the_label_and_fixed():
    vae = built(condition="classes", prior="conditional-normal")
    draws = prior_draws(vae.generator, np.array([0, 1]), 5)
    assert draws.shape == (5, 2, 2)
    np.testing.assert_array_equal(draws, prior_draws(vae.generator, np.array([0, 1]), 5))
    for k in (0, 1):
        eps = noise(5, 2, 0)
        expected = vae.prior.from_noise(tf.constant(eps), vae.condition(tf.fill([5], k)))
        np.testing.assert_allclose(draws[:, k], expected, rtol=1e-5)


@pytest.mark.parametrize("condition", ["classes", "vector"])
def test_the_label_of_an_image_stays_with_it_however_the_work_is_cut(binary_images, condition, monkeypatch):
    vae = built(condition=condition)
    label = np.arange(40) % 3 if condition == "classes" else 8 * np.random.default_rng(0).random((40, 3), np.float32)
    whole = posterior_moments(vae, binary_images, label)
    alone = [posterior_moments(vae, binary_images[i : i + 1], label[i : i + 1]) for i in range(40)]
    np.testing.assert_allclose(whole[0], np.concatenate([mean for mean, _ in alone]), rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("vae_tf.evaluation.importance._ROWS", 60)
    few, many = (log_weights(vae, binary_images, label, samples=s, seed=s).log_likelihood for s in (900, 1000))
    shifted = log_weights(vae, binary_images, np.roll(label, 1, 0), samples=900).log_likelihood
    assert np.abs(few - many).mean() < 0.2 * np.abs(few - shifted).mean()


def test_rows_that_need_much_memory_are_worked_on_in_smaller_shares(binary_images, monkeypatch):
    """A component of a mixture prior makes one more value of each latent of each row: the largest tensor stays below the bound."""
    vae, rows = built(prior={"name": "mixture", "components": 500}), []
    log_prob = type(vae.prior).log_prob

    def counted(prior, z, condition=None):
        rows.append(int(np.prod(z.shape[:-1])))
        return log_prob(prior, z, condition)

    monkeypatch.setattr(type(vae.prior), "log_prob", counted)
    monkeypatch.setattr("vae_tf.evaluation.importance._LARGEST", 100_000)
    weights = log_weights(vae, binary_images, samples=150)
    assert np.isfinite(weights.log_likelihood).all()
    assert rows[-1] * 500 * 2 <= 100_000 < rows[0] * 500 * 2


@pytest.mark.parametrize(
    ("condition", "label", "error", "message"),
    [
        (None, np.zeros(40, int), ConfigError, "`label` must be left out: images have none"),
        ("classes", None, ConfigError, "`label` must be given: images have one"),
        ("classes", np.zeros(39, int), DataError, "`label` must be one for each of the 40 images, got 39"),
        ("classes", np.full(40, 3), DataError, "`y` must hold classes from 0 to 2, got 3 to 3"),
        ("vector", np.zeros((40, 2)), DataError, "one vector of 3 numbers per image"),
    ],
)
def test_refuses_labels(binary_images, condition, label, error, message):
    with pytest.raises(error, match=message):
        evaluate(built(condition=condition), binary_images, label, verbose=False)
