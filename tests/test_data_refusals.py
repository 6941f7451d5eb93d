"""Data that cannot be trained on are refused by name, before training."""

import numpy as np
import pytest
from PIL import Image

from vae_tf import data
from vae_tf.config import DataConfig
from vae_tf.errors import ConfigError, DataError

GREY = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)


class Opaque:
    pass


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY}, r"one of the arrays `x` and `x_train`.*it holds images"),
        ({}, r"it holds none"),
        ({"x": GREY, "x_train": GREY}, r"it holds x, x_train"),
        ({"x": GREY[0]}, r"a.npz\[x\] must be \[N, H, W\] or \[N, H, W, C\].*shape is \(2, 2\)"),
        ({"x": GREY[:0]}, r"at least one image; its shape is \(0, 2, 2\)"),
        ({"x": GREY.reshape(5, 2, 2, 2)}, r"1 channel \(grey\) or 3 \(RGB\); .*a.npz\[x\] has 2"),
        ({"x": GREY.astype(np.int64)}, r"must be uint8 in 0..255 or float in \[0, 1\]; it is int64"),
        ({"x": np.array([[["a"]]])}, r"it is <U1"),
        ({"x": GREY * 1.0}, r"must lie in \[0, 1\] as it is float; it spans \[0, 39\], first in row 0, counted from 0"),
        ({"x": GREY / 39 - 0.5}, r"spans \[-0.5, 0.5\]"),
        ({"x": np.where(GREY == 38, 2, 0.5)}, r"spans \[0.5, 2\], first in row 9, counted from 0"),
        ({"x": np.where(GREY == 7, np.nan, 0.5)}, r"must be finite; it holds 1 NaN or infinite values, first in row 1, counted from 0"),
        ({"x": np.where(GREY < 2, np.inf, 0.5)}, r"holds 2 NaN or infinite"),
        ({"x": np.array([[[Opaque()]]])}, r"the array x in .*a.npz cannot be read .*without objects"),
        ({"x": GREY, "y": np.arange(9)}, r"a.npz\[y\] must be 10 integers or vectors.*shape \(9,\)"),
        ({"x": GREY, "y": np.linspace(0, 1, 10)}, r"10 integers.*float64"),
        ({"x": GREY, "y": np.zeros((9, 2))}, r"10 integers or vectors of numbers, .*shape \(9, 2\)"),
        ({"x": GREY, "y": np.zeros((10, 0))}, r"10 integers or vectors of numbers, .*shape \(10, 0\)"),
        ({"x": GREY, "y": np.full((10, 2), "a")}, r"10 integers or vectors of numbers, .*<U1"),
        ({"x": GREY, "y": np.full((10, 2), np.nan)}, r"a.npz\[y\] must be finite; it holds 20 NaN"),
        (
            {"x_train": GREY, "y_train": np.arange(10), "x_test": GREY, "y_test": np.zeros((10, 2))},
            r"all classes, or all vectors of one length",
        ),
        ({"x_train": GREY, "x_test": GREY / 255}, r"all uint8 or all float"),
        ({"x_train": GREY, "x_test": GREY.reshape(5, 2, 4)}, r"one image shape.*`data.image_size`"),
        ({"x": GREY[:2]}, r"leaves no image to train on"),
    ],
)
def test_arrays_that_break_a_rule_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        data.load(DataConfig(f"npz:{tmp_path}/a.npz"), 0)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "whole.npz", x=GREY)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    for name in ("a.npy", "empty.npz", "cut.npz"):
        with pytest.raises(DataError, match=f"{name} is no NumPy archive"):
            data.load(DataConfig(f"npz:{tmp_path}/{name}"), 0)
    with pytest.raises(DataError, match=r"there is no file .*none.npz"):
        data.load(DataConfig(f"npz:{tmp_path}/none.npz"), 0)


def test_a_damaged_array_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (50, 4, 4), dtype=np.uint8))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[300:340] = bytes(40)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"the array x in .*a.npz cannot be read"):
        data.load(DataConfig(f"npz:{tmp_path}/a.npz"), 0)


@pytest.mark.parametrize("source", ["", "mnist", "digits:8", "tfds:", "folder:", "npz", "csv:a.csv", "DIGITS"])
def test_an_unknown_kind_of_source_is_refused(source):
    with pytest.raises(ConfigError, match=rf"`data.source` must be 'digits', 'tfds:NAME', 'folder:PATH' or 'npz:PATH'; got '{source}'"):
        data.load(DataConfig(source), 0)


def test_binary_images_are_not_binarized_again(tmp_path):
    np.savez(tmp_path / "a.npz", x=GREY % 2)
    with pytest.raises(ConfigError, match=r"`data.binarize` must be 'none' for npz:.*0 and 1 only; got 'dynamic'"):
        data.load(DataConfig(f"npz:{tmp_path}/a.npz", binarize="dynamic"), 0)


@pytest.fixture
def folder(tmp_path):
    """Ten readable grey images."""
    for i in range(10):
        Image.new("L", (4, 4), i).save(tmp_path / f"{i}.png")
    return tmp_path


def refused(folder, message, **settings):
    with pytest.raises(DataError, match=message):
        data.load(DataConfig(f"folder:{folder}", **settings), 0)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    refused(tmp_path, r"no images below .*Files must end in .png, .jpg")
    refused(tmp_path / "none", r"there is no folder .*none")


def test_images_of_different_sizes_are_refused_by_name(folder):
    Image.new("L", (5, 3)).save(folder / "odd.png")
    refused(folder, r"0.png is 4x4x1, .*odd.png is 3x5x1. Set `data.image_size`")


def test_grey_and_colour_images_together_are_refused_by_name(folder):
    Image.new("RGB", (4, 4)).save(folder / "red.png")
    refused(folder, r"0.png is 4x4x1, .*red.png is 4x4x3. Set `data.channels`")


def test_images_of_16_bits_are_refused_by_name(folder):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "deep.png")
    refused(folder, r"8 bits per channel; .*deep.png has Pillow mode 'I;16'")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp"])
@pytest.mark.parametrize("kept", [0, 0.2, 0.6])
def test_a_truncated_image_file_is_refused_by_name(folder, suffix, kept):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"cut.{suffix}")
    content = (folder / f"cut.{suffix}").read_bytes()
    (folder / f"cut.{suffix}").write_bytes(content[: int(kept * len(content))])
    refused(folder, rf"cut.{suffix} cannot be read as an image", image_size=4, channels=1)


def test_a_text_file_named_like_an_image_is_refused_by_name(folder):
    (folder / "text.jpg").write_text("not an image")
    refused(folder, r"text.jpg cannot be read as an image .*Repair or remove it")


def test_images_beside_the_splits_are_refused_by_name(folder):
    (folder / "train").mkdir()
    (folder / "0.png").rename(folder / "train" / "0.png")
    refused(folder, r"all images must lie in train, validation or test; .*1.png does not")


def test_a_test_folder_without_training_images_is_refused(folder):
    (folder / "test").mkdir()
    refused(folder, r"train must hold images; it has none")


def test_a_set_that_is_not_prepared_is_refused_with_the_remedy_and_without_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("the network was asked"))
    with pytest.raises(DataError, match=rf"'mnist' is not prepared in {tmp_path}\. .*--data-dir.*download_and_prepare\(\)"):
        data.load(DataConfig("tfds:mnist"), 0, str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnsit", r"knows no set 'mnsit'. Did you mean 'tfds:mnist'\?"),
        ("zzzzzz", r"knows no set 'zzzzzz'. All are listed at https"),
        ("mnist:9.9.9", r"refuses 'mnist:9.9.9': .*cannot be loaded at version 9.9.9"),
        ("mnist/none", r"refuses 'mnist/none': .*BuilderConfig none not found"),
        ("a b", r"refuses 'a b': Parsing builder name string"),
    ],
)
def test_a_set_that_does_not_exist_is_refused(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        data.load(DataConfig(f"tfds:{name}"), 0, str(tmp_path))


def stored(folder, features, splits):
    """Write a set for TensorFlow Datasets and return its configuration."""
    import tensorflow_datasets as tfds

    examples = {split: list(enumerate(rows)) for split, rows in splits.items()}
    tfds.dataset_builders.store_as_tfds_dataset("tiny", "1.0.0", tfds.features.FeaturesDict(features), examples, data_dir=folder)
    return DataConfig("tfds:tiny")


def test_a_set_without_images_is_refused(tmp_path):
    config = stored(tmp_path, {"text": np.int64}, {"train": [{"text": 1}]})
    with pytest.raises(DataError, match=r"'tiny' must have a feature `image` of 8-bit images; it has text"):
        data.load(config, 0, str(tmp_path))


def test_a_set_without_training_images_is_refused(tmp_path):
    import tensorflow_datasets as tfds

    config = stored(tmp_path, {"image": tfds.features.Image(shape=(2, 2, 1))}, {"test": [{"image": GREY[0][..., None]}]})
    with pytest.raises(DataError, match=r"'tiny' must have a split `train`; it has test"):
        data.load(config, 0, str(tmp_path))


def records(path):
    """The offset of each record of a TFRecord file: eight bytes of length, four of checksum, the record, four of checksum."""
    content, offsets = path.read_bytes(), [0]
    while offsets[-1] < len(content):
        offsets.append(offsets[-1] + 16 + int.from_bytes(content[offsets[-1] :][:8], "little"))
    return offsets


def rewritten(path, change):
    """Write records anew, whole as records, changed as `change(number, record)` has it, without those for which it is None."""
    import tensorflow as tf

    found = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as file:
        for number, record in enumerate(found, 1):
            if (record := change(number, record)) is not None:
                file.write(record)


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), r"record 10 of 10 in tiny-train.tfrecord-\S+: truncated record at \d+"),
        (lambda path: flipped(path, records(path)[6] + 40), r"record 7 of 10 in tiny-train.tfrecord-\S+: corrupted record at \d+"),
        (lambda path: flipped(path, records(path)[6] + 2), r"record 7 of 10 in tiny-train.tfrecord-\S+: corrupted record at \d+"),
        (
            lambda path: path.write_bytes(path.read_bytes()[: records(path)[4]]),
            r"tiny-train.tfrecord-\S+ holds 4 records, and should hold 10",
        ),
        (lambda path: rewritten(path, lambda n, record: None if n == 3 else record), r"\S+ holds 9 records, and should hold 10"),
        (lambda path: rewritten(path, lambda n, record: b"x" if n == 3 else record), r"record 3 of 10 in \S+: Could not parse example"),
        (
            lambda path: rewritten(path, lambda n, record: record.replace(b"PNG", b"GNP") if n == 3 else record),
            r"record 3 of 10 in \S+: Unknown image file format",
        ),
        (lambda path: path.write_bytes(b""), r"tiny-train.tfrecord-\S+ holds 0 records, and should hold 10"),
        (lambda path: path.unlink(), r"the file tiny-train.tfrecord-\S+ is missing"),
    ],
)
def test_a_damaged_set_is_refused_and_the_first_damage_is_named(tmp_path, damage, message):
    import tensorflow_datasets as tfds

    config = stored(tmp_path, {"image": tfds.features.Image(shape=(2, 2, 1))}, {"train": [{"image": x[..., None]} for x in GREY]})
    (record,) = tmp_path.glob("tiny/*/*.tfrecord*")
    damage(record)
    with pytest.raises(DataError, match=rf"'tiny' in .* cannot be read \({message}.*\). Prepare it again") as caught:
        data.load(config, 0, str(tmp_path))
    assert "{{" not in str(caught.value)
    assert "Iterator" not in str(caught.value)
