"""The report of a run."""

import base64
import html
import io
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from statistics import NormalDist

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from vae_tf.config import Config
from vae_tf.errors import RunError
from vae_tf.evaluation import evaluate
from vae_tf.latents import posterior_moments, prior_draws
from vae_tf.model import VAE
from vae_tf.objective import OBJECTIVES
from vae_tf.report import write_report
from vae_tf.report.plane import manifold
from vae_tf.run import EVALUATION, HISTORY
from vae_tf.train import train

ALBUM = ["Learning curves", "Reconstructions", "Samples from the prior", "Interpolations", "What each latent dimension carries"]
PSEUDO = "The pseudo-inputs of the prior"
PLANE = ["The manifold", "The map of test images"]


class Page(HTMLParser):
    """The headings and the attributes of the pictures, section by section; and every address on the page."""

    def __init__(self, path):
        super().__init__()
        self.sections, self.addresses, self._heading = [], [], False
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [value for name, value in attrs.items() if name in ("src", "href", "srcset", "data", "action", "poster")]
        self._heading = tag == "h2"
        if tag == "section":
            self.sections.append(["", []])
        if tag == "img":
            self.sections[-1][1].append(attrs)

    def handle_data(self, text):
        if self._heading:
            self.sections[-1][0] = text
        self._heading = False


def trained(folder, latent_dim=3, channels=1, labels=True, vectors=False, data=None, **model):
    rng = np.random.default_rng(0)
    x = rng.random((60, 6, 5, channels)).astype(np.float32)
    y = rng.integers(0, 3, 60)
    arrays = {"x": x, "y": np.eye(4)[y] / 3 if vectors else y} if labels else {"x": x}
    np.savez(folder / "images.npz", **arrays)
    body = {"name": "mlp", "hidden": [8]}
    values = {
        "data": {"source": f"npz:{folder / 'images.npz'}", **(data or {})},
        "model": {"latent_dim": latent_dim, "encoder": body, "decoder": body, "likelihood": "normal", **model},
        "training": {"epochs": 1, "batch_size": 16},
    }
    return train(Config.from_dict(values), folder / "run", verbose=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("plane"), latent_dim=2, channels=3)


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run, run.images()))


def test_it_is_written_into_the_run_folder(run, page):
    assert (run.folder / "report.html").read_text() == page.text


def test_it_needs_nothing_but_itself(page):
    assert len(page.addresses) == len(ALBUM)
    assert all(address.startswith("data:image/") for address in page.addresses)
    for address in page.addresses:
        content = base64.b64decode(address.partition(",")[2])
        assert not re.search(rb"""(href|src)=["'](?!#|data:)|@import|url\((?!#)""", content)
    assert not re.search(r"<script|<link|@import|url\(", page.text)
    assert "default-src 'none'" in page.text, "the browser is told to fetch nothing"


def test_every_section_has_one_picture_that_is_described(page):
    (numbers, none), *sections = page.sections
    assert (numbers, none) == ("Numbers on test images", [])
    assert [title for title, _ in sections] == ALBUM
    for _, pictures in sections:
        assert len(pictures) == 1
        assert len(pictures[0]["alt"]) > 20


def test_a_model_of_two_latents_also_shows_its_plane(plane):
    page = Page(write_report(plane, plane.images()))
    assert [title for title, _ in page.sections[1:]] == ALBUM + PLANE
    assert "coloured by its label" in page.text


def test_unlabelled_images_get_a_map_of_one_colour(tmp_path):
    run = trained(tmp_path, latent_dim=2, labels=False)
    page = Page(write_report(run, run.images()))
    assert page.sections[-1][0] == PLANE[1]
    assert "coloured" not in page.text


def test_colour_images_are_shown_in_colour(plane):
    page = Page(write_report(plane, plane.images()))
    for title, pictures in page.sections[2:5]:
        with Image.open(io.BytesIO(base64.b64decode(pictures[0]["src"].partition(",")[2]))) as image:
            red, green, _ = (np.asarray(image.getchannel(band)) for band in "RGB")
        assert not np.array_equal(red, green), title


def test_reconstructions_show_every_class(tmp_path):
    """20 pairs of 3 classes, their grey value being their label: every class comes up 6 or 7 times."""
    run = trained(tmp_path)
    images = run.images()
    values = np.arange(3, dtype=np.float32) / 2
    x, y = np.repeat(values, 20).reshape(60, 1, 1, 1) * np.ones((1, 6, 5, 1), np.float32), np.repeat(np.arange(3), 20)
    object.__setattr__(images, "test", type(images.test)(x, y))
    page = Page(write_report(run, images, tmp_path / "elsewhere.html"))
    with Image.open(io.BytesIO(base64.b64decode(page.sections[2][1][0]["src"].partition(",")[2]))) as image:
        pixels = np.asarray(image)
    lefts = pixels[0 :: 60 + 14, :: 2 * 50 + 2 + 14, 0]
    assert lefts.shape == (4, 5)
    np.testing.assert_array_equal(lefts.ravel(), np.resize([0, 128, 255], 20))


def test_the_corners_of_the_manifold_are_the_decoded_quantiles(plane):
    images, coordinates = manifold(plane.vae)
    low, high = NormalDist().inv_cdf(0.02), NormalDist().inv_cdf(0.98)
    np.testing.assert_allclose(coordinates[:, [0, -1]], [[low, high]] * 2, rtol=1e-6)
    for row, column, z in ((0, 0, (low, high)), (0, -1, (high, high)), (-1, 0, (low, low)), (-1, -1, (high, low))):
        expected = plane.vae.decode(tf.constant([z], tf.float32)).mean().numpy()[0]
        np.testing.assert_allclose(images[row, column], expected, rtol=1e-4, atol=1e-5)


def test_without_an_evaluation_it_says_how_to_get_one(run, page):
    assert f"python -m vae_tf evaluate {run.folder}" in page.text
    assert "±" not in page.text


def test_an_evaluation_is_shown_with_its_errors_and_method(tmp_path):
    run = trained(tmp_path)
    evaluation = evaluate(run.vae, *run.test_images(), samples=3, verbose=False)
    evaluation.write(run.folder / EVALUATION)
    text = write_report(run, run.images()).read_text()
    assert f"{evaluation.elbo.value:.2f} ± {evaluation.elbo.standard_error:.2f} nats" in text
    assert "importance sampling, 3 posterior samples per image; 6 test images" in text
    assert "python -m vae_tf evaluate" not in text
    assert "bits per dimension" not in text, "a density has no bits"


def test_equal_seeds_give_equal_pages_and_other_seeds_other_pictures(run, page, tmp_path):
    assert write_report(run, run.images(), tmp_path / "same.html").read_text() == page.text
    other = Page(write_report(run, run.images(), tmp_path / "other.html", seed=1))
    same = [a["src"] == b["src"] for (_, [a]), (_, [b]) in zip(page.sections[1:], other.sections[1:])]
    assert same == [True, False, False, False, True]


def test_names_from_the_configuration_cannot_become_markup(tmp_path):
    (folder := tmp_path / "<b>&").mkdir()
    run = trained(folder)
    text = write_report(run, run.images()).read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (EVALUATION, "{", "evaluation.json` is damaged .*; remove it, or evaluate again"),
        (EVALUATION, "{}", "evaluation.json` is damaged"),
        (HISTORY, "epoch\n1\n", "is no history"),
        (HISTORY, None, "history.csv` is missing or empty; restore it or train again"),
    ],
)
def test_a_damaged_run_is_refused_and_the_old_report_stays(tmp_path, name, content, message):
    run = trained(tmp_path)
    (run.folder / "report.html").write_text("old")
    (run.folder / name).unlink(missing_ok=True)
    if content is not None:
        (run.folder / name).write_text(content)
    before = sorted(run.folder.iterdir())
    with pytest.raises(RunError, match=message):
        write_report(run, run.images())
    assert (run.folder / "report.html").read_text() == "old"
    assert sorted(run.folder.iterdir()) == before


LAYERS = {"name": "top-down", "top": {"name": "vampprior", "components": 3}, "hidden": [4]}


def test_a_conditional_model_shows_a_row_of_samples_for_each_class(tmp_path):
    run = trained(tmp_path, latent_dim=2, condition="classes")
    evaluate(run.vae, *run.test_images(), samples=3, verbose=False).write(run.folder / EVALUATION)
    page = Page(write_report(run, run.images()))
    assert [title for title, _ in page.sections[1:]] == ALBUM + PLANE
    samples = base64.b64decode(page.sections[3][1][0]["src"].partition(",")[2]).decode()
    assert page.sections[3][1][0]["alt"] == "3 rows of 5 pairs of images from the prior: 0, 1, 2."
    assert re.findall(r">([^<>]+)</text>", samples) == ["0", "1", "2"]
    assert "<dt>condition</dt><dd>classes, 3</dd>" in page.text
    assert "log p(x | y)" in page.text
    assert "given the label 0" in page.text
    assert "p(x\N{NO-BREAK SPACE}|\N{NO-BREAK SPACE}z)" not in page.text, "every density of a picture is given the label"


def test_a_denoising_model_shows_what_it_restores(tmp_path):
    run = trained(tmp_path, data={"corrupt": "mask", "corruption": 0.25})
    page = Page(write_report(run, run.images()))
    assert [title for title, _ in page.sections[1:]] == [*ALBUM[:2], "Restorations", *ALBUM[2:]]
    assert "the encoder was trained on copies: mask, 0.25" in page.text
    assert "a corrupted test image (mask, 0.25)" in page.text
    assert "a gap between the curves is not overfitting" in page.text
    with Image.open(io.BytesIO(base64.b64decode(page.sections[3][1][0]["src"].partition(",")[2]))) as image:
        pixels = np.asarray(image)
    left = np.concatenate([pixels[:60, column : column + 50, 0] for column in range(0, 5 * 116, 116)])
    assert 0.15 < (left == 0).mean() < 0.35, "a quarter of the pixels is masked, and hardly any was black"


def test_the_header_tells_every_option_and_the_curves_what_they_are(run, page, tmp_path):
    assert "<dt>encoder</dt><dd>mlp (hidden [8], activation relu)</dd>" in page.text
    assert "<dt>objective</dt><dd>elbo (weight 1.0, warmup_epochs 0, cycles 1, samples 1, gradient path)</dd>" in page.text
    assert "is not the plain ELBO" not in page.text
    other = replace(run, config=replace(run.config, objective={"name": "iwae", "samples": 3}))
    run.vae.compile(objective=OBJECTIVES["iwae"](samples=3))
    text = write_report(other, run.images(), tmp_path / "iwae.html").read_text()
    run.vae.compile()
    assert "<dd>iwae (samples 3, gradient plain)</dd>" in text
    assert "The objective (iwae) is not the plain ELBO" in text


def test_a_model_of_label_vectors_is_reported(tmp_path):
    run = trained(tmp_path, latent_dim=2, vectors=True, condition="vector", prior="conditional-normal")
    page = Page(write_report(run, run.images()))
    assert [title for title, _ in page.sections[1:]] == ALBUM + PLANE
    assert page.sections[3][1][0]["alt"].startswith("4 rows of 5 pairs of images from the prior: (0")
    assert "coloured" not in page.text


def test_interpolations_join_images_of_one_label_and_keep_it(tmp_path, monkeypatch):
    run = trained(tmp_path, condition="classes")
    images, seen = run.images(), []
    decode = VAE.decode
    monkeypatch.setattr(VAE, "decode", lambda vae, z, label=None: (seen.append((z, label)), decode(vae, z, label))[1])
    write_report(run, images, tmp_path / "page.html")
    (z, label) = next((z, label) for z, label in seen if label is not None and z.shape[0] == 9)
    mean, _ = posterior_moments(run.vae, images.test.x, images.test.y)
    for ends in (z[0], z[-1]):
        for row, kept in zip(ends.numpy(), label):
            nearest = np.argmin(((mean - row) ** 2).sum(-1))
            assert images.test.y[nearest] == kept


def test_a_model_of_layers_is_reported_with_the_size_of_each(tmp_path):
    run = trained(tmp_path, latent_dim=[1, 2], posterior={"name": "ladder", "hidden": [4]}, prior=LAYERS)
    page = Page(write_report(run, run.images()))
    assert [title for title, _ in page.sections[1:]] == [*ALBUM, PSEUDO]
    assert page.sections[-1][1][0]["alt"].startswith("3 learned images")
    assert "<dt>latent dimensions</dt><dd>2 layers, 1 + 2</dd>" in page.text
    assert "top-down (top vampprior (components 3), hidden [4], activation relu)" in page.text
    assert "Layers stand from the top down, each given those above it" in page.text
    assert "do not add up" not in page.text, "a layer of one dimension is told by itself"


@pytest.mark.parametrize(
    ("latent_dim", "model", "caveat"),
    [
        (3, {"posterior": "full-normal"}, "binds the dimensions together"),
        (3, {"posterior": {"name": "mixture", "components": 2}}, "binds the dimensions together"),
        (3, {"prior": {"name": "mixture", "components": 2}}, "binds the dimensions together"),
        ([2, 1], {"posterior": {"name": "hierarchical", "hidden": [4]}, "prior": LAYERS}, "binds the dimensions of z2 together"),
        (3, {}, None),
    ],
)
@pytest.mark.parametrize("evaluated", [True, False])
def test_bars_that_do_not_add_up_say_so(tmp_path, latent_dim, model, caveat, evaluated):
    run = trained(tmp_path, latent_dim=latent_dim, **model)
    if evaluated:
        evaluate(run.vae, *run.test_images(), samples=3, verbose=False).write(run.folder / EVALUATION)
    text = html.unescape(write_report(run, run.images()).read_text())
    assert ("do not add up to the KL" in text) == (caveat is not None)
    assert caveat is None or caveat in text


def test_an_evaluation_that_does_not_say_the_kl_of_layers_is_read_and_its_bars_are_drawn_anew(tmp_path):
    run = trained(tmp_path, latent_dim=[1, 2], posterior={"name": "hierarchical", "hidden": [4]}, prior={"name": "top-down", "hidden": [4]})
    evaluation = asdict(evaluate(run.vae, *run.test_images(), samples=3, verbose=False)) | {"kl_per_dimension": [99.0, 99.0, 99.0]}
    old = {key: value for key, value in evaluation.items() if key not in ("kl_per_layer", "kl_matched")}
    (run.folder / EVALUATION).write_text(json.dumps(old))
    text = write_report(run, run.images()).read_text()
    assert "99.00" not in text
    assert re.search(r"the KL of \d+\.\d\d nats is -?\d+\.\d\d in z2, -?\d+\.\d\d in z1", text)


@pytest.mark.parametrize(
    ("latent_dim", "model"),
    [
        (2, {"prior": {"name": "vampprior", "components": 3}}),
        ([1, 1], {"posterior": {"name": "hierarchical", "hidden": [4]}, "prior": LAYERS}),
        (2, {"prior": {"name": "coupling-flow", "hidden": 4}, "posterior": {"name": "coupling-flow", "hidden": 4}}),
    ],
    ids=["vampprior", "layers", "flow"],
)
def test_the_plane_is_shown_where_the_prior_draws(tmp_path, latent_dim, model):
    run = trained(tmp_path, latent_dim=latent_dim, **model)
    page = Page(write_report(run, run.images()))
    assert [title for title, _ in page.sections[1:] if title != PSEUDO] == ALBUM + PLANE
    assert "The grid is even over the range of prior draws" in page.text
    assert "The grey points are draws from the prior" in page.text
    assert "dotted circles" not in page.text
    _, coordinates = manifold(run.vae)
    draws = prior_draws(run.vae.generator)
    np.testing.assert_allclose(coordinates[:, [0, -1]], np.quantile(draws, [0.02, 0.98], 0).T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.diff(coordinates, 2), 0, atol=1e-4)
