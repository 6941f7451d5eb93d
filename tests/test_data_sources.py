"""What each source yields."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_tf import data
from vae_tf.config import DataConfig


@pytest.fixture(scope="module")
def real_data():
    if "VAE_TF_TEST_DATA" not in os.environ:
        pytest.skip("VAE_TF_TEST_DATA does not name a folder of real data sets")
    return Path(os.environ["VAE_TF_TEST_DATA"])


def paint(path, value, size=(4, 4), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def splits(images):
    return images.train, images.validation, images.test


def test_digits_have_17_levels_and_their_labels():
    images = data.load(DataConfig("digits"), 0)
    assert images.image_shape == (8, 8, 1)
    assert images.levels == 17
    assert images.label_names == tuple("0123456789")
    assert sum(map(len, splits(images))) == 1797
    assert images.train.x.dtype == np.uint8
    assert max(s.x.max() for s in splits(images)) == 16
    assert min(np.bincount(np.concatenate([s.y for s in splits(images)]))) == 174


@pytest.mark.parametrize("size", [5, 8, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_resized_digits_keep_their_levels_and_their_mean(size, channels):
    plain = data.load(DataConfig("digits"), 0)
    images = data.load(DataConfig("digits", image_size=size, channels=channels), 0)
    assert images.image_shape == (size, size, channels)
    assert images.levels == 17
    assert images.train.x.max() <= 16
    assert images.train.x.mean() == pytest.approx(plain.train.x.mean(), rel=0.03)


def test_mnist_has_its_own_test_split(real_data):
    images = data.load(DataConfig("tfds:mnist"), 0, str(real_data / "tensorflow_datasets"))
    assert [len(s) for s in splits(images)] == [54_000, 6_000, 10_000]
    assert (images.image_shape, images.levels) == ((28, 28, 1), 256)
    assert np.concatenate([images.train.x, images.validation.x]).mean() / 255 == pytest.approx(0.13066, abs=1e-5)
    assert images.test.x[0].max() == 255
    assert np.bincount(images.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_binarized_mnist_has_two_levels_and_three_splits(real_data):
    images = data.load(DataConfig("tfds:binarized_mnist:1.0.0"), 0, str(real_data / "tensorflow_datasets"))
    assert [len(s) for s in splits(images)] == [50_000, 10_000, 10_000]
    assert images.levels == 2
    assert images.train.y is None
    assert [s.x.mean() for s in splits(images)] == pytest.approx([0.13056, 0.13113, 0.13251], abs=1e-5)


def test_a_real_folder_of_colour_images(real_data):
    images = data.load(DataConfig(f"folder:{real_data}/cifar10_folder"), 0)
    assert [len(s) for s in splits(images)] == [2700, 300, 600]
    assert images.image_shape == (32, 32, 3)
    assert images.label_names[:2] == ("airplane", "automobile")
    first = np.asarray(Image.open(sorted((real_data / "cifar10_folder" / "test" / "bird").iterdir())[0]))
    np.testing.assert_array_equal(images.test.x[images.test.y == 2][0], first)


def test_a_set_of_tfds_with_images_of_several_sizes_is_resized(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    rng = np.random.default_rng(0)

    def examples(count):
        return [(i, {"image": rng.integers(0, 256, (3 + i, 5, 3), dtype=np.uint8), "label": i % 2}) for i in range(count)]

    features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["cat", "dog"])})
    tfds.dataset_builders.store_as_tfds_dataset(
        "mixed", "1.0.0", features, {"train": examples(6), "test": examples(2)}, data_dir=tmp_path, disable_shuffling=True
    )
    images = data.load(DataConfig("tfds:mixed", image_size=4, channels=1), 0, str(tmp_path))
    assert [len(s) for s in splits(images)] == [5, 1, 2]
    assert images.image_shape == (4, 4, 1)
    assert images.label_names == ("cat", "dog")
    assert images.test.y.tolist() == [0, 1]
    with pytest.raises(data.DataError, match=r"train image 0 is 3x5x3, train image 1 is 4x5x3. Set `data.image_size`"):
        data.load(DataConfig("tfds:mixed"), 0, str(tmp_path))


def test_a_folder_without_splits_is_held_out_by_shares(tmp_path):
    for i in range(10):
        paint(tmp_path / f"{i}.png", i)
    images = data.load(DataConfig(f"folder:{tmp_path}", validation=0.2, test=0.2), 0)
    assert [len(s) for s in splits(images)] == [6, 2, 2]
    assert images.label_names is None
    assert images.train.y is None
    assert sorted(x[0, 0, 0] for s in splits(images) for x in s.x) == list(range(10))


def test_sub_folders_are_splits_and_classes(tmp_path):
    for value, name in enumerate(
        ["train/b/1.png", "train/a/2.PNG", "train/a/3.bmp", "train/c/d/4.png", "validation/b/1.png", "test/a/1.png"]
    ):
        paint(tmp_path / name, value)
    paint(tmp_path / "train" / ".hidden.png", 9)
    images = data.load(DataConfig(f"folder:{tmp_path}"), 0)
    assert images.label_names == ("a", "b", "c/d")
    assert [s.y.tolist() for s in splits(images)] == [[0, 0, 1, 2], [1], [0]]
    assert [s.x[:, 0, 0, 0].tolist() for s in splits(images)] == [[1, 2, 0, 3], [4], [5]]


def test_folder_images_are_resized_and_converted(tmp_path):
    for i in range(3):
        paint(tmp_path / f"{i}.png", (255, 0, 0), (6 + i, 9), "RGB")
        paint(tmp_path / f"{i}.webp", 200, (4, 4))
        paint(tmp_path / f"{i}.gif", 100, (4, 2))
    images = data.load(DataConfig(f"folder:{tmp_path}", image_size=5, channels=1), 0)
    assert images.image_shape == (5, 5, 1)
    assert set(np.concatenate([s.x for s in splits(images)]).ravel()) == {76, 200, 100}, "luma of red is 0.299 * 255"


def test_the_orientation_noted_by_a_camera_is_applied(tmp_path):
    image = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    for i in range(3):
        image.save(tmp_path / f"{i}.png", exif=exif)
    assert data.load(DataConfig(f"folder:{tmp_path}"), 0).train.x[0, :, :, 0].tolist() == [[0], [255]]


@pytest.mark.parametrize(
    ("x", "levels", "shape"),
    [
        (np.arange(48, dtype=np.uint8).reshape(12, 2, 2), 256, (2, 2, 1)),
        (np.arange(144, dtype=np.uint8).reshape(12, 2, 2, 3), 256, (2, 2, 3)),
        (np.tile([0, 1], 24).reshape(12, 2, 2).astype(np.uint8), 2, (2, 2, 1)),
        (np.tile([0.0, 1.0], 24).reshape(12, 2, 2, 1), 2, (2, 2, 1)),
        (np.linspace(0, 1, 48).reshape(12, 2, 2), None, (2, 2, 1)),
    ],
)
def test_arrays_have_the_levels_of_their_values(tmp_path, x, levels, shape):
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(12))
    images = data.load(DataConfig(f"npz:{tmp_path}/a.npz"), 0)
    assert (images.levels, images.image_shape) == (levels, shape)
    assert images.train.x.dtype == (np.float32 if levels is None else np.uint8)
    np.testing.assert_allclose(images.train.x, x.reshape(12, *shape)[images.train.y], rtol=1e-6)


def test_arrays_may_come_in_splits(tmp_path):
    arrays = {f"x_{name}": np.full((count, 2, 2), 9, np.uint8) for name, count in [("train", 5), ("validation", 3), ("test", 2)]}
    np.savez(tmp_path / "a.npz", y_test=np.array([4, 5], np.uint8), **arrays)
    images = data.load(DataConfig(f"npz:{tmp_path}/a.npz", image_size=3), 0)
    assert [s.x.shape for s in splits(images)] == [(5, 3, 3, 1), (3, 3, 3, 1), (2, 3, 3, 1)]
    assert images.train.y is None
    assert images.test.y.tolist() == [4, 5]
    assert (images.train.x == 9).all()


def test_labels_may_be_vectors(tmp_path):
    y = np.arange(24).reshape(12, 2)
    np.savez(tmp_path / "a.npz", x=np.arange(12, dtype=np.uint8).reshape(12, 1, 1), y=y)
    images = data.load(DataConfig(f"npz:{tmp_path}/a.npz"), 0)
    assert images.label_size == 2
    assert images.train.y.dtype == np.float32
    for split in splits(images):
        np.testing.assert_array_equal(split.y, y[split.x.ravel()])


def test_resizing_real_values_stays_in_0_to_1(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((20, 7, 5, 3)).round())
    images = data.load(DataConfig(f"npz:{tmp_path}/a.npz", image_size=6, channels=1), 0)
    assert images.levels is None
    assert 0 <= images.train.x.min() < images.train.x.max() <= 1
