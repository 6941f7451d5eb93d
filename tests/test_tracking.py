"""Claims about what a training shows while it runs: trackers change nothing, tell the truth, and never stop a training."""

import csv
import json
import logging
import shutil
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from click.testing import CliRunner
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.projector import ProjectorConfig
from tensorboard.util.tensor_util import make_ndarray

from vae_tf import announce, cli, plots, progress
from vae_tf.cluster import Cluster
from vae_tf.config import Config
from vae_tf.errors import ConfigError, InterruptedRun
from vae_tf.latents import kl_per_dimension, posterior_moments
from vae_tf.pipeline import fixed_images
from vae_tf.run import load
from vae_tf.tracking import TRACKERS, TensorBoard, Tracker, Tracking, Training
from vae_tf.tracking.events import EventFile
from vae_tf.tracking.projector import write_projector
from vae_tf.train import train

EPOCHS = 12


def config(*sets, epochs=EPOCHS):
    return Config.from_dict(
        {
            "data": {"source": "digits"},
            "model": {
                "latent_dim": 3,
                "encoder": {"name": "mlp", "hidden": [8]},
                "decoder": {"name": "mlp", "hidden": [8]},
                "likelihood": "binomial",
            },
            "training": {"epochs": epochs, "batch_size": 700, "learning_rate": 0.01},
            "seed": 3,
        }
    ).override(sets)


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


def history(run):
    with (run.folder / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value and key != "seconds"} for row in csv.DictReader(file)]


def shown(run, name="validation"):
    """What TensorBoard reads: tag -> [(step, value)], images as PNG."""
    events = EventAccumulator(
        str(run.folder / "tensorboard" / name), tensor_size_guidance=dict.fromkeys(("scalars", "images", "histograms"), 0)
    )
    events.Reload()
    return {tag: [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


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


class StopAfter(keras.callbacks.Callback):
    """Is the user's Ctrl-C after an epoch, when trackers and checkpoint have it."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def stopped(monkeypatch, folder, after, *, epochs, **options):
    fit = keras.Model.fit
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", lambda self, *a, **k: fit(self, *a, **k | {"callbacks": [*k["callbacks"], StopAfter(after)]}))
        with pytest.raises(InterruptedRun):
            train(config(epochs=epochs), folder, verbose=0, **options)


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


class Recorder(Tracker):
    """Takes everything in, except in the calls that it is told to fail in."""

    failing = ()

    def __init__(self, training):
        super().__init__(training)
        self.calls, self.taken, self.outcomes = 0, [], []

    def _call(self):
        self.calls += 1
        if self.calls in self.failing:
            raise ConnectionError("the server\nis away")

    def begin(self):
        self._call()

    def epochs(self, rows):
        self._call()
        self.taken += [row["epoch"] for row in rows]

    def end(self, outcome):
        self._call()
        self.outcomes.append(outcome)


@pytest.fixture
def recorder(monkeypatch):
    """Registers a tracker that fails in given calls; returns a tracking, and the tracker once it follows."""
    made = []

    def register(*failing, again_at_once=True):
        kind = type("Failing", (Recorder,), {"failing": failing})
        monkeypatch.setitem(TRACKERS, "recorder", lambda training: made.append(kind(training)) or made[-1])
        TRACKERS["recorder"].needs = None
        if again_at_once:
            monkeypatch.setattr("vae_tf.tracking.follow._PAUSE", 0)
        return made

    return register


def said(caplog):
    """What was said about trackers."""
    return [message for message in caplog.messages if message.startswith("the tracker")]


def follow(epochs, error=None, name="recorder", training=None):
    """Play a training of some epochs to a tracker."""
    with Tracking([name]) as tracking:
        tracking.follow(training)
        tracking.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=tf.constant(0.5))))
        tracking.on_train_begin()
        for epoch in range(epochs):
            tracking.on_epoch_end(epoch, {"elbo": -1.0})
        if error is not None:
            raise error


def test_what_a_tracker_could_not_take_in_comes_again(recorder, caplog):
    made = recorder(1, 3)  # the first beginning; the first epoch
    follow(4)
    assert made[0].taken == [1, 2, 3, 4]
    assert made[0].outcomes == ["complete"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the tracker `recorder` failed (ConnectionError: the server is away); the training goes on, and it is tried again" in caplog.text


def test_what_a_tracker_lacks_at_the_end_is_said(recorder, caplog):
    made = recorder(*range(2, 100))
    follow(3)
    assert made[0].taken == []
    first, last = said(caplog)
    assert "failed" in first
    assert last == "the tracker `recorder` lacks the end of this training, or more (ConnectionError: the server is away)"


def test_a_tracker_that_is_slow_to_fail_is_asked_less_often(recorder, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("vae_tf.tracking.follow.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def wait(self):
        self.calls += 1
        clock[0] += 1  # of every call, a second
        raise TimeoutError

    monkeypatch.setattr(Recorder, "_call", wait)
    made = recorder(again_at_once=False)
    follow_each_s, epochs = 1, 40
    with Tracking(["recorder"]) as tracking:
        tracking.follow(None)
        tracking.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=tf.constant(0.5))))
        for epoch in range(epochs):
            clock[0] += follow_each_s
            tracking.on_epoch_end(epoch, {})
    assert 3 <= made[0].calls <= 6


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyboardInterrupt(), "stopped"), (InterruptedRun("enough"), "stopped"), (RuntimeError("no"), "failed")]
)
def test_trackers_hear_how_a_training_ended(recorder, error, outcome):
    made = recorder()
    with pytest.raises(type(error)):
        follow(2, error)
    assert made[0].outcomes == [outcome]


def test_who_stops_a_training_does_not_wait_for_a_tracker_that_is_away(recorder):
    made = recorder(*range(2, 100))
    with pytest.raises(KeyboardInterrupt):
        follow(2, KeyboardInterrupt())
    assert made[0].calls == 3  # begun, failed, and failed to begin again


def test_a_training_goes_on_when_its_curves_can_not_be_written(tracked, tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".hidden").write_text("")  # what a killed process left
    short = config(epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.io, "TFRecordWriter", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        run = train(short, folder, verbose=0)
    assert (run.folder / "model.weights.h5").exists()
    failed, lacks = said(caplog)
    assert "the tracker `tensorboard` failed (OSError: [Errno 28] No space left on device); the training goes on" in failed
    assert "lacks the end" in lacks


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        (["tensorbord"], "`trackers` 'tensorbord' does not exist. Did you mean 'tensorboard'?"),
        (["tensorboard", "mlflow"], "`trackers` 'mlflow' needs the package mlflow, which is not installed: `pip install mlflow-skinny"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused_before_anything_is_written(trackers, message, tmp_path, monkeypatch):
    monkeypatch.setattr("vae_tf.tracking.follow.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        train(config(), tmp_path / "run", verbose=0, trackers=trackers)
    assert not (tmp_path / "run").exists()


def test_the_command_line_knows_all_trackers():
    (option,) = (parameter for parameter in cli.train.params if parameter.name == "trackers")
    assert sorted(option.type.choices) == sorted(TRACKERS)


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    """MLflow as it is installed, with a store of its own."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the one store that needs no further packages
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "1")  # taken back after the test
    return mlflow.MlflowClient()


@pytest.mark.filterwarnings("ignore")  # its own, of which there are many
def test_mlflow_holds_parameters_metrics_by_epoch_and_the_trained_weights(mlflow_client, tmp_path, monkeypatch):
    """And a training that was stopped goes on in the same MLflow run, with each epoch once."""
    folder = tmp_path / "run"
    stopped(monkeypatch, folder, 3, epochs=4, trackers=["mlflow"])
    remembered = json.loads((folder / "mlflow.json").read_text())["run_id"]
    assert mlflow_client.get_run(remembered).info.status == "KILLED"
    shutil.rmtree(folder / "checkpoints" / "epoch-3")
    run = train(config(epochs=4), folder, resume=True, verbose=0, trackers=["mlflow"])

    experiment = mlflow_client.get_experiment_by_name("vae_tf")
    (found,) = mlflow_client.search_runs([experiment.experiment_id])
    assert (found.info.run_id, found.info.status, found.info.run_name) == (remembered, "FINISHED", "run")
    assert found.data.params["model.likelihood.name"] == "binomial"
    assert found.data.params["training.epochs"] == "4"
    for name in ("elbo", "val_elbo", "learning_rate", "active_units"):
        logged = mlflow_client.get_metric_history(remembered, name)
        assert [metric.step for metric in sorted(logged, key=lambda metric: metric.step)] == [1, 2, 3, 4]
    values = {metric.step: metric.value for metric in mlflow_client.get_metric_history(remembered, "val_elbo")}
    assert values == pytest.approx({row["epoch"]: row["val_elbo"] for row in history(run)})
    kept = {artifact.path for artifact in mlflow_client.list_artifacts(remembered)}
    assert kept == {"config.yaml", "data.json", "history.csv", "model.weights.h5"}
    again = load(mlflow_client.download_artifacts(remembered, ".", str(tmp_path)))
    np.testing.assert_array_equal(again.vae.generate(2), run.vae.generate(2))


def training(folder, rows=()):
    return Training(folder, config(), None, np.zeros((1, 8, 8, 1)), None, None, list(rows))


@pytest.mark.filterwarnings("ignore")
def test_epochs_that_mlflow_missed_come_from_the_history(mlflow_client, tmp_path):
    """As many as a request can not hold; and where an MLflow run was deleted, another begins."""
    rows = [{"epoch": epoch, "loss": float(epoch), "seconds": 1.0} for epoch in range(1, 121)]
    for _ in range(2):
        tracker = TRACKERS["mlflow"](training(tmp_path, rows))
        tracker.begin()
        tracker.end("failed")
        run_id = json.loads((tmp_path / "mlflow.json").read_text())["run_id"]
        assert sorted(metric.step for metric in mlflow_client.get_metric_history(run_id, "loss")) == list(range(1, 121))
        assert "seconds" not in mlflow_client.get_run(run_id).data.metrics
    mlflow_client.delete_run(run_id)
    tracker = TRACKERS["mlflow"](training(tmp_path))
    tracker.begin()
    assert json.loads((tmp_path / "mlflow.json").read_text())["run_id"] != run_id


@pytest.mark.filterwarnings("ignore")
def test_nothing_but_a_warning_comes_of_mlflow_being_away(mlflow_client, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    follow(2, name="mlflow", training=training(tmp_path))
    failed, lacks = said(caplog)
    assert "the tracker `mlflow` failed (MlflowException: " in failed
    assert "the tracker `mlflow` lacks the end" in lacks
    assert not (tmp_path / "mlflow.json").exists()


def test_the_first_line_says_what_will_run(tracked):
    alone = Cluster.alone()
    line, last = (
        announce.first_line(tracked.folder, tracked.config, tracked.vae, tracked.images(), alone, steps=2, first_epoch=epoch)
        for epoch in (4, 12)
    )
    parameters = sum(np.prod(weight.shape) for weight in tracked.vae.trainable_variables)
    assert "\n" not in line
    assert line.startswith(f"resuming {tracked.folder}: {announce._count(int(parameters))} parameters (mlp, 3 latents, ")
    for part in (
        "binomial likelihood, elbo)",
        "digits 1,455 + 162 validation images of 8 x 8",
        f"{tracked.vae.execution}, epochs",
    ):
        assert part in line
    assert line.endswith("epochs 5 to 12 of 2 steps of 700")
    assert last.endswith("nothing left of 12 epochs of 2 steps of 700")


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (1234, "1.23 k"), (92_160, "92.2 k"), (1_100_000, "1.1 M")])
def test_numbers_of_parameters_are_short(number, text):
    assert announce._count(number) == text


def test_the_last_line_has_the_result_and_the_next_command(tracked):
    found = f"validation elbo {history(tracked)[-1]['val_elbo']:.2f} nats in the last of 12 epochs"
    line = announce.last_line(tracked, "python -m vae_tf evaluate RUN")
    assert line.startswith(f"trained {tracked.folder}: {found}, ")
    assert line.endswith("Next: python -m vae_tf evaluate RUN")


def test_the_last_line_tells_the_epoch_whose_weights_the_run_has(tracked, monkeypatch):
    monkeypatch.setattr(announce, "best_epoch", lambda run, rows: 2)
    line = announce.last_line(tracked, "")
    assert f"validation elbo {history(tracked)[1]['val_elbo']:.2f} nats in epoch 2, the best of 12 epochs, " in line


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (274, "4 min 34 s"), (7500, "2 h 5 min")])
def test_durations_are_in_two_units(seconds, text):
    assert progress.duration(seconds) == text


class FakeBar:
    """What is asked of tqdm."""

    def __init__(self, total, initial, **options):
        self.total, self.n, self.initial, self.text, self.closed = total, initial, initial, "", False

    def set_postfix_str(self, text, refresh):
        self.text = text

    def update(self, count):
        self.n += count

    def close(self):
        self.closed = True


def test_the_bar_counts_all_steps_of_the_training(monkeypatch):
    """Also where several steps are executed at once, and where earlier epochs were of another process."""
    made = []
    monkeypatch.setattr(progress, "tqdm", lambda **options: made.append(FakeBar(**options)) or made[-1])
    with progress.narration(1) as (bar,):
        bar.set_params({"epochs": 4, "steps": 10})
        for epoch in (2, 3):
            bar.on_epoch_begin(epoch)
            for last in (3, 7, 9):
                bar.on_train_batch_end(last, {"elbo": -3.25})
                assert (made[0].n, made[0].total) == (10 * epoch + last + 1, 40)
            bar.on_epoch_end(epoch, {"val_elbo": -3.5})
        assert not made[0].closed
    assert (made[0].initial, made[0].text, made[0].closed) == (24, "elbo -3.25, val_elbo -3.50", True)


def test_a_bar_is_finished_however_the_training_ends(monkeypatch):
    made = []
    monkeypatch.setattr(progress, "tqdm", lambda **options: made.append(FakeBar(**options)) or made[-1])

    def interrupted():
        with progress.narration(1) as (bar,):
            bar.set_params({"epochs": 4, "steps": 10})
            bar.on_epoch_begin(0)
            bar.on_train_batch_end(0, {"elbo": -3.25})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert made[0].closed


def test_a_log_says_how_much_time_is_left_by_the_epochs_of_this_process(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    with progress.narration(2) as (narrator,):
        narrator.set_params({"epochs": 10, "steps": 1})
        narrator.on_train_begin()
        for epoch, took_s in ((6, 50), (7, 20), (8, 30), (9, 10)):  # six were there already; the first of this process compiles
            clock[0] += took_s
            narrator.on_epoch_end(epoch, {"elbo": -2.0})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 7/10  elbo -2.00",
        "epoch 8/10  elbo -2.00  40 s left",
        "epoch 9/10  elbo -2.00  25 s left",
        "epoch 10/10  elbo -2.00",
    ]


def test_the_command_line_begins_and_ends_with_a_line(tmp_path):
    sets = [
        "training.epochs=1",
        "training.jit_compile=false",
        "objective.warmup_epochs=0",
        "model.encoder.hidden=[8]",
        "model.decoder.hidden=[8]",
    ]
    arguments = ["train", "digits", "--run", str(tmp_path / "run"), *(f"--set={item}" for item in sets)]
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 0, done.output
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(f"training {tmp_path}/run: ")
    assert last.startswith(f"trained {tmp_path}/run: validation elbo ")


def test_classes_beyond_what_fits_a_row_are_laid_out_in_a_square(tmp_path):
    condition = SimpleNamespace(size=100, label=tf.TensorSpec([None], tf.int32))
    tracker = TensorBoard(replace(training(tmp_path), vae=SimpleNamespace(condition=condition)))
    labels, columns = tracker._labels()
    assert (labels.tolist(), columns) == (list(range(64)), None)
