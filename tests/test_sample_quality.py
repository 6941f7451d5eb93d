"""Claims about measures of sample quality, on distributions whose distances are known, and about the classifier that describes images."""

import random

import numpy as np
import pytest
import tensorflow as tf
from pieces import tiny
from threadpoolctl import threadpool_limits

from vae_tf import DataError
from vae_tf.build import build_model
from vae_tf.evaluation import features
from vae_tf.evaluation.features import classifier
from vae_tf.evaluation.sample_quality import draw_samples, sample_quality
from vae_tf.evaluation.two_samples import frechet
from vae_tf.files import cache_folder
from vae_tf.images import Images, Split

DISTANCES, SHARES = ("frechet_distance", "kernel_distance"), ("precision", "recall", "density", "coverage")


def normals(count, size=3, loc=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(loc, scale, (count, size))


def by_hand(x, y):
    """The definitions, one pair at a time."""

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    def reaches(points, k):
        return [sorted(np.linalg.norm(a - b) for j, b in enumerate(points) if j != i)[k - 1] for i, a in enumerate(points)]

    def near(a, points, i, k):
        return np.linalg.norm(a - points[i]) <= reach[len(points), k][i]

    n, m = len(x), len(y)
    reach = {(len(points), k): reaches(points, k) for points in (x, y) for k in (3, 5)}
    return {
        "kernel_distance": sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        + sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
        - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m),
        "precision": np.mean([any(near(b, x, i, 3) for i in range(n)) for b in y]),
        "recall": np.mean([any(near(a, y, i, 3) for i in range(m)) for a in x]),
        "density": np.mean([sum(near(b, x, i, 5) for i in range(n)) / 5 for b in y]),
        "coverage": np.mean([any(near(b, x, i, 5) for b in y) for i in range(n)]),
    }


def test_every_measure_is_what_its_definition_says():
    x, y = normals(43, 2), normals(51, 2, loc=0.5, seed=1)
    found = sample_quality(x, y)
    for name, value in by_hand(x, y).items():
        assert getattr(found, name).value == pytest.approx(value), name


def test_images_that_repeat_are_their_own_neighbours():
    once = normals(60, 64)
    found = sample_quality(np.concatenate([once] * 6), once)
    assert (found.precision.value, found.coverage.value) == (1.0, 1.0)
    assert found.density.value == pytest.approx(6 / 5)


def test_the_frechet_distance_of_normals_is_known():
    x, y = normals(3000, scale=[1, 2, 3]), normals(3000, loc=[1, 0, 2], scale=[2, 2, 1], seed=1)
    turn = np.linalg.qr(normals(3, seed=2))[0]  # which changes no distance
    found, turned = (frechet(x @ by, y @ by, np.random.default_rng(0)) for by in (np.eye(3), turn))
    assert found.value == pytest.approx(5 + 1 + 0 + 4, abs=0.9)
    assert found.standard_error == pytest.approx(0.3, abs=0.15)
    assert turned.value == pytest.approx(found.value)


def test_samples_of_the_same_distribution_are_as_good_as_can_be():
    found = sample_quality(normals(1000), normals(1000, seed=1))
    assert abs(found.kernel_distance.value) < 3 * found.kernel_distance.standard_error
    assert found.frechet_distance.value < 0.05
    for name, value in (("precision", 0.95), ("recall", 0.95), ("density", 1.0), ("coverage", 1 - 2.0**-5)):
        assert getattr(found, name).value == pytest.approx(value, abs=0.05), name


def test_what_is_wrong_with_samples_shows_where_it_should():
    x, same = normals(600), sample_quality(normals(600), normals(600, seed=1))
    shifted, narrow = sample_quality(x, normals(600, loc=1.5, seed=1)), sample_quality(x, normals(600, scale=0.4, seed=1))
    for name in (*DISTANCES, *SHARES):
        change = getattr(shifted, name).value - getattr(same, name).value
        assert change * (1 if name in DISTANCES else -1) > 2 * getattr(shifted, name).standard_error, name
    assert narrow.precision.value >= same.precision.value
    assert narrow.recall.value < same.recall.value - 0.2
    assert narrow.coverage.value < same.coverage.value - 0.2


def test_stated_errors_are_those_of_repetition():
    """Never much too small, and at most half too large; of so few points measures are skewed, and twice the error holds nearly all."""
    with threadpool_limits(1):  # threads that wait for each other cost more than so few points
        runs = [
            sample_quality(normals(120, seed=[1, seed]), normals(100, loc=0.4, scale=1.2, seed=[2, seed]), seed=seed) for seed in range(150)
        ]
    for name in (*DISTANCES, *SHARES):
        values, errors = np.array([[getattr(run, name).value, getattr(run, name).standard_error] for run in runs]).T
        assert 0.85 < np.sqrt(np.mean(errors**2)) / np.std(values, ddof=1) < 1.7, name
        assert np.mean(np.abs(values - values.mean()) < 2 * errors) > 0.85, name


def test_neither_order_nor_chunks_change_a_measure(monkeypatch):
    x, y = normals(60), normals(50, loc=0.3, seed=1)
    whole, turned = sample_quality(x, y), sample_quality(x[::-1], y[::-1])
    monkeypatch.setattr("vae_tf.evaluation.two_samples._CELLS", 130)
    cut = sample_quality(x, y)
    for name in (*DISTANCES, *SHARES):
        assert getattr(turned, name).value == pytest.approx(getattr(whole, name).value), name
        assert getattr(cut, name).value == pytest.approx(getattr(whole, name).value), name
        assert getattr(cut, name).standard_error == pytest.approx(getattr(whole, name).standard_error), name


def test_a_measure_says_of_how_many_it_is():
    found = sample_quality(normals(50), normals(40, seed=1))
    assert found.frechet_distance.method == "40 samples against 50 images, jackknife over 20 groups"
    assert found.coverage.method == "40 samples against 50 images, k = 5, standard deviation over 20 halves"


@pytest.mark.parametrize(
    ("real", "samples", "message"),
    [
        (normals(39), normals(50), "`real` must be features of at least 40 images, [N, F] with one F for both, got [39, 3]."),
        (normals(50), normals(50, 2), "`samples` must be features of at least 40 images, [N, F] with one F for both, got [50, 2]."),
        (normals(50), np.full((50, 3), np.nan), "`samples` must be finite, got NaN or infinity."),
    ],
)
def test_features_that_can_not_be_compared_are_refused(real, samples, message):
    with pytest.raises(DataError) as error:
        sample_quality(real, samples)
    assert str(error.value) == message


def test_samples_are_draws_and_not_means_and_equal_seeds_give_equal_ones():
    vae = build_model(tiny(prior="mixture"), (6, 5, 1), 2)
    x = draw_samples(vae, 250, levels=2)
    assert x.shape == (250, 6, 5, 1)
    assert set(np.unique(x)) == {0.0, 1.0}
    np.testing.assert_array_equal(x, draw_samples(vae, 250, levels=2))
    assert not np.array_equal(x, draw_samples(vae, 250, levels=2, seed=1))
    np.testing.assert_allclose(x.mean(0), vae.generate(2000).mean(0), atol=0.15)


@pytest.mark.parametrize("levels", [4, None])
def test_samples_of_a_density_have_values_like_the_data(levels):
    x = draw_samples(build_model(tiny(likelihood="normal"), (6, 5, 1), levels), 100, levels=levels)
    assert x.min() >= 0
    assert x.max() <= 1
    assert len(np.unique(x)) == 4 if levels else len(np.unique(x)) > 100


def test_samples_take_the_labels_they_are_given():
    vae = build_model(tiny(condition="vector", prior="conditional-normal"), (6, 5, 1), None, label_size=2)
    label = np.random.default_rng(0).normal(size=(150, 2)).astype("f4") * 5
    x = draw_samples(vae, 220, label)
    np.testing.assert_array_equal(x, draw_samples(vae, 220, np.concatenate([label, label])))
    assert not np.array_equal(x, draw_samples(vae, 220, label[::-1]))


# --- the classifier -------------------------------------------------------------------------------------------------------------------


def bars(count, seed):
    """[N, 6, 5, 1] images of a row or of a column, and some noise."""
    rng = np.random.default_rng(seed)
    x, y = (rng.random((count, 6, 5, 1)) < 0.1).astype(np.uint8), rng.integers(2, size=count)
    for image, kind in zip(x, y):
        image[(rng.integers(6), slice(None)) if kind else (slice(None), rng.integers(5))] = 1
    return Split(x, y)


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(features, "_STEPS", 40)
    return Images(bars(200, 0), bars(30, 1), bars(80, 2), 2, None, "bars")


def test_the_classifier_finds_the_classes_and_says_who_it_is(images, tmp_path):
    found = classifier(images, "none", cache=tmp_path)
    assert found.accuracy.value > 0.9
    assert found.accuracy.images == 80
    assert found.note is None
    assert str(found).startswith(f"vae_tf-classifier 1, trained on data {found.data}, weights {found.weights}, test accuracy ")
    described = found.features(np.concatenate([images.train.x, images.validation.x]).astype("f4"))
    np.testing.assert_allclose(described.mean(0), 0, atol=1e-4)
    assert described.shape == (230, 64)
    assert described.dtype == np.float64


def test_equal_data_have_equal_features_however_they_were_split_and_whatever_came_before(images, tmp_path):
    first = classifier(images, "none", cache=tmp_path / "first")
    rows = np.random.default_rng(5).permutation(230)
    both = Split(np.concatenate([images.train.x, images.validation.x]), np.concatenate([images.train.y, images.validation.y]))
    tf.random.set_seed(99)
    tf.random.normal([3])
    other = Images(both.take(rows[:180]), both.take(rows[180:]), images.test, 2, None, "bars")
    assert classifier(other, "none", cache=tmp_path / "second").weights == first.weights


def test_other_data_or_another_binarization_have_other_features(images, tmp_path):
    changed = Images(bars(200, 7), images.validation, images.test, 2, None, "bars")
    found = [classifier(data, how, cache=tmp_path).data for data, how in ((images, "none"), (images, "dynamic"), (changed, "none"))]
    assert len(set(found)) == len(list(tmp_path.glob("*.npz"))) == 3


def test_training_a_classifier_moves_nobodys_random_numbers(images, tmp_path):
    def states():
        tf.random.set_seed(3)
        random.seed(3)
        np.random.seed(3)
        yield
        yield random.random(), np.random.random(), float(tf.random.uniform([]))

    before, after = states(), states()
    next(before)
    expected = next(before)
    next(after)
    classifier(images, "none", cache=tmp_path)
    assert next(after) == expected


def test_the_second_run_on_the_same_data_reads_the_cache(images, tmp_path, monkeypatch):
    first = classifier(images, "none", cache=tmp_path)
    monkeypatch.delattr(features, "_train")
    second = classifier(images, "none", cache=tmp_path)
    assert (second.weights, second.accuracy, second.note) == (first.weights, first.accuracy, None)


def not_finite(path):
    with np.load(path) as file:
        np.savez(path, **{**file, "mean": np.full(64, np.nan)})


def another_shape(path):
    with np.load(path) as file:
        np.savez(path, **{**file, "logits": np.zeros((64, 7))})


def objects(path):
    with np.load(path) as file:
        np.savez(path, **{**file, "mean": np.array([print] * 64, object)})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:999]), "zip file"),
        (lambda path: path.write_bytes(b""), "No data left"),
        (lambda path: np.savez(path, mean=np.zeros(64)), "is not a file in the archive"),
        (not_finite, "weights of another shape, or not finite"),
        (another_shape, "weights of another shape, or not finite"),
        (objects, "allow_pickle=False"),
    ],
)
def test_a_damaged_cache_is_replaced_with_a_note(images, tmp_path, damage, reason):
    first = classifier(images, "none", cache=tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    again = classifier(images, "none", cache=tmp_path)
    assert again.note.startswith(f"the classifier in its cache, {path.name}, was damaged (")
    assert reason in again.note
    assert again.weights == first.weights
    assert classifier(images, "none", cache=tmp_path).note is None


def test_a_cache_that_can_not_be_written_is_no_obstacle(images, tmp_path):
    (tmp_path / "file").write_text("")
    found = classifier(images, "none", cache=tmp_path / "file" / "folder")
    assert found.accuracy.value > 0.9
    assert "could not be kept in its cache (" in found.note
    assert str(tmp_path) not in found.note


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_TF_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("VAE_TF_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "vae_tf"


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        (Split(bars(40, 0).x), bars(40, 1), "the images have no labels to train a classifier on"),
        (Split(bars(40, 0).x, np.zeros((40, 3), "f4")), bars(40, 1), "labels are vectors, and the classifier needs classes"),
        (Split(bars(40, 0).x, np.zeros(40, int)), bars(40, 1), "a classifier needs 2 to 1000 classes, and the images have 1"),
        (bars(50, 0), bars(9, 1), "there are 9 images of one kind, training or test, and 40 are the least to compare samples with"),
    ],
)
def test_where_there_can_be_no_classifier_there_is_a_reason(train, test, reason, tmp_path):
    assert classifier(Images(train, bars(5, 3), test, 2, None, "bars"), "none", cache=tmp_path) == reason
