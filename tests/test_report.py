"""The page of a report: what is on it, that it is whole, and that it stands alone."""

import base64
import hashlib
import html
import io
import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from reports import LAYERS, Page, copied, evaluation, trained

from vae_tf.errors import RunError
from vae_tf.objective import OBJECTIVES
from vae_tf.report import page as pages
from vae_tf.report import write_report
from vae_tf.run import EVALUATION, HISTORY

ALBUM = ["Learning curves", "Reconstructions", "Samples from the prior", "Interpolations"]
STORY = ["From one z to images", "One z does not explain the data", "One image, many z"]
BUYS = ["Estimates of log p(x)", "What the ELBO leaves out"]
TRAINING = [
    "What each latent dimension carries",
    "Width of the posteriors",
    "Distance from the centre",
    "Holes of the aggregated posterior",
]
SIGMA = ["Draws with another sigma", "Log-likelihood against sigma"]
ELLIPSES, HOLES, PSEUDO = "Posteriors over the prior", "Decoded in holes, and not", "The pseudo-inputs of the prior"
PLANE = ["The manifold", "The map of test images"]


pytestmark = pytest.mark.usefixtures("fewer_samples")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run, run.images()))


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("plane"), latent_dim=2, channels=3)


@pytest.fixture(scope="module")
def plane_page(plane):
    return Page(write_report(plane, plane.images()))


def test_it_is_written_into_the_run_folder(run, page):
    assert (run.folder / "report.html").read_text() == page.text


def test_every_picture_is_described_and_answers_a_question(page):
    assert [title for title in page.titles if title != HOLES] == ALBUM + STORY + BUYS + TRAINING + SIGMA
    for _, found in page.sections:
        assert len(found) == 1
        assert len(found[0]["alt"]) > 20
    questions = re.findall(r'<p class="question">([^<]+)</p>', page.text)
    assert len(questions) == len(page.sections)
    assert all(question.endswith("?") for question in questions)


def test_chapters_can_be_reached_from_the_top(page):
    anchors = [address for address in page.addresses if address.startswith("#")]
    assert len(anchors) == len(page.chapters)
    assert all(f'<h2 id="{anchor[1:]}">' in page.text for anchor in anchors)


def test_it_needs_nothing_but_itself(page, plane_page):
    for one in (page, plane_page):
        for address in one.addresses:
            assert address.startswith(("data:image/", "#"))
            content = base64.b64decode(address.partition(",")[2])
            assert not re.search(rb"""(href|src)=["'](?!#|data:)|@import|url\((?!#)""", content)
        assert not re.search(r"<link|@import|url\(", one.text)
        assert "default-src 'none'" in one.text, "the browser is told to fetch nothing"


def test_only_the_script_of_the_plane_may_run(page, plane_page):
    assert "<script" not in page.text
    assert "script-src" not in page.text
    (script,) = re.findall(r"<script>(.*?)</script>", plane_page.text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in plane_page.text


def test_the_sprite_of_the_plane_holds_what_is_decoded_at_each_place(plane, plane_page):
    (settings,) = re.findall(r'data-explore="([^"]+)"', plane_page.text)
    settings = json.loads(html.unescape(settings))
    side, (height, width) = settings["side"], settings["tile"]
    with Image.open(io.BytesIO(base64.b64decode(settings["sprite"].partition(",")[2]))) as image:
        sprite = np.asarray(image)
    assert sprite.shape == (side * height, side * width, 3)
    z1, z2 = (np.linspace(low, high, side) for low, high in zip(settings["low"], settings["high"]))
    for row, column in ((0, 0), (3, 7), (side - 1, 0)):
        z = tf.constant([[z1[column], z2[side - 1 - row]]], tf.float32)
        expected = np.rint(np.clip(plane.vae.decode(z).mean().numpy()[0], 0, 1) * 255)
        tile = sprite[row * height :, column * width :][:height, :width]
        np.testing.assert_allclose(tile, expected, atol=1)


def test_a_model_of_two_latents_also_shows_its_plane(plane_page):
    assert plane_page.titles[-4:] == PLANE + SIGMA
    assert ELLIPSES in plane_page.titles
    assert "coloured by its label" in plane_page.text


def test_without_an_evaluation_it_says_how_to_get_one(run, page):
    assert f"python -m vae_tf evaluate {run.folder}" in page.text
    assert "<table>" not in page.text


def test_an_evaluation_is_shown_with_its_errors_and_method_and_all_its_topics(run, tmp_path):
    run, estimate = copied(run, tmp_path), evaluation().kl
    further = {"a <new> topic": {"some p(x | z) number": estimate}}
    evaluation(further=further, notes=("something was left out",)).write(run.folder / EVALUATION)
    text = html.unescape(write_report(run, run.images()).read_text())
    assert "-21.50 ± 0.25 nats" in text
    assert "importance sampling, 20 posterior samples per image; 6 test images" in text
    assert "7.5 of 20" in text
    assert "a <new> topic" in text
    assert "something was left out" in text
    assert "From 10 to 20 samples it rises by 0.40 nats" in text
    assert "The estimate has not settled" in text
    assert "python -m vae_tf evaluate" not in text
    assert "bits per dimension" not in text, "a density has no bits"


def test_an_evaluation_that_does_not_say_the_kl_of_layers_is_read_and_its_bars_are_drawn_anew(run, tmp_path):
    run = copied(run, tmp_path)
    old = {key: value for key, value in asdict(evaluation(kl_per_dimension=(99.0,) * 3)).items() if not key.startswith(("kl_", "curves"))}
    (run.folder / EVALUATION).write_text(json.dumps(old | {"kl_per_dimension": [99.0] * 3}))
    assert "99.00" not in write_report(run, run.images()).read_text()


def test_equal_seeds_give_equal_pages_and_other_seeds_other_pictures(plane, plane_page, tmp_path):
    assert write_report(plane, plane.images(), tmp_path / "same.html").read_text() == plane_page.text
    other = Page(write_report(plane, plane.images(), tmp_path / "other.html", seed=1))
    sources = [{title: found[0]["src"] for title, found in one.sections} for one in (plane_page, other)]
    shared = sources[0].keys() & sources[1].keys()
    assert {title for title in shared if sources[0][title] == sources[1][title]} == {ALBUM[0], TRAINING[0], *PLANE}


def test_names_from_the_configuration_cannot_become_markup(run, tmp_path):
    data = replace(run.config.data, source="npz:<b>&.npz")
    other = replace(run, config=replace(run.config, data=data))
    text = write_report(other, run.images(), tmp_path / "page.html").read_text()
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text


def test_how_many_pictures_there_will_be_is_known_from_the_start(run, tmp_path, monkeypatch):
    bars = []
    progress = pages.progress
    monkeypatch.setattr(pages, "progress", lambda *args, **kwargs: bars.append(progress(*args, **kwargs)) or bars[-1])
    write_report(run, run.images(), tmp_path / "page.html")
    assert [bar.n for bar in bars] == [bar.total for bar in bars]
    assert bars[0].total == len(ALBUM + STORY + BUYS + TRAINING + SIGMA) + 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (EVALUATION, "{", "evaluation.json` is damaged .*; remove it, or evaluate again"),
        (EVALUATION, "{}", "evaluation.json` is damaged"),
        (HISTORY, None, "history.csv` is missing or empty; restore it or train again"),
        (HISTORY, "epoch,loss\n1,x\n", "history.csv` is no history"),
    ],
)
def test_a_damaged_run_is_refused_and_the_old_report_stays(run, tmp_path, name, content, message):
    run = copied(run, tmp_path)
    (run.folder / "report.html").write_text("old")
    (run.folder / name).unlink(missing_ok=True)
    if content is not None:
        (run.folder / name).write_text(content)
    before = sorted(run.folder.iterdir())
    with pytest.raises(RunError, match=message):
        write_report(run, run.images())
    assert (run.folder / "report.html").read_text() == "old"
    assert sorted(run.folder.iterdir()) == before


def test_the_header_tells_every_option_and_the_curves_what_they_are(run, page, tmp_path):
    assert "<dt>encoder</dt><dd>mlp (hidden [8], activation relu)</dd>" in page.text
    assert re.search(r"<dt>objective</dt><dd>elbo \(weight 1.0, warmup_epochs 0, .*gradient path\)</dd>", page.text)
    assert "is not the plain ELBO" not in page.text
    other = replace(run, config=replace(run.config, objective={"name": "iwae", "samples": 3}))
    run.vae.compile(objective=OBJECTIVES["iwae"](samples=3))
    text = write_report(other, run.images(), tmp_path / "iwae.html").read_text()
    run.vae.compile()
    assert re.search(r"<dd>iwae \(samples 3, gradient plain.*\)</dd>", text)
    assert "The objective (iwae) is not the plain ELBO" in text


@pytest.mark.parametrize(
    ("latent_dim", "options", "more"),
    [
        (2, {"condition": "classes"}, [ELLIPSES, *PLANE]),
        (2, {"condition": "vector", "vectors": True, "prior": "conditional-normal"}, [ELLIPSES, *PLANE]),
        ([1, 2], {"posterior": {"name": "ladder", "hidden": [4]}, "prior": LAYERS}, [PSEUDO]),
        (2, {"prior": {"name": "coupling-flow", "hidden": 4}, "posterior": {"name": "coupling-flow", "hidden": 4}}, [ELLIPSES, *PLANE]),
        (3, {"data": {"corrupt": "mask", "corruption": 0.25}, "labels": False}, ["Restorations"]),
    ],
    ids=["classes", "vectors", "layers", "flow", "denoising"],
)
def test_every_kind_of_model_is_explained(tmp_path, latent_dim, options, more):
    run = trained(tmp_path, latent_dim=latent_dim, **options)
    page = Page(write_report(run, run.images()))
    given = "condition" in options
    buys = [title.replace("p(x)", "p(x\N{NO-BREAK SPACE}|\N{WORD JOINER}\N{NO-BREAK SPACE}y)") if given else title for title in BUYS]
    assert set(page.titles) - {HOLES} == {*ALBUM, *STORY, *buys, *TRAINING, *SIGMA, *more}
    bare = "p(x\N{NO-BREAK SPACE}|\N{WORD JOINER}\N{NO-BREAK SPACE}z)"
    assert (bare in page.text) != given, "every density of a picture is given the label, where there is one"
