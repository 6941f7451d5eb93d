"""Claims about what TensorBoard shows of a training: it changes nothing, and tells the truth."""

import shutil
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from followed import EPOCHS, config, history, shown, stopped, training
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import ProjectorConfig

from vae_tf import plots
from vae_tf.latents import kl_per_dimension, posterior_moments
from vae_tf.pipeline import fixed_images
from vae_tf.run import load
from vae_tf.tracking import TensorBoard
from vae_tf.tracking.events import EventFile
from vae_tf.tracking.projector import write_projector
from vae_tf.train import train


@pytest.fixture(scope="module")
def layered_in_colour(tmp_path_factory):
    """Labelled colour images for a model of two layers of latents, whose last weights are an average."""
    path, rng = tmp_path_factory.mktemp("images") / "images.npz", np.random.default_rng(0)
    np.savez(path, x=rng.random((90, 5, 6, 3)).astype(np.float32), y=np.arange(90) % 3)
    sets = [
        f"data.source=npz:{path}",
        "model.likelihood=normal",
        "model.latent_dim=[2,3]",
        "model.posterior=ladder",
        "model.prior=top-down",
    ]
    return config(*sets, "model.condition=classes", "training.batch_size=20", "training.average=0.9", epochs=3)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run with TensorBoard."""
    return train(config(), tmp_path_factory.mktemp("runs") / "run", verbose=0, trackers=["tensorboard"])


@pytest.fixture(scope="module")
def layered(layered_in_colour, tmp_path_factory):
    """Such a run of a model of layers and classes."""
    return train(layered_in_colour, tmp_path_factory.mktemp("runs") / "run", verbose=0, trackers=["tensorboard"])


def picture(value):
    """The pixels of an image in an event, [height, width, C]."""
    width, height, png = value
    image = np.asarray(Image.open(BytesIO(png)))
    assert image.shape[:2] == (int(height), int(width))
    return image if image.ndim == 3 else image[..., None]


def validation(run):
    images = run.images()
    return fixed_images(images.validation, images.levels, seed=run.config.seed, binarize=run.config.data.binarize), images.validation.y


@pytest.mark.parametrize("name", ["tracked", "layered"])
def test_trackers_change_no_number(name, tmp_path, request):
    run = request.getfixturevalue(name)
    plain = train(run.config, tmp_path / "plain", verbose=0, trackers=())
    assert not (plain.folder / "tensorboard").exists()
    assert history(plain) == history(run)
    assert all(np.array_equal(a, b) for a, b in zip(plain.vae.get_weights(), run.vae.get_weights()))


def test_curves_are_the_history_and_lie_over_each_other(tracked):
    rows, trained, validated = history(tracked), shown(tracked, "train"), shown(tracked)
    for name in ("loss", "elbo", "kl", "reconstruction"):
        for prefix, curves in (("", trained), ("val_", validated)):
            assert [step for step, _ in curves[f"epoch/{name}"]] == list(range(1, EPOCHS + 1))
            np.testing.assert_allclose([value for _, value in curves[f"epoch/{name}"]], [row[prefix + name] for row in rows], rtol=1e-6)
    assert [float(value) for _, value in trained["epoch/active_units"]] == [row["active_units"] for row in rows]
    rates = [float(value) for _, value in trained["epoch/learning_rate"]]
    assert rates[: EPOCHS // 2] == pytest.approx([0.01] * (EPOCHS // 2))
    assert np.all(np.diff(rates[EPOCHS // 2 :]) < 0)


def test_pictures_come_ten_times_and_show_what_the_model_does(tracked):
    found, (x, _) = shown(tracked), validation(tracked)
    for tag in ("pictures/reconstructions", "pictures/samples", "pictures/kl_per_dimension", "kl_per_dimension", "kl_per_dimension/z_01"):
        steps = [step for step, _ in found[tag]]
        assert (len(steps), steps[0], steps[-1]) == (10, 1, EPOCHS)
    some = x[np.linspace(0, len(x) - 1, 32).astype(int)]
    np.testing.assert_array_equal(picture(found["pictures/reconstructions"][-1][1]), plots.pair_grid(some, tracked.vae(some).numpy(), 4))
    np.testing.assert_array_equal(picture(found["pictures/samples"][-1][1]), plots.image_grid(tracked.vae.generate(64, seed=0)))
    first, last = (picture(found["pictures/samples"][index][1]) for index in (0, -1))
    assert (first != last).any()
    assert picture(found["pictures/kl_per_dimension"][-1][1]).shape[-1] == 4


def test_the_kl_of_each_dimension_is_a_curve_and_a_histogram(tracked):
    found, (x, _) = shown(tracked), validation(tracked)
    some = x[np.linspace(0, len(x) - 1, 100).astype(int)]
    expected = kl_per_dimension(*posterior_moments(tracked.vae, some))
    curves = [float(found[f"kl_per_dimension/z_0{index}"][-1][1]) for index in (1, 2, 3)]
    np.testing.assert_allclose(curves, expected, rtol=1e-4)
    buckets = found["kl_per_dimension"][-1][1]
    assert buckets[:, 2].sum() == 3
    assert (buckets[0, 0], buckets[-1, 1]) == pytest.approx((expected.min(), expected.max()), rel=1e-4)


def test_layers_classes_and_colours_are_shown_as_they_are(layered):
    found = shown(layered)
    assert {"kl_per_layer/z2", "kl_per_layer/z1"} <= found.keys()
    assert [tag for tag in sorted(found) if tag.startswith("kl_per_dimension/")] == [
        f"kl_per_dimension/{name}" for name in ("z1_01", "z1_02", "z1_03", "z2_01", "z2_02")
    ]
    assert [step for step, _ in found["pictures/samples"]] == [1, 2, 3]
    # 21 rows of three classes, each image 5 x 6 enlarged tenfold, with gaps of two pixels: one class in each column.
    assert picture(found["pictures/samples"][-1][1]).shape == (21 * 52 - 2, 3 * 62 - 2, 3)


def embeddings(run):
    """What the projector reads: its configuration, and name -> points."""
    folder = run.folder / "tensorboard" / "validation"
    wanted = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    return folder, wanted, {info.tensor_name: np.loadtxt(folder / info.tensor_path, ndmin=2) for info in wanted.embeddings}


def test_the_projector_has_a_point_a_label_and_a_thumbnail_for_each_image(tracked):
    (x, y), (folder, wanted, points) = validation(tracked), embeddings(tracked)
    np.testing.assert_allclose(points["z"], posterior_moments(tracked.vae, x)[0], rtol=1e-4, atol=1e-6)
    (info,) = wanted.embeddings
    assert list(info.tensor_shape) == [len(x), 3]
    assert (folder / info.metadata_path).read_text().splitlines() == [str(label) for label in y]
    sprite = np.asarray(Image.open(folder / info.sprite.image_path))
    width, height = info.sprite.single_image_dim
    assert sprite.shape == (13 * height, 13 * width)  # 162 images in a square
    tiles = sprite.reshape(13, height, 13, width).swapaxes(1, 2).reshape(-1, height, width)
    np.testing.assert_array_equal(tiles[: len(x)], np.rint(x[..., 0] * 255))


def test_the_projector_shows_each_layer_of_the_final_weights(layered):
    (x, y), (_, _, points) = validation(layered), embeddings(layered)
    means = posterior_moments(load(layered.folder).vae, x, y)[0]
    np.testing.assert_allclose(points["z2"], np.pad(means[:, :2], ((0, 0), (0, 1))), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(points["z1"], means[:, 2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "names", "lines"),
    [
        (np.array([1, 0]), ("a cat", "dog\tor\nso"), ["dog or so", "a cat"]),
        (np.array([7, 3]), None, ["7", "3"]),
        (np.array([[0.5, 1], [2, 3]]), None, ["y1\ty2", "0.5\t1", "2\t3"]),
        (np.array([[0.5], [2]]), None, ["0.5", "2"]),
        (None, None, None),
    ],
)
def test_labels_of_any_kind_can_be_read_by_the_projector(y, names, lines, tmp_path):
    write_projector(tmp_path, {"z": np.zeros((2, 2))}, np.zeros((2, 4, 4, 3), np.float32), y, names)
    (info,) = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig()).embeddings
    assert (tmp_path / info.metadata_path).read_text().splitlines() == lines if lines else not info.metadata_path


def test_thumbnails_of_large_images_fit_a_texture(tmp_path):
    write_projector(tmp_path, {"z": np.zeros((401, 2))}, np.zeros((401, 300, 150, 1), np.float32), None, None)
    (info,) = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig()).embeddings
    assert list(info.sprite.single_image_dim) == [97, 195]
    assert np.asarray(Image.open(tmp_path / info.sprite.image_path)).shape == (21 * 195, 21 * 97)


def test_epochs_that_come_again_replace_what_was_written_of_them(tmp_path):
    for first, last, value in ((1, 5, 0.0), (4, 6, 1.0)):
        file = EventFile(tmp_path / "tensorboard" / "train", first)
        for step in range(first, last + 1):
            file.scalar("elbo", value, step)
        file.close()
    found = shown(SimpleNamespace(folder=tmp_path), "train")["elbo"]
    assert [(step, float(value)) for step, value in found] == [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 1)]


def test_a_clock_that_is_set_back_does_not_mix_them_up(tmp_path, monkeypatch):
    for now_s, first in ((1000.0, 1), (900.0, 3)):
        monkeypatch.setattr("vae_tf.tracking.events.time", SimpleNamespace(time=lambda now_s=now_s: now_s))
        file = EventFile(tmp_path / "tensorboard" / "train", first)
        for step in range(first, 4):
            file.scalar("elbo", now_s, step)
        file.close()
    found = shown(SimpleNamespace(folder=tmp_path), "train")["elbo"]
    assert [(step, float(value)) for step, value in found] == [(1, 1000), (2, 1000), (3, 900)]


def test_a_training_resumed_from_an_older_checkpoint_shows_each_epoch_once(tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path / "run", 3, epochs=4)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "epoch-3")
    run = train(config(epochs=4), tmp_path / "run", resume=True, verbose=0)
    for name, tags in (
        ("train", ["epoch/elbo", "epoch/learning_rate"]),
        ("validation", ["epoch/elbo", "pictures/samples", "pictures/kl_per_dimension"]),
    ):
        found = shown(run, name)
        assert {tag: [step for step, _ in found[tag]] for tag in tags} == {tag: [1, 2, 3, 4] for tag in tags}
    np.testing.assert_allclose([value for _, value in shown(run)["epoch/elbo"]], [row["val_elbo"] for row in history(run)], rtol=1e-6)


def test_classes_beyond_what_fits_a_row_are_laid_out_in_a_square(tmp_path):
    condition = SimpleNamespace(size=100, label=tf.TensorSpec([None], tf.int32))
    tracker = TensorBoard(replace(training(tmp_path), vae=SimpleNamespace(condition=condition)))
    labels, columns = tracker._labels()
    assert (labels.tolist(), columns) == (list(range(64)), None)
