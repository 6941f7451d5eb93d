"""Splits, binarization, and batches that can be resumed."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from vae_tf import data, pipeline
from vae_tf.config import DataConfig
from vae_tf.errors import ConfigError

LEVELS = 256


@pytest.fixture
def split():
    x = np.random.default_rng(0).integers(0, LEVELS, (10, 3, 3, 1), dtype=np.uint8)
    return data.Split(x, np.arange(10))


def take(count, split, **changes):
    settings = {"levels": LEVELS, "batch_size": 4, "seed": 7, "binarize": "dynamic"} | changes
    return [batch.numpy() for batch in pipeline.training_batches(split, settings.pop("levels"), **settings).take(count)]


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
@pytest.mark.parametrize("first_epoch", [1, 3])
def test_a_pipeline_started_at_an_epoch_yields_what_an_uninterrupted_one_yields(split, binarize, first_epoch):
    whole = take(10, split, binarize=binarize)
    resumed = take(10 - 2 * first_epoch, split, binarize=binarize, first_epoch=first_epoch)
    np.testing.assert_array_equal(resumed, whole[2 * first_epoch :])


def test_another_seed_gives_another_order_and_other_noise(split):
    for binarize in ("none", "dynamic"):
        assert not np.array_equal(take(2, split, binarize=binarize, seed=1), take(2, split, binarize=binarize, seed=2))


def test_every_epoch_visits_distinct_images_in_another_order():
    x = np.arange(11, dtype=np.uint8).reshape(11, 1, 1, 1)
    visits = np.rint(np.concatenate(take(30, data.Split(x), batch_size=2, levels=11, binarize="none")).ravel() * 10).astype(int)
    epochs = visits.reshape(6, 10)
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert len({(set(range(11)) - set(epoch)).pop() for epoch in epochs}) > 1, "the image left over should change"


def test_dynamic_binarization_draws_anew_in_every_step_and_epoch():
    x = np.full((4, 8, 8, 1), 128, np.uint8)
    batches = take(6, data.Split(x), batch_size=2)
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(batches, 2))
    assert not np.array_equal(batches[0][0], batches[0][1])


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_frequency_of_ones_is_the_grey_value(levels):
    count = 2**19
    greys = np.array([0, 1, levels // 2, levels - 1], np.uint8)
    split = data.Split(np.repeat(greys, count // 4).reshape(4, 1, -1, 1))
    drawn = {
        "training": np.sort(take(1, split, levels=levels)[0].mean((1, 2, 3))),
        "fixed": pipeline.fixed_images(split, levels, seed=3, binarize="dynamic").mean((1, 2, 3)),
    }
    p = np.sort(greys / (levels - 1))
    for frequency in drawn.values():
        np.testing.assert_array_less(np.abs(frequency - p), 5 * np.sqrt(p * (1 - p) / (count // 4)) + 2**-16)
        assert frequency[0] == 0
        assert frequency[-1] == 1, "white stays white"


def test_the_threshold_is_the_grey_value_to_within_2_to_the_minus_16():
    bits = np.arange(2**16, dtype=np.uint16)
    for u in range(LEVELS):
        p = pipeline.as_float(np.array([u], np.uint8), LEVELS)
        both = pipeline._bernoulli(p, bits), pipeline._bernoulli(tf.constant(p), tf.constant(bits)).numpy()
        assert all(abs(x.mean(dtype=np.float64) - u / (LEVELS - 1)) <= 2**-16 for x in both)


def test_pixels_are_binarized_independently():
    x = np.full((2, 1, 64, 1), 128, np.uint8)
    drawn = np.concatenate(take(2000, data.Split(x), batch_size=2)).reshape(-1, 64)
    correlation = np.corrcoef(drawn.T)[~np.eye(64, dtype=bool)]
    assert np.abs(correlation).max() < 6 / np.sqrt(len(drawn))


def test_images_of_real_values_are_binarized_too():
    x = np.full((4, 64, 64, 1), 0.25, np.float32)
    (batch,) = take(1, data.Split(x), levels=None)
    assert set(np.unique(batch)) == {0, 1}
    assert batch.mean() == pytest.approx(0.25, abs=0.02)


def test_fixed_images_are_equal_at_every_call_and_differ_between_seeds(split):
    first, again, other = (pipeline.fixed_images(split, LEVELS, seed=seed, binarize="dynamic") for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(pipeline.fixed_images(split, LEVELS, seed=1, binarize="none"), split.x / np.float32(255))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_as_float_is_the_same_for_arrays_and_tensors_and_spans_0_to_1(levels):
    u = np.arange(levels, dtype=np.uint8)
    x = pipeline.as_float(u, levels)
    np.testing.assert_array_equal(pipeline.as_float(tf.constant(u), levels), x)
    assert x.dtype == np.float32
    assert (x[0], x[-1]) == (0, 1)
    np.testing.assert_array_equal(np.rint(x * (levels - 1)), u)


def test_batches_feed_fit_with_many_steps_per_execution(split):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(loss=lambda y, output: tf.reduce_mean(output), steps_per_execution=6)
    batches = pipeline.training_batches(split, LEVELS, batch_size=4, seed=0, binarize="dynamic")
    assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
    assert batches.element_spec == tf.TensorSpec([4, 3, 3, 1], tf.float32)
    history = model.fit(batches.map(lambda x: (x, x)), steps_per_epoch=12, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_larger_than_the_training_set_is_refused(split, batch_size):
    with pytest.raises(ConfigError, match=rf"`training.batch_size` must be in 1\.\.10.*got {batch_size}"):
        pipeline.training_batches(split, LEVELS, batch_size=batch_size, seed=0, binarize="none")


def test_held_out_images_are_disjoint_and_chosen_by_the_seed(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(100, dtype=np.uint8).reshape(100, 1, 1), y=np.arange(100))
    config = DataConfig(f"npz:{tmp_path}/a.npz", validation=0.25, test=0.2)
    images, again, other = (data.load(config, seed) for seed in (0, 0, 1))
    assert [len(s) for s in (images.train, images.validation, images.test)] == [60, 20, 20]
    values = np.concatenate([s.x.ravel() for s in (images.train, images.validation, images.test)])
    np.testing.assert_array_equal(np.sort(values), np.arange(100))
    for s in (images.train, images.validation, images.test):
        np.testing.assert_array_equal(s.y, s.x.ravel())
    assert images.fingerprint() == again.fingerprint() != other.fingerprint()
    np.testing.assert_array_equal(images.test.x, other.test.x)  # or runs of several seeds could not be compared


def test_the_fingerprint_notices_one_changed_pixel_and_a_changed_shape(split):
    def images(x):
        return data.Images(data.Split(x), split, split, LEVELS, None, "digits")

    changed = split.x.copy()
    changed[5, 1, 1, 0] ^= 1
    prints = [images(x).fingerprint() for x in (split.x, changed, split.x.reshape(10, 1, 9, 1))]
    assert len(set(prints)) == 3


def test_the_fingerprint_notices_a_changed_label_only_where_labels_count(split):
    changed = split.y.copy()
    changed[3] = 9
    first, second, none = (data.Images(data.Split(split.x, y), split, split, LEVELS, None, "digits") for y in (split.y, changed, None))
    assert first.fingerprint() == second.fingerprint() == none.fingerprint()
    assert len({images.fingerprint(labels=True) for images in (first, second, none)}) == 3


@pytest.mark.parametrize("y", [np.arange(10), np.random.default_rng(1).random((10, 2), np.float32)], ids=["classes", "vectors"])
def test_labels_stay_with_their_images(split, y):
    batches = pipeline.training_batches(data.Split(split.x, y), LEVELS, batch_size=4, seed=0, binarize="none", labels=True)
    seen = 0
    for x, label in batches.take(5):
        for image, one in zip(x.numpy(), label.numpy()):
            (position,) = np.flatnonzero((split.x == np.rint(image * 255)).all((1, 2, 3)))
            np.testing.assert_array_equal(one, y[position])
            seen += 1
    assert seen == 20


CORRUPTIONS = [("mask", 0.25), ("salt-and-pepper", 0.25), ("normal", 0.1)]


def corrupted(count, split, kind, level, **changes):
    settings = {"levels": LEVELS, "batch_size": 4, "seed": 7, "binarize": "dynamic", "corrupt": kind, "corruption": level} | changes
    return [(seen.numpy(), x.numpy()) for ((seen, x),) in pipeline.training_batches(split, settings.pop("levels"), **settings).take(count)]


@pytest.mark.parametrize(("kind", "level"), CORRUPTIONS)
def test_corruption_is_a_function_of_seed_epoch_and_step_and_the_target_is_clean(split, kind, level):
    whole = corrupted(6, split, kind, level)
    for resumed, uninterrupted in zip(corrupted(4, split, kind, level, first_epoch=1), whole[2:]):
        np.testing.assert_array_equal(resumed, uninterrupted)
    np.testing.assert_array_equal([x for _, x in whole], take(6, split), "the target is what a model without corruption is given")
    noises = [
        seen - x for seen, x in corrupted(6, data.Split(np.full((4, 8, 8, 1), 100, np.uint8)), kind, level, binarize="none", batch_size=2)
    ]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(noises, 2))
    assert not np.array_equal(noises[0][0], noises[0][1])


@pytest.mark.parametrize(("kind", "level"), CORRUPTIONS)
def test_the_level_is_the_share_of_pixels_or_the_standard_deviation(kind, level):
    split = data.Split(np.full((2, 200, 200, 3), 100, np.uint8))
    ((seen, x),) = corrupted(1, split, kind, level, binarize="none", batch_size=2)
    noise = seen - x
    if kind == "normal":
        assert noise.std() == pytest.approx(level, rel=0.01)
        assert abs(noise.mean()) < 0.002
        return
    assert (noise != 0).mean() == pytest.approx(level, abs=0.01)
    assert (seen.min(-1) == seen.max(-1)).all(), "a pixel is corrupted with all its channels"
    new = seen[noise != 0]
    assert new.mean() == pytest.approx({"mask": 0, "salt-and-pepper": 0.5}[kind], abs=0.01)
    assert set(np.unique(new)) <= {0, 1}


def test_corrupted_batches_keep_their_labels(split):
    settings = {"batch_size": 4, "seed": 7, "binarize": "none"}
    plain = next(iter(pipeline.training_batches(split, LEVELS, labels=True, **settings)))
    (_, x), y = next(iter(pipeline.training_batches(split, LEVELS, labels=True, corrupt="mask", corruption=0.5, **settings)))
    np.testing.assert_array_equal(x, plain[0])
    np.testing.assert_array_equal(y, plain[1])


def test_the_model_sees_two_levels_after_binarization():
    images = data.load(DataConfig("digits"), 0)
    assert data.seen_levels(images, DataConfig("digits")) == 17
    assert data.seen_levels(images, DataConfig("digits", binarize="dynamic")) == 2
