"""Images that are read from disk while a training goes on: the same numbers, and nothing of them in memory."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trainings import At, config, rows, same_weights, stop, train_with, truncate

from vae_tf import converted, data, pipeline, stores
from vae_tf import rows as rows_
from vae_tf.config import Config, DataConfig
from vae_tf.errors import DataError
from vae_tf.evaluation import features
from vae_tf.rows import Mapped, Rows, chunks, joined
from vae_tf.train import train

GREYS = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """An empty cache; and chunks of eight images or so, so that there are several."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VAE_TF_CACHE", str(folder))
    monkeypatch.setattr(rows_, "_CHUNK_BYTES", 128)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Forty images in two classes."""
    for number, x in enumerate(GREYS):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[..., 0]).save(path)
    return tmp_path / "images"


def on_disk(x, path):
    np.save(path / f"{len(list(path.iterdir()))}.npy", x)
    return Rows([Mapped.open(path / f"{len(list(path.iterdir())) - 1}.npy")])


def splits(images):
    return {name: getattr(images, name) for name in ("train", "validation", "test")}


def both(source, data_dir=None, **settings):
    """A data set in memory, and on disk."""
    return [data.load(DataConfig(source, in_memory=in_memory, **settings), 3, data_dir) for in_memory in (True, False)]


def assert_same(first, second):
    assert (first.in_memory, second.in_memory) == (True, False)
    assert first.fingerprint(labels=True) == second.fingerprint(labels=True)
    assert first.digests == second.digests
    assert (first.levels, first.label_names, first.image_shape) == (second.levels, second.label_names, second.image_shape)
    for one, other in zip(splits(first).values(), splits(second).values()):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)


@pytest.mark.parametrize("settings", [{}, {"image_size": 3, "channels": 3}])
def test_a_folder_from_disk_is_what_it_is_in_memory(folder, settings):
    assert_same(*both(f"folder:{folder}", **settings))


@pytest.mark.parametrize("x", [GREYS, GREYS % 2, GREYS / 255, (GREYS % 2) * 1.0], ids=["grey", "binary", "real", "binary-real"])
def test_an_archive_from_disk_is_what_it_is_in_memory(tmp_path, x):
    np.savez(
        tmp_path / "a.npz", x_train=x, y_train=np.random.default_rng(1).random((40, 2)), x_validation=x[:8], y_validation=np.ones((8, 2))
    )
    assert_same(*both(f"npz:{tmp_path}/a.npz"))


def test_a_set_of_tfds_from_disk_is_what_it_is_in_memory(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    examples = {name: [(i, {"image": x, "label": i % 2}) for i, x in enumerate(GREYS[:n])] for name, n in (("train", 40), ("test", 9))}
    kinds = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(names=["even", "odd"])}
    )
    tfds.dataset_builders.store_as_tfds_dataset("tiny", "1.0.0", kinds, examples, data_dir=tmp_path)
    assert_same(*both("tfds:tiny", str(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["tfds:mnist", "folder:{}/cifar10_folder"])
def test_a_real_set_from_disk_is_what_it_is_in_memory(real_data, monkeypatch, source):
    monkeypatch.setattr(rows_, "_CHUNK_BYTES", 2**20)
    assert_same(*both(source.format(real_data), str(real_data / "tensorflow_datasets")))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"binarize": "none"},
        {"labels": True, "corrupt": "mask", "corruption": 0.3},
        {"first_epoch": 2, "first_step": 3},
        {"share": (1, 2), "pieces": 2, "first_step": 1},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_batches_from_disk_are_those_from_memory(tmp_path, changes):
    settings = {"batch_size": 8, "seed": 7, "binarize": "dynamic"} | changes
    memory_, disk = (
        pipeline.training_batches(data.Split(x, np.arange(40)), 256, **settings) for x in (GREYS.copy(), on_disk(GREYS, tmp_path))
    )
    assert memory_.element_spec == disk.element_spec
    found = list(zip(memory_.take(12), disk.take(12)))
    assert len(found) == 12
    for one, other in found:
        for a, b in zip(leaves(one), leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


def leaves(batch):
    return [leaf for part in batch for leaf in leaves(part)] if isinstance(batch, tuple) else [batch.numpy()]


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(("parts", "pieces"), [(1, 1), (2, 1), (2, 3)])
def test_several_who_share_the_validation_see_each_image_once(labels, parts, pieces):
    x, y = np.arange(1, 24, dtype=np.float32).reshape(23, 1, 1, 1), np.arange(1, 24) if labels else None
    seen = []
    for part in range(parts):
        for batch in pipeline.validation_batches(x, y, 10, (part, parts), pieces):
            batch = leaves(batch)
            if parts * pieces > 1:
                *batch, weight = batch
                batch = [column[weight > 0] for column in batch]
            assert all((column.ravel() == batch[0].ravel()).all() for column in batch)
            seen += batch[0].ravel().tolist()
    assert sorted(seen) == x.ravel().tolist()


def test_fixed_images_do_not_depend_on_how_they_are_read(tmp_path):
    x = GREYS[:39, :3, :3]
    whole = np.random.default_rng([5, 3]).integers(2**16, size=x.shape, dtype=np.uint16) < x / np.float32(255) * np.float32(2**16)
    for split in (data.Split(x), data.Split(on_disk(x, tmp_path))):
        assert len(list(chunks(split.x))) > 2
        found = pipeline.fixed_images(split, 256, seed=5, binarize="dynamic")
        np.testing.assert_array_equal(found, whole)
        assert found.dtype == np.float32
        some = np.array([38, 3, 20, 3])
        np.testing.assert_array_equal(pipeline.fixed_images(split, 256, seed=5, binarize="dynamic", rows=some), whole[some])


def test_rows_are_read_when_they_are_asked_for(tmp_path):
    first, second = on_disk(GREYS[:25], tmp_path), on_disk(GREYS[25:], tmp_path)
    both_ = joined([first, second])
    order = np.random.default_rng(0).permutation(40)
    assert isinstance(both_[order], Rows)
    assert both_[order].shape == GREYS.shape
    for chosen in (order, np.arange(5, 30), np.array([3]), np.array([], int), slice(20, 30)):
        np.testing.assert_array_equal(both_[chosen], GREYS[chosen])
        np.testing.assert_array_equal(first[order[order < 25]][:7], GREYS[:25][order[order < 25]][:7])


def of(folder, in_memory, epochs=3, **training):
    values = config(epochs, batch_size=8, **training).to_dict()
    return Config.from_dict(values | {"data": values["data"] | {"source": f"folder:{folder}", "in_memory": in_memory, "test": 0.2}})


@pytest.fixture
def from_memory(folder, tmp_path):
    return train(of(folder, True), tmp_path / "memory", verbose=0)


def test_a_run_from_disk_is_that_from_memory_bit_for_bit(folder, tmp_path, from_memory, capsys):
    disk = train(of(folder, False), tmp_path / "disk", verbose=2)
    assert "validation images of 4 x 4 read from disk, " in capsys.readouterr().out
    assert rows(disk.folder) == rows(from_memory.folder)
    assert same_weights(disk, from_memory)
    assert disk.data == from_memory.data


@pytest.mark.parametrize(("first", "then"), [(False, False), (False, True), (True, False)])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_from_disk_or_memory(folder, tmp_path, from_memory, first, then):
    with pytest.raises(ValueError, match="stopped by the user"):
        train_with([At(6, stop)], of(folder, first), tmp_path / "run", checkpoint_steps=1)
    resumed = train(of(folder, then), tmp_path / "run", resume=True, verbose=0)
    assert rows(resumed.folder) == rows(from_memory.folder)
    assert same_weights(resumed, from_memory)


def test_a_classifier_from_disk_is_that_from_memory(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_STEPS", 3)
    monkeypatch.setattr(features, "LEAST", 4)
    found = [features.classifier(images, "dynamic", cache=tmp_path / str(images.in_memory)) for images in both(f"folder:{folder}")]
    assert str(found[0]) == str(found[1])
    assert len(found[0].weights) > 8


@pytest.fixture
def read(monkeypatch):
    """How often a source was read."""
    calls = []
    original = data.read_folder
    monkeypatch.setattr(data, "read_folder", lambda *args: calls.append(1) or original(*args))
    return calls


def load(folder, **settings):
    return data.load(DataConfig(f"folder:{folder}", in_memory=False, **settings), 0)


def test_a_set_is_converted_once(folder, read, monkeypatch):
    first, again = load(folder), load(folder)
    assert first.fingerprint() == again.fingerprint()
    monkeypatch.chdir(folder.parent)
    load("images")
    assert len(read) == 1


def rewrite(folder):
    Image.fromarray(255 - GREYS[0, ..., 0]).save(folder / "a" / "00.png")


def touch(folder):
    """The same size and another content, a moment later."""
    path = folder / "a" / "00.png"
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def more(folder):
    Image.fromarray(GREYS[1, ..., 0]).save(folder / "a" / "99.png")


def fewer(folder):
    (folder / "a" / "00.png").unlink()


def moved(folder):
    (folder / "a" / "00.png").rename(folder / "b" / "00.png")


@pytest.mark.parametrize("change", [rewrite, touch, more, fewer, moved])
def test_a_source_that_changed_is_converted_anew(folder, read, cache, change):
    load(folder)
    change(folder)
    assert_same(*both(f"folder:{folder}"))
    assert len(read) == 3, "one of them in memory"
    assert len([path for path in (cache / "images").iterdir() if path.is_dir()]) == 1, "what is stale goes"


def test_other_settings_are_kept_beside(folder, read):
    for _ in range(2):
        for settings in ({}, {"image_size": 2}, {"channels": 3}):
            assert load(folder, **settings).image_shape == (*[settings.get("image_size", 4)] * 2, settings.get("channels", 1))
    assert len(read) == 3


def flip(path, place):
    """Change a byte, in place."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


DAMAGES = [truncate, lambda path: path.write_text(""), Path.unlink, lambda path: flip(path, 10), lambda path: flip(path, -1)]


@pytest.mark.parametrize("name", ["train-images.npy", "train-labels.npy", "about.json"])
@pytest.mark.parametrize("damage", DAMAGES, ids=["truncated", "empty", "gone", "header", "content"])
def test_damaged_files_in_the_cache_are_made_anew(folder, cache, read, name, damage):
    before = load(folder)
    fingerprint = before.fingerprint(labels=True)
    del before
    (path,) = cache.glob(f"images/*/{name}")
    damage(path)
    assert load(folder).fingerprint(labels=True) == fingerprint
    assert len(read) == 2


@pytest.mark.parametrize("in_memory", [True, False])
def test_names_that_are_not_utf8_are_read(folder, in_memory):
    (folder / "a").rename(folder / os.fsdecode(b"\xffa"))
    images = data.load(DataConfig(f"folder:{folder}", in_memory=in_memory), 0)
    assert images.label_names == ("b", "\\xffa")


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_archive_that_is_not_there_is_said(tmp_path, in_memory):
    with pytest.raises(DataError, match=f"`data.source`: there is no file {tmp_path}/nope.npz"):
        data.load(DataConfig(f"npz:{tmp_path}/nope.npz", in_memory=in_memory), 0)


def left(cache):
    return [path for path in cache.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


def test_a_corrupt_image_is_named_and_nothing_is_left(folder, cache):
    path = folder / "b" / "31.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"b/31.png cannot be read as an image"):
        load(folder)
    assert not left(cache)


def test_a_corrupt_record_is_named_and_nothing_is_left(tmp_path, cache):
    tfds = pytest.importorskip("tensorflow_datasets")
    kinds = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(4, 4, 1))})
    examples = {"train": [(i, {"image": x}) for i, x in enumerate(GREYS)]}
    tfds.dataset_builders.store_as_tfds_dataset("tiny", "1.0.0", kinds, examples, data_dir=tmp_path)
    (path,) = tmp_path.glob("tiny/*/*.tfrecord*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read \(record \d+ of 40 in tiny-train.tfrecord-\S+: corrupted record at"):
        data.load(DataConfig("tfds:tiny", in_memory=False), 0, str(tmp_path))
    assert not left(cache)


def no_room(monkeypatch):
    usage = stores.shutil.disk_usage
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda path: usage(path)._replace(free=100))


def full_while_writing(monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", fail)


@pytest.mark.parametrize(("fill", "said"), [(no_room, "0 MB are free"), (full_while_writing, "No space left on device")])
def test_a_full_disk_is_said_with_what_is_needed_and_nothing_is_left(folder, cache, monkeypatch, fill, said):
    fill(monkeypatch)
    message = rf"`data.in_memory`: .* need 0 MB in {cache} \({said}\). Make room, .*VAE_TF_CACHE, or set data.in_memory=true"
    with pytest.raises(DataError, match=message):
        load(folder)
    assert not left(cache)


def test_a_disk_that_fills_up_with_validation_images_is_said(folder, cache, monkeypatch):
    images = load(folder)
    no_room(monkeypatch)
    before = left(cache)
    with pytest.raises(DataError, match=r"`data.in_memory`: .* Make room"):
        pipeline.fixed_images(images.validation, images.levels, seed=0, binarize="none")
    assert left(cache) == before


def test_a_cache_that_can_not_be_made_is_refused(folder, cache, monkeypatch):
    (cache / "file").touch()
    monkeypatch.setenv("VAE_TF_CACHE", str(cache / "file"))
    with pytest.raises(DataError, match=r"`data.in_memory`: images can not be converted into files in .*Not a directory"):
        load(folder)


def test_of_two_who_want_the_same_at_once_one_converts(folder, monkeypatch, caplog):
    calls, begun, original = [], threading.Event(), data.read_folder

    def slow(*args):
        calls.append(1)
        begun.set()
        while not caplog.messages:  # until the other one waits
            threading.Event().wait(0.01)
        return original(*args)

    monkeypatch.setattr(data, "read_folder", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(load(folder))) for _ in range(2)]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert len({images.fingerprint() for images in found}) == 1
    assert len(found) == 2
    assert len(calls) == 1
    assert caplog.messages == ["another process converts the same images; waiting for it"]


def test_what_a_killed_process_left_is_no_obstacle(folder, cache, monkeypatch):
    monkeypatch.setattr(converted.os, "rename", lambda *args: stop())
    monkeypatch.setattr(converted.shutil, "rmtree", lambda *args, **kwargs: None)
    with pytest.raises(KeyboardInterrupt):
        load(folder)
    assert left(cache)
    monkeypatch.undo()
    monkeypatch.setenv("VAE_TF_CACHE", str(cache))
    assert_same(data.load(DataConfig(f"folder:{folder}", in_memory=True), 0), load(folder))
    assert not list((cache / "images").glob(".*[!k]"))


@pytest.mark.parametrize("copies", [2.9, 3.1])
def test_images_are_in_memory_where_three_times_their_bytes_are_free(folder, monkeypatch, copies):
    monkeypatch.setattr(data, "free_bytes", lambda: int(copies * GREYS.nbytes))
    assert data.load(DataConfig(f"folder:{folder}"), 0).in_memory == (copies > 3)
