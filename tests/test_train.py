"""Claims about runs: complete folders, which come back as they were, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from trainings import config, rows, same_weights, train, truncate

from vae_tf.errors import ConfigError, DataError, RunError
from vae_tf.evaluation import log_weights
from vae_tf.files import locked
from vae_tf.history import COLUMNS
from vae_tf.run import load
from vae_tf.schedule import LinearAnneal


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """An uninterrupted run."""
    return train(config(), tmp_path_factory.mktemp("runs") / "run", trackers=("tensorboard",))


def test_a_run_folder_is_complete(complete):
    names = {path.name for path in complete.folder.iterdir()}
    assert names == {".lock", "config.yaml", "data.json", "history.csv", "checkpoints", "tensorboard", "model.weights.h5"}
    history = rows(complete.folder)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert set(history[0]) == set(COLUMNS) - {"seconds", "rollbacks"}


def test_loading_a_run_gives_the_trained_model(complete):
    loaded = load(complete.folder)
    assert loaded.config == complete.config
    np.testing.assert_array_equal(loaded.vae.generate(4, seed=1), complete.vae.generate(4, seed=1))
    images, labels = complete.test_images()
    assert labels is None
    first, second = (run.vae.evaluate(images, verbose=0) for run in (loaded, complete))
    assert first == second


def test_the_same_configuration_gives_the_same_numbers(complete, tmp_path):
    again = train(config(), tmp_path / "run")
    assert rows(again.folder) == rows(complete.folder)
    assert same_weights(again, complete)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("x", "fingerprint is .*, and the first that changed is among the train images 300 to 303, counted from 0; restore them"),
        ("y", "fingerprint is .*, and the first that changed is among the train labels 300 to 303, counted from 0; restore them"),
    ],
)
def test_where_a_data_set_changed_is_said(tmp_path, change, message):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((400, 4, 4, 1)).astype(np.float32), "y": np.arange(400) % 2}
    sets = [f"data.source=npz:{tmp_path}/a.npz", "data.binarize=none", "model.likelihood=normal", "model.condition=classes"]
    np.savez(tmp_path / "a.npz", **arrays)
    run = train(config(epochs=2, batch_size=300).override(sets), tmp_path / "run")
    arrays[change][301] = 1 - arrays[change][301]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(RunError, match=message):
        run.images()


def test_the_learning_rate_is_constant_and_then_falls_to_zero():
    rate = LinearAnneal(0.5, steps=100, anneal=0.4)
    assert [float(rate(step)) for step in (0, 60, 80, 100, 101)] == pytest.approx([0.5, 0.5, 0.25, 0, 0])
    assert float(LinearAnneal(0.5, steps=100, anneal=0)(99)) == 0.5


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"training.batch_size": 5000}, ConfigError, "`training.batch_size` must be in 1..1455"),
        ({"model.likelihood": "gaussian"}, ConfigError, "`model.likelihood` 'gaussian' does not exist"),
        ({"data.source": "mnist"}, ConfigError, "`data.source` must be"),
        ({"data.binarize": "none"}, DataError, "only 0 and 1 for a Bernoulli .*data.binarize=dynamic"),
        ({"objective.warmup_epochs": 9}, ConfigError, "would end after 9 epochs"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_is_written(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        train(config().override([f"{key}={value}" for key, value in changes.items()]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_another_run_is_refused(complete, tmp_path):
    with pytest.raises(RunError, match="holds a run already; choose another for --run, or continue it with --resume"):
        train(config(), complete.folder)
    with pytest.raises(RunError, match=r"another configuration \(training.epochs is 3 there and 4 here\)"):
        train(config(epochs=4).override(["data.in_memory=true"]), complete.folder, resume=True)  # what may differ is not blamed
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(RunError, match="exists and is no run folder; .*nothing was changed"):
        train(config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.fixture
def copy(complete, tmp_path):
    """A copy of the complete run, to be damaged."""
    return shutil.copytree(complete.folder, tmp_path / "copy")


def spoil(folder):
    """A rectifier would make 0 of NaN, and the numbers of the model would look like numbers."""
    vae = load(folder).vae
    vae.decoder.weights[0].assign(np.nan * vae.decoder.weights[0])
    vae.save_weights(folder / "model.weights.h5")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: truncate(folder / "model.weights.h5"), "model.weights.h5` is damaged or of another model"),
        (lambda folder: (folder / "model.weights.h5").write_text("weights"), "model.weights.h5` is damaged or of another model"),
        (spoil, "model.weights.h5` holds weights that are no finite numbers"),
        (lambda folder: truncate(folder / "data.json"), "data.json` is missing or damaged"),
        (lambda folder: (folder / "data.json").unlink(), "data.json` is missing or damaged"),
        (lambda folder: (folder / "config.yaml").unlink(), "is no run folder: config.yaml is missing"),
        (lambda folder: (folder / "model.weights.h5").unlink(), "is not complete"),
    ],
)
def test_a_damaged_run_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(RunError, match=message):
        load(copy)


def test_weights_of_another_model_are_refused(copy):
    configuration = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(configuration.replace("latent_dim: 2", "latent_dim: 5"))
    with pytest.raises(RunError, match="damaged or of another model"):
        load(copy)


def test_data_that_changed_are_noticed(copy):
    summary = (copy / "data.json").read_text()
    (copy / "data.json").write_text(summary.replace('"train": 1455', '"train": 1454'))
    with pytest.raises(RunError, match="the images of `digits` are not those of the run: train is 1455, it was 1454"):
        load(copy).test_images()


def test_a_training_that_diverges_is_stopped_and_said(tmp_path):
    message = (
        r"` is (nan|inf|-inf).* in epoch 1, batch 2 \(optimizer step 2\): the training diverged. Try a smaller .*`training.learning_rate`"
    )
    with pytest.raises(RunError, match=message):
        train(config(learning_rate=1e30), tmp_path / "run")
    assert not (tmp_path / "run" / "model.weights.h5").exists()
    assert not (tmp_path / "run" / "history.csv").exists()


def test_two_trainings_can_not_share_a_folder(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(RunError, match="is being trained by another process"):
        train(config(), tmp_path / "run")


@pytest.mark.parametrize("late", ["x_train", "x_test"])
def test_every_image_is_checked_before_training(late, tmp_path):
    """Grey values after thousands of binary images, or among the test images only, are found at once."""
    arrays = {name: np.zeros((count, 4, 4, 1), np.float32) for name, count in (("x_train", 6000), ("x_validation", 10), ("x_test", 10))}
    arrays[late][-1] = 0.5
    np.savez(tmp_path / "images.npz", **arrays)
    with pytest.raises(DataError, match="only 0 and 1 for a Bernoulli"):
        train(config().override([f"data.source=npz:{tmp_path}/images.npz", "data.binarize=none"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_test_images_for_a_standard_error_are_refused(tmp_path):
    np.savez(tmp_path / "images.npz", x_train=np.zeros((20, 4, 4, 1), np.float32), x_test=np.zeros((1, 4, 4, 1), np.float32))
    arguments = [f"data.source=npz:{tmp_path}/images.npz", "data.binarize=none", "training.batch_size=5"]
    with pytest.raises(DataError, match="leaves 1 test image.*raise `data.test`"):
        train(config().override(arguments), tmp_path / "run")


def test_a_log_of_a_long_training_is_short(capsys, tmp_path):
    train(config(epochs=60), tmp_path / "run", verbose=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert 20 <= len(lines) <= 30
    assert lines[-1].startswith("epoch 60/60  loss ")


CONDITIONAL = ["model.condition=classes", "model.prior=conditional-normal", "data.corrupt=mask", "data.corruption=0.25"]


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """An uninterrupted run of a denoising model of labelled images."""
    return train(config(epochs=15).override(CONDITIONAL), tmp_path_factory.mktemp("runs") / "run")


def test_labels_reach_the_model(conditional):
    x, y = conditional.test_images()
    assert (conditional.data.label_size, conditional.data.label_names) == (10, tuple("0123456789"))
    right, wrong = (log_weights(conditional.vae, x, label, samples=20).log_likelihood.mean() for label in (y, (y + 1) % 10))
    assert right > wrong + 1


def test_changed_labels_are_noticed_where_the_model_has_seen_them(tmp_path):
    x, y = np.random.default_rng(0).random((40, 4, 4, 1)).astype(np.float32), np.arange(40) % 2
    sets = [f"data.source=npz:{tmp_path}/images.npz", "data.binarize=none", "model.likelihood=normal", "training.batch_size=8"]
    np.savez(tmp_path / "images.npz", x=x, y=y)
    plain = train(config().override(sets), tmp_path / "plain")
    labelled = train(config().override([*sets, "model.condition=classes"]), tmp_path / "labelled")
    np.savez(tmp_path / "images.npz", x=x, y=1 - y)
    plain.images()
    with pytest.raises(RunError, match="are not those of the run: fingerprint is"):
        labelled.images()


def test_a_configuration_and_a_summary_without_the_keys_of_labels_and_corruption_still_match(copy):
    """They are as they were written before there were such keys; the weights are those of today."""
    summary = json.loads((copy / "data.json").read_text())
    assert (summary.pop("label_size"), summary.pop("label_names")) == (None, None)
    (copy / "data.json").write_text(json.dumps(summary))
    lines = (copy / "config.yaml").read_text().splitlines(keepends=True)
    old = [
        line
        for line in lines
        if line.split(":")[0].strip() not in ("corrupt", "corruption", "condition", "average", "non_finite", "patience")
    ]
    assert len(old) == len(lines) - 6
    (copy / "config.yaml").write_text("".join(old))
    assert len(load(copy).test_images()[0]) == 180
    train(config(), copy, resume=True)


@pytest.mark.parametrize(
    ("arrays", "condition", "error", "message"),
    [
        ({}, "classes", ConfigError, "`model.condition` needs images labelled by at least 2 classes, got images without labels"),
        ({"y_train": np.arange(20) % 3}, "classes", DataError, "needs a label for each image, and the test images of npz:.* have none"),
        ({"y_train": np.arange(20) - 1, "y_test": np.arange(5)}, "classes", DataError, "`y` must hold classes from 0 to 18, got -1 to"),
        ({"y_train": np.ones((20, 3)), "y_test": np.ones((5, 3))}, "classes", DataError, "`y` must hold one class number per image"),
        ({"y_train": np.arange(20) % 3, "y_test": np.arange(5) % 3}, "vector", DataError, "`y` must hold one vector of 3 numbers"),
    ],
)
def test_labels_that_do_not_fit_the_condition_are_refused_before_anything_is_written(arrays, condition, error, message, tmp_path):
    images = {"x_train": np.zeros((20, 4, 4, 1), np.float32), "x_test": np.zeros((5, 4, 4, 1), np.float32)}
    np.savez(tmp_path / "images.npz", **images, **arrays)
    sets = [f"data.source=npz:{tmp_path}/images.npz", "data.binarize=none", "training.batch_size=5", f"model.condition={condition}"]
    with pytest.raises(error, match=message):
        train(config().override(sets), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_noise_that_leaves_the_support_is_for_the_encoder_alone(tmp_path):
    run = train(config(epochs=2).override(["data.corrupt=normal", "data.corruption=0.5"]), tmp_path / "run")
    assert np.isfinite([row["elbo"] for row in rows(run.folder)]).all()


@pytest.mark.parametrize(
    ("label", "expected"),
    [(None, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]), ("7", [7] * 12)],
)
def test_a_person_names_the_labels_of_what_is_generated(conditional, label, expected):
    assert conditional.labels(12, label).tolist() == expected


def test_a_class_goes_by_its_name_first(conditional):
    names = replace(conditional, data=replace(conditional.data, label_names=("cat", "dog", "2", "1", *"456789")))
    assert [names.labels(1, label).tolist() for label in ("dog", "1", "2", "0")] == [[1], [3], [2], [0]]
    with pytest.raises(DataError, match=r"`label` must be a class from 0 to 9, or its name \(\['cat', 'dog', .*\), got 'cow'"):
        names.labels(1, "cow")
