"""What a report explains: that its captions and curves say what the model says."""

import re
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from pieces import tiny
from reports import pictures, subject_of, trained

from vae_tf import plots
from vae_tf.build import build_model
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.report import encoder_buys as buys
from vae_tf.report.encoder_buys import encoder_buys
from vae_tf.report.holes import holes
from vae_tf.report.sigma import deviation, rescaled, scale_of, sigma, sigma_loss, sweep_sigma
from vae_tf.report.story import story
from vae_tf.report.training_and_generation import training_and_generation

WITH_SIGMA = {
    "normal",
    "normal-learned-scale",
    "normal-pixel-scale",
    "laplace",
    "laplace-learned-scale",
    "discretized-logistic",
    "discretized-logistic-mixture",
}


pytestmark = pytest.mark.usefixtures("fewer_samples")


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    return subject_of(trained(tmp_path_factory.mktemp("plane"), latent_dim=2, likelihood="normal-learned-scale"))


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """A model of binary images, of three latents."""
    folder = tmp_path_factory.mktemp("binary")
    return subject_of(trained(folder, data={"binarize": "dynamic"}, likelihood="bernoulli"))


def test_the_story_of_a_plane_begins_at_its_example(plane, binary):
    found = pictures(story(plane))
    assert "z = (0.1, 0.5)" in found["From one z to images"].content.decode()
    assert "under z = (0.1, 0.5)" in found["One z does not explain the data"].content.decode()
    assert "z #1" in pictures(story(binary))["From one z to images"].content.decode()


def test_the_variance_of_binary_values_has_no_sigma_of_its_own(plane, binary):
    assert "the variance of a pixel is p (1 - p)" in pictures(story(binary))["From one z to images"].caption
    assert "p (1 - p)" not in pictures(story(plane))["From one z to images"].caption
    assert sigma(binary) is None


def test_images_that_one_z_explains_are_counted(plane):
    caption = pictures(story(plane))["One z does not explain the data"].caption
    rows = plane.measured_rows
    x = plane.x[rows]
    under = plane.vae.decode(tf.constant([[0.1, 0.5]])).log_prob(x).numpy()
    near = (under > plane.measured.log_likelihood - 10).sum()
    assert f"half of the images lie below {np.median(under):,.0f} nats" in caption
    assert f"of all {near} come" in caption or (near == 0 and "of all none comes" in caption)


def test_prior_draws_that_matter_are_counted(binary):
    """30 binary pixels: an untrained decoder gives every image about 30 log 2 nats under every z."""
    caption = pictures(story(binary))["One image, many z"].caption
    assert "40 of 40 (100.00%) come within 10 nats" in caption
    assert "one has to draw" not in caption
    assert "the encoder does no better than chance" in caption


def test_a_model_without_active_latents_is_said_to_need_no_encoder(plane, monkeypatch):
    promises = ("each image needs its own z", "knows where to look", "beyond the prior", "without an encoder", "small beside the prior")
    monkeypatch.setitem(plane.__dict__, "used", plane.used._replace(active=np.zeros(2, bool)))
    found = {**pictures(story(plane)), **pictures(encoder_buys(plane)), **pictures(training_and_generation(plane))}
    assert not [words for words in promises for picture in found.values() if words in picture.caption + picture.alt]
    for title in ("From one z to images", "One z does not explain the data"):
        assert "all z give nearly th" in found[title].caption
    assert "the encoder buys next to nothing" in found["One image, many z"].caption
    assert "None of 2 is active" in found["What each latent dimension carries"].caption


@pytest.mark.parametrize(("images", "said"), [(50, False), (5000, True)])
def test_a_width_that_few_images_leave_open_is_no_mismatch(plane, monkeypatch, images, said):
    rng = np.random.default_rng(0)
    monkeypatch.setitem(plane.__dict__, "encoded", 1.2 * rng.standard_normal((2, images, 2)).astype(np.float32))
    monkeypatch.setitem(plane.__dict__, "encoded_rows", np.resize(plane.order, images))
    picture = pictures(training_and_generation(plane))["Width of the posteriors"]
    assert ("images lie beyond the prior" in picture.caption) == said


def test_both_estimators_are_drawn_for_each_image_and_the_gap_has_its_error(plane):
    found = pictures(encoder_buys(plane))
    drawn = found["Estimates of log p(x)"].content.decode()
    assert "plain Monte Carlo, z ~ prior" in drawn
    assert "importance sampling, z ~ posterior" in drawn
    gaps = plane.measured.log_likelihood - plane.measured.elbo
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    assert f"{gaps.mean():.2f} ± {error:.2f} nats" in found["What the ELBO leaves out"].caption
    assert "Has the estimate settled?" not in found, "there is no evaluation to tell"


@pytest.mark.parametrize(
    ("lead", "estimates", "gap"),
    [
        (5.0, "nearer the truth: this encoder's posterior misses part", "larger, by at least .* is plain Monte Carlo"),
        (0.0, "do not differ by more than chance", "The true gap is larger"),
        (-5.0, "is 5.00 ± 0.00 nats above plain Monte Carlo", "The true gap is larger"),
    ],
)
def test_the_higher_of_two_lower_bounds_is_the_nearer_one(plane, monkeypatch, lead, estimates, gap):
    real = buys.log_weights

    def shifted(*args, proposal, **kwargs):
        noise = 1e-3 * np.resize([-1, 1], len(args[1]))
        found = real(*args, proposal="posterior", **kwargs)
        return found._replace(log_likelihood=found.log_likelihood + (lead + noise if proposal == "prior" else 0))

    monkeypatch.setattr(buys, "log_weights", shifted)
    found = pictures(encoder_buys(plane))
    assert estimates in found["Estimates of log p(x)"].caption
    assert re.search(gap, found["What the ELBO leaves out"].caption)
    assert ("by plain Monte Carlo" in found["What the ELBO leaves out"].content.decode()) == (lead > 0)


def test_where_plain_monte_carlo_is_hopeless_it_is_not_tried_on_many_images(plane, monkeypatch):
    real = buys.log_weights

    def shifted(*args, proposal, **kwargs):
        found, low = real(*args, proposal="posterior", **kwargs), 50.0 * (proposal == "prior")
        return found._replace(curve={count: values - low for count, values in found.curve.items()})

    monkeypatch.setattr(buys, "log_weights", shifted)
    assert (
        "importance sampling is 50.0 nats above plain Monte Carlo on these images"
        in pictures(encoder_buys(plane))["Estimates of log p(x)"].caption
    )


def test_a_prior_that_is_the_aggregated_posterior_has_no_holes():
    rng = np.random.default_rng(0)
    found = holes(rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3)))
    assert not found.exist
    assert found.share == pytest.approx(0.01, abs=0.01)


def test_a_gap_between_posteriors_is_a_hole_of_its_share():
    """Posteriors fill [0, 1] and [2, 3]; a third of the prior's draws from [0, 3] fall between."""
    rng = np.random.default_rng(0)
    posterior = rng.random((4000, 1)) + 2 * rng.integers(0, 2, (4000, 1))
    prior = 3 * rng.random((2000, 1))
    found = holes(prior, posterior)
    assert found.exist
    assert found.share == pytest.approx(1 / 3, abs=4 * found.error)
    far = prior[found.prior > found.threshold]
    assert ((far > 0.95) & (far < 2.05)).mean() > 0.95


def test_holes_do_not_depend_on_units():
    rng = np.random.default_rng(0)
    prior, posterior = rng.normal(size=(500, 2)), 0.7 * rng.normal(size=(500, 2))
    units = np.array([1e-3, 1e3])
    assert holes(prior, posterior).share == holes(prior * units, posterior * units).share


def test_what_is_decoded_in_holes_is_shown_only_where_there_are_some(plane, monkeypatch):
    for wide, shown in ((0.01, True), (1.0, False)):
        rng = np.random.default_rng(0)
        monkeypatch.setitem(plane.__dict__, "encoded", wide * rng.standard_normal((2, 2000, 2)).astype(np.float32))
        monkeypatch.setitem(plane.__dict__, "encoded_rows", np.resize(plane.order, 2000))
        found = pictures(training_and_generation(plane))
        assert ("Decoded in holes, and not" in found) == shown
        assert ("Training images were not looked at" in found["Holes of the aggregated posterior"].caption) == shown
        assert ("there are no holes" in found["Holes of the aggregated posterior"].caption) != shown
        assert ("the prior reaches beyond the images" in found["Width of the posteriors"].caption) == shown


def test_pseudo_inputs_stand_beside_what_is_decoded_from_them(tmp_path):
    run = trained(tmp_path, prior={"name": "vampprior", "components": 3})
    picture = pictures(training_and_generation(subject_of(run)))["The pseudo-inputs of the prior"]
    images = run.vae.prior.pseudo_inputs().numpy()
    assert picture.content == plots.png(plots.pair_grid(images, run.vae(images).numpy(), 6))
    assert "3 pairs" in picture.alt


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_tells_its_spread_and_its_sigma_if_it_has_one(name, plane, monkeypatch):
    vae = build_model(tiny(likelihood=name), (6, 5, 1), 4)
    px = vae.decode(tf.random.stateless_normal([3, vae.prior.latent_dim], [0, 0]))
    scale = scale_of(px)
    assert (scale is not None) == (name in WITH_SIGMA)
    monkeypatch.setattr("vae_tf.report.sigma._AVERAGED", 400)
    draws = px.sample(400, seed=[1, 2]).numpy()
    np.testing.assert_allclose(deviation(plane, px), draws.std(0), rtol=0.25, atol=0.02)
    if scale is not None:
        assert 0 < np.min(scale) <= np.max(scale) < 2, "in units of the value range"
        x = np.round(np.random.default_rng(0).random((3, 6, 5, 1)) * 3).astype(np.float32) / 3
        np.testing.assert_allclose(rescaled(px, 1.0).log_prob(x), px.log_prob(x), rtol=1e-5)
        np.testing.assert_allclose(scale_of(rescaled(px, 2.0)), 2 * np.asarray(scale), rtol=1e-6)


def test_the_best_sigma_is_the_root_mean_squared_error(plane):
    """Of a normal with one sigma: the ELBO is highest where sigma^2 is the mean squared error of its draws."""
    own = float(scale_of(plane.vae.decode(tf.zeros([1, 2]))))
    rmse = sweep_sigma(plane, np.array([1.0])).rmse
    factors = rmse / own * np.array([0.8, 0.98, 1.0, 1.02, 1.25])
    elbo = sweep_sigma(plane, factors).elbo
    assert np.argmax(elbo) == 2
    caption = pictures(sigma(plane))["Log-likelihood against sigma"].caption
    assert f"the root mean squared error over posterior draws of z, {rmse:.3g}" in caption
    assert "sigma² = 1/2" in caption


@pytest.mark.parametrize("times", [0.25, 1.0, 4.0])
def test_a_sigma_far_from_the_best_is_remarked_on_with_what_it_loses(tmp_path, times):
    rmse = sweep_sigma(subject_of(trained(tmp_path, likelihood="normal")), np.array([1.0])).rmse
    (tmp_path / "other").mkdir()
    subject = subject_of(trained(tmp_path / "other", likelihood={"name": "normal", "scale": times * rmse}))
    loss = sigma_loss(subject)
    assert loss.own == pytest.approx(times * rmse)
    assert loss.best == pytest.approx(rmse, rel=0.15)
    assert loss.nats >= 0
    caption = pictures(sigma(subject))["Log-likelihood against sigma"].caption
    assert ("times too large" in caption, "times too small" in caption) == (times > 1, times < 1)
    assert times == 1 or f"{loss.nats:,.2f} ± {loss.standard_error:.2f} nats per image above" in caption


def test_a_model_without_sigma_loses_nothing_by_it(binary):
    assert sigma_loss(binary) is None


def test_sigma_adds_grain_to_draws_and_nothing_to_means(plane):
    swept = sweep_sigma(plane, np.array([0.1, 1.0, 10.0]))
    assert all(low < high for low, high in pairwise(swept.roughness))
    assert swept.means < swept.roughness[0]
    assert (swept.log_likelihood >= swept.elbo - 1e-6).all(), "the average of logarithms is below the logarithm of the average"


def test_the_draws_of_a_sweep_are_named_by_sigma(plane):
    drawn = pictures(sigma(plane))["Draws with another sigma"].content.decode()
    own = float(scale_of(plane.vae.decode(tf.zeros([1, 2]))))
    assert [float(number) for number in re.findall(r">sigma ([\d.e-]+)<", drawn)] == pytest.approx(
        [own * factor for factor in (0.25, 0.5, 1, 2, 4)], rel=0.06
    )
    assert "this model" in drawn


@pytest.mark.parametrize(
    ("likelihood", "words"),
    [("laplace", "the mean absolute error over posterior draws of z"), ("normal-pixel-scale", "a sigma of its own")],
)
def test_other_families_say_what_holds_for_them(tmp_path, likelihood, words):
    found = pictures(sigma(subject_of(trained(tmp_path, likelihood=likelihood))))
    text = " ".join(picture.caption for picture in found.values())
    assert words in text
    assert "sigma² = 1/2" not in text
