"""What a report shows of what the model does, and of its plane."""

import base64
import io
import re
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from reports import LAYERS, evaluation, pictures, subject_of, trained

from vae_tf.evaluation import Estimate
from vae_tf.latents import posterior_moments, prior_draws
from vae_tf.model import VAE
from vae_tf.objective import OBJECTIVES
from vae_tf.report.album import album
from vae_tf.report.facts import numbers
from vae_tf.report.plane import manifold
from vae_tf.report.training_and_generation import training_and_generation
from vae_tf.run import EVALUATION

pytestmark = pytest.mark.usefixtures("fewer_samples")


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("plane"), latent_dim=2, channels=3)


def opened(picture):
    with Image.open(io.BytesIO(picture.content)) as image:
        return np.asarray(image)


def test_colour_images_are_shown_in_colour(plane):
    for title, picture in pictures(album(subject_of(plane))).items():
        if picture.kind == "png":
            pixels = opened(picture)
            assert not np.array_equal(pixels[..., 0], pixels[..., 1]), title


def test_reconstructions_show_every_class(tmp_path):
    """20 pairs of 3 classes, their grey value being their label: every class comes up 6 or 7 times."""
    run = trained(tmp_path)
    images = run.images()
    values = np.arange(3, dtype=np.float32) / 2
    x, y = np.repeat(values, 20).reshape(60, 1, 1, 1) * np.ones((1, 6, 5, 1), np.float32), np.repeat(np.arange(3), 20)
    object.__setattr__(images, "test", type(images.test)(x, y))
    pixels = opened(pictures(album(subject_of(run, images=images)))["Reconstructions"])
    lefts = pixels[0 :: 60 + 14, :: 2 * 50 + 2 + 14, 0]
    assert lefts.shape == (4, 5)
    np.testing.assert_array_equal(lefts.ravel(), np.resize([0, 128, 255], 20))


def test_a_conditional_model_shows_a_row_of_samples_for_each_class(tmp_path):
    run = trained(tmp_path, latent_dim=2, condition="classes")
    picture = pictures(album(subject_of(run)))["Samples from the prior"]
    assert picture.alt == "3 rows of 5 pairs of images from the prior: 0, 1, 2."
    assert re.findall(r">([^<>]+)</text>", picture.content.decode()) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"name": "elbo", "weight": 4.0}, "is not the plain ELBO: it counts the KL 4 times. "),
        ({"name": "elbo", "warmup_epochs": 1}, "is not the plain ELBO: its weight on the KL rose from 0 during the first 1 epochs. "),
        ({"name": "iwae", "samples": 2}, "The objective (iwae) is not the plain ELBO. "),
        ({"name": "elbo"}, None),
    ],
)
def test_the_curves_say_how_the_objective_differs_from_what_they_show(plane, monkeypatch, objective, words):
    steps = plane.data.train // plane.config.training.batch_size
    options = {name.replace("_epochs", "_steps"): value * steps if "epochs" in name else value for name, value in objective.items()}
    monkeypatch.setattr(plane.vae, "objective", OBJECTIVES[options.pop("name")](**options))
    run = replace(plane, config=replace(plane.config, objective=objective))
    caption = album(subject_of(run)).makers[0]().caption
    assert "`" not in caption
    assert words in caption if words else "plain ELBO" not in caption


def test_a_bound_that_says_nothing_is_called_none():
    def bound(value, method="against the posteriors"):
        return Estimate(value, 0.1, 6, "nats", method)

    topic = {"I, at least": bound(0.0), "J, at least": bound(0.5), "I, at most": bound(3.1), "J, at most": bound(2.0)}
    rows = numbers(evaluation(further={"told": topic | {"K, at most": bound(2.9, "upper bound, against the prior")}}), given=False)["told"]
    assert [row["value"] == "no bound" for row in rows] == [True, False, True, False, True]
    assert "not below the KL of the posteriors, 3.00 nats" in rows[2]["how"]
    assert rows[3]["value"] == "2.00 ± 0.10 nats"


@pytest.mark.parametrize("first", [False, True])
def test_only_where_they_were_the_first_images_they_are_called_so(first):
    found = replace(evaluation(), log_likelihood_same_images=evaluation().kl if first else None)
    names = [row["name"] for row in numbers(found, given=False)[""]]
    assert ("log p(x) of the first test images, without the encoder" in names) == first
    assert ("log p(x), without the encoder" in names) != first


def test_numbers_are_named_in_words():
    further = {"quality": {"frechet_distance": Estimate(2.0, 0.5, 6, "squared", "a method"), "most_frequent": evaluation().kl}}
    distance, frequent = numbers(evaluation(further=further), given=False)["quality"]
    assert distance == {
        "name": "Fréchet distance",
        "value": "2.00 ± 0.50",
        "how": "a method, in squared units of the features; 6 test images",
    }
    assert "naming the same class every time" in frequent["name"]


def test_label_vectors_are_shown_by_their_first_numbers(tmp_path):
    run = trained(tmp_path, latent_dim=2, vectors=True, condition="vector", prior="conditional-normal")
    assert pictures(album(subject_of(run)))["Samples from the prior"].alt.startswith("4 rows of 5 pairs of images from the prior: (0")


def test_interpolations_join_images_of_one_label_and_keep_it(tmp_path, monkeypatch):
    run = trained(tmp_path, condition="classes")
    subject, seen = subject_of(run), []
    decode = VAE.decode
    monkeypatch.setattr(VAE, "decode", lambda vae, z, label=None: (seen.append((z, label)), decode(vae, z, label))[1])
    pictures(album(subject))
    (z, label) = next((z, label) for z, label in seen if label is not None and z.shape[0] == 9)
    mean, _ = posterior_moments(run.vae, subject.x, subject.y)
    for ends in (z[0], z[-1]):
        for row, kept in zip(ends.numpy(), label):
            assert subject.y[np.argmin(((mean - row) ** 2).sum(-1))] == kept


def test_a_denoising_model_shows_what_it_restores(tmp_path):
    run = trained(tmp_path, data={"corrupt": "mask", "corruption": 0.25})
    found = pictures(album(subject_of(run)))
    assert "a corrupted test image (mask, 0.25)" in found["Restorations"].caption
    assert "a gap between the curves is not overfitting" in found["Learning curves"].caption
    pixels = opened(found["Restorations"])
    left = np.concatenate([pixels[:60, column : column + 50, 0] for column in range(0, 5 * 116, 116)])
    assert 0.15 < (left == 0).mean() < 0.35, "a quarter of the pixels is masked, and hardly any was black"


@pytest.mark.parametrize(
    ("latent_dim", "model", "caveat"),
    [
        (3, {"posterior": "full-normal"}, "binds the dimensions together"),
        (3, {"posterior": {"name": "mixture", "components": 2}}, "binds the dimensions together"),
        (3, {"prior": {"name": "mixture", "components": 2}}, "binds the dimensions together"),
        ([2, 1], {"posterior": {"name": "hierarchical", "hidden": [4]}, "prior": LAYERS}, "binds the dimensions of z2 together"),
        ([1, 2], {"posterior": {"name": "hierarchical", "hidden": [4]}, "prior": LAYERS}, None),
        (3, {}, None),
    ],
)
def test_bars_that_do_not_add_up_say_so(tmp_path, latent_dim, model, caveat):
    run = trained(tmp_path, latent_dim=latent_dim, **model)
    for _ in range(2):  # without an evaluation, and with one that says the same
        subject = subject_of(run)
        caption = training_and_generation(subject).makers[0]().caption
        assert ("do not add up to the KL" in caption) == (caveat is not None)
        assert caveat is None or caveat in caption
        assert ("Layers stand from the top down" in caption) == isinstance(latent_dim, list)
        kl = subject.used.kl
        told = {"kl_per_dimension": tuple(kl.per_dimension.tolist()), "kl_per_layer": kl.per_layer, "kl_matched": kl.matched}
        evaluation(**told).write(run.folder / EVALUATION)


def test_the_corners_of_the_manifold_are_the_decoded_quantiles(plane):
    images, coordinates = manifold(plane.vae)
    low, high = NormalDist().inv_cdf(0.02), NormalDist().inv_cdf(0.98)
    np.testing.assert_allclose(coordinates[:, [0, -1]], [[low, high]] * 2, rtol=1e-6)
    for row, column, z in ((0, 0, (low, high)), (0, -1, (high, high)), (-1, 0, (low, low)), (-1, -1, (high, low))):
        expected = plane.vae.decode(tf.constant([z], tf.float32)).mean().numpy()[0]
        np.testing.assert_allclose(images[row, column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("latent_dim", "model"),
    [
        (2, {"prior": {"name": "vampprior", "components": 3}}),
        ([1, 1], {"posterior": {"name": "hierarchical", "hidden": [4]}, "prior": LAYERS}),
    ],
    ids=["vampprior", "layers"],
)
def test_the_plane_is_shown_where_the_prior_draws(tmp_path, latent_dim, model):
    run = trained(tmp_path, latent_dim=latent_dim, labels=False, **model)
    found = pictures(training_and_generation(subject_of(run)))
    assert "The grid is even over the range of prior draws" in found["The manifold"].caption
    assert "The grey points are draws from the prior" in found["The map of test images"].caption
    assert "coloured" not in found["The map of test images"].caption
    assert "Grey points are draws of the prior" in found["Posteriors over the prior"].caption
    _, coordinates = manifold(run.vae)
    draws = prior_draws(run.vae.generator)
    np.testing.assert_allclose(coordinates[:, [0, -1]], np.quantile(draws, [0.02, 0.98], 0).T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.diff(coordinates, 2), 0, atol=1e-4)


def test_an_image_on_the_page_is_the_file_itself(plane):
    picture = pictures(album(subject_of(plane)))["Interpolations"]
    assert base64.b64decode(picture.source.removeprefix("data:image/png;base64,")) == picture.content
