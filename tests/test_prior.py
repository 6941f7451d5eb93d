"""Claims about every prior: it is a distribution, and a function of noise that follows it."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from pieces import OPTIONS
from scipy import stats

from vae_tf.errors import ConfigError
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS, ConditionalNormal, Inference, MixturePrior, StandardNormal, TopDown, VampPrior

IMAGE, CONDITION = (2, 2, 1), tf.constant([[0.0, 1.0, 0.0]])
every_prior = pytest.mark.parametrize("name", [*PRIORS, "top-down/vampprior", "top-down/mixture"])


def inference(posterior="diagonal-normal", dim=2):
    layer = POSTERIORS[posterior](dim, **OPTIONS["posterior"][posterior])
    layer(tf.zeros([1, 4]))
    return Inference.of(lambda u: tf.reshape(u, [-1, 4]), layer)


def make(name, dims=(1, 1), spread=0.5):
    """A prior over layers of these sizes, or over as many coordinates in one; its weights are far from where training starts."""
    keras.utils.set_random_seed(0)
    name, _, top = name.partition("/")
    kind, options = PRIORS[name], OPTIONS["prior"][name]
    if kind is TopDown:
        prior = kind(dims, make(top or "standard-normal", dims[:1], spread), **options)
    elif kind is VampPrior:
        prior = kind(sum(dims), IMAGE, inference(dim=sum(dims)), **options)
    elif kind is ConditionalNormal:
        prior = kind(sum(dims), 3, **options)
    else:
        prior = kind(sum(dims), **options)
    prior.log_prob(tf.zeros([1, sum(dims)]), condition_of(prior, 1))
    rng = np.random.default_rng(1)
    for variable in getattr(prior, "trainable_variables", ()):
        variable.assign_add(spread * rng.normal(size=variable.shape))
    return prior


def condition_of(prior, rows):
    return tf.repeat(CONDITION, rows, 0) if isinstance(prior, ConditionalNormal) else None


def noise(prior, rows, seed=0):
    return tf.random.stateless_normal([rows, sum(prior.noise_layout.values())], [seed, 1])


@every_prior
def test_noise_becomes_draws_of_the_prior(name):
    prior = make(name)
    z = prior.from_noise(noise(prior, 5000), condition_of(prior, 5000)).numpy()
    assert z.shape == (5000, 2)
    # One-dimensional projections are compared with the stated density on a grid.
    axis, step = np.linspace(-14, 14, 561, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2).astype("f4")
    density = np.exp(prior.log_prob(tf.constant(grid), condition_of(prior, len(grid)))).reshape(len(axis), len(axis))
    assert density.sum() * step**2 == pytest.approx(1, abs=5e-3)
    for d in range(2):
        cdf = np.cumsum(density.sum(1 - d)) * step**2
        assert stats.kstest(z[:, d], lambda v, cdf=cdf: np.interp(v, axis + step / 2, cdf)).pvalue > 1e-3


@every_prior
def test_draws_and_density_agree_as_a_whole(name):
    """A two-sample test in the plane: draws against points of a grid drawn by the stated density, by their distance to random centres."""
    prior = make(name)
    z = prior.from_noise(noise(prior, 4000, seed=7), condition_of(prior, 4000)).numpy()
    rng = np.random.default_rng(3)
    axis, step = np.linspace(-14, 14, 561, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2).astype("f4")
    weights = np.exp(prior.log_prob(tf.constant(grid), condition_of(prior, len(grid))).numpy().astype("f8"))
    other = grid[rng.choice(len(grid), 4000, p=weights / weights.sum())] + rng.uniform(-step / 2, step / 2, (4000, 2))
    for centre in rng.normal(size=(5, 2)):
        distances = (np.linalg.norm(points - centre, axis=1) for points in (z, other))
        assert stats.ks_2samp(*distances).pvalue > 1e-3


@every_prior
def test_in_more_dimensions_draws_have_the_stated_density(name):
    """E_p[r(z) / p(z)] = 1 for a narrow normal r at the mode of p: draws and log densities belong together."""
    prior = make(name, dims=(2, 2), spread=0.2)
    z = prior.from_noise(noise(prior, 50_000), condition_of(prior, 50_000)).numpy()
    log_p = prior.log_prob(tf.constant(z), condition_of(prior, 50_000)).numpy()
    log_r = stats.norm.logpdf(z, z[np.argmax(log_p)], 0.3 * z.std(0)).sum(1)
    ratio = np.exp(log_r - log_p)
    assert ratio.mean() == pytest.approx(1, abs=5 * ratio.std() / np.sqrt(len(ratio)) + 0.01)


@every_prior
def test_parts_of_the_log_density_add_up(name):
    prior = make(name, dims=(1, 2))
    z = prior.from_noise(noise(prior, 6), condition_of(prior, 6))
    parts = prior.terms(z, condition_of(prior, 6))
    np.testing.assert_allclose(
        sum(tf.reduce_sum(part, -1) for part in parts), prior.log_prob(z, condition_of(prior, 6)), rtol=1e-4, atol=1e-5
    )
    if "kl_terms" not in prior.lacks:
        assert sum(part.shape[-1] for part in parts) == prior.latent_dim


@every_prior
def test_frozen_it_makes_the_same_of_noise_and_follows_no_further_training(name):
    prior = make(name)
    eps, condition = noise(prior, 9), condition_of(prior, 9)
    before, frozen = prior.from_noise(eps, condition), prior.frozen()
    np.testing.assert_allclose(frozen(eps, condition), before, rtol=1e-5, atol=1e-6)


def test_a_frozen_vampprior_needs_no_pseudo_inputs():
    prior = make("vampprior")
    frozen, eps = prior.frozen(), noise(prior, 9)
    before = frozen(eps)
    prior.pseudo_logits.assign_add(tf.ones_like(prior.pseudo_logits))
    np.testing.assert_array_equal(frozen(eps), before)
    assert np.any(prior.from_noise(eps) != before)


@pytest.mark.parametrize("posterior", ["full-normal", "mixture", "coupling-flow"])
def test_a_vampprior_is_made_of_any_posterior_with_a_density(posterior):
    prior = VampPrior(2, IMAGE, inference(posterior), components=3)
    z = prior.from_noise(noise(prior, 20_000)).numpy()
    log_r = stats.norm.logpdf(z, z.mean(0), 0.5 * z.std(0)).sum(1)
    assert np.mean(np.exp(log_r - prior.log_prob(tf.constant(z)).numpy())) == pytest.approx(1, abs=0.05)


def test_the_components_of_a_mixture_come_as_often_as_their_weights():
    prior = MixturePrior(1, components=3)
    prior.logits.assign(np.log([0.2, 0.5, 0.3]))
    prior.loc.assign([[-100.0], [0.0], [100.0]])
    z = prior.from_noise(noise(prior, 20_000)).numpy()[:, 0]
    shares = [np.mean(z < -50), np.mean(np.abs(z) < 50), np.mean(z > 50)]
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.015)


def test_noise_far_out_chooses_an_existing_component():
    prior = MixturePrior(1, components=3)
    assert np.isfinite(prior.from_noise(tf.constant([[-40.0, 0.0], [40.0, 0.0]]))).all()


def test_the_layout_of_noise_names_the_layers_from_the_top():
    assert make("top-down", dims=(2, 3)).noise_layout == {"z2": 2, "z1": 3}
    assert make("top-down/vampprior", dims=(2, 3)).noise_layout == {"component": 1, "z2": 2, "z1": 3}
    assert make("standard-normal", dims=(2, 3)).noise_layout == {"z": 5}
    assert VampPrior(2, IMAGE, inference("mixture"), components=3).noise_layout == {"component": 1, "inner component": 1, "z": 2}


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ConditionalNormal(2, 0), "a conditional prior needs a condition, and the model has none; set `model.condition=classes`"),
        (lambda: MixturePrior(2, components=0), "`components` must be from 1 to 10000, got 0"),
        (lambda: VampPrior(2, IMAGE, inference(), components=10**6), "`components` must be from 1 to 10000, got 1000000"),
        (lambda: VampPrior(2, IMAGE, inference(), 3), "a pseudo-input has no label; choose `model.prior=mixture`"),
        (lambda: VampPrior(2, IMAGE, inference("iaf")), "takes D passes of the network"),
        (lambda: VampPrior(3, IMAGE, inference()), "choose `model.prior={name: top-down, top: vampprior}`"),
        (lambda: VampPrior(1, IMAGE, inference()), "the posterior has one layer of 2; choose `model.posterior=hierarchical`"),
        (lambda: TopDown((2,), StandardNormal(2)), r"a prior of layers needs at least 2 of them, got `latent_dim` \[2\]"),
        (lambda: TopDown((2, 2), StandardNormal(3)), "`top` must have the 2 latent dimensions of the top layer, got 3"),
        (lambda: PRIORS["coupling-flow"](1), "a coupling flow needs at least 2 coordinates"),
        (lambda: PRIORS["iaf"](2, layers=99), "`layers` of a flow must be from 1 to 32, got 99"),
    ],
)
def test_refuses(attempt, message):
    with pytest.raises(ConfigError, match=message):
        attempt()
