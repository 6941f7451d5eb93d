"""Claims about what MLflow is told of a training."""

import contextlib
import json
import os
import shutil
import socket

import numpy as np
import pytest
from followed import config, follow, history, said, stopped, training

from vae_tf.run import load
from vae_tf.tracking import TRACKERS
from vae_tf.tracking.mlflow import _PATIENCE
from vae_tf.train import train


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    """MLflow as it is installed, with a store of its own."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the one store that needs no further packages
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in _PATIENCE:
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
@pytest.mark.parametrize("text", ["", '{"run_id": "0123', "{}", "[]", '{"run_id": 7}', "\x00"])
def test_a_damaged_memory_of_the_mlflow_run_is_named_with_the_remedy(mlflow_client, tmp_path, caplog, text):
    path = tmp_path / "mlflow.json"
    path.write_text(text)
    follow(1, name="mlflow", training=training(tmp_path))
    assert said(caplog)[0].startswith(
        f"the tracker `mlflow` failed (RunError: remove `{path}`, which is damaged; a new MLflow run begins then.); the training goes on"
    )
    assert path.read_text() == text
    path.unlink()
    caplog.clear()
    TRACKERS["mlflow"](training(tmp_path)).begin()
    assert json.loads(path.read_text())["run_id"]


@pytest.mark.filterwarnings("ignore")
def test_nothing_but_a_warning_comes_of_mlflow_being_away(mlflow_client, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    follow(2, name="mlflow", training=training(tmp_path))
    failed, lacks = said(caplog)
    assert "the tracker `mlflow` failed (MlflowException: " in failed
    assert "the tracker `mlflow` lacks the end" in lacks
    assert not (tmp_path / "mlflow.json").exists()


@pytest.fixture
def silent(monkeypatch):
    """A server that takes connections and never answers; returns how many there were."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(0)
        came = []

        def count():
            with contextlib.suppress(BlockingIOError):
                while True:
                    came.append(server.accept()[0])
            return len(came)

        yield count
        for one in came:
            one.close()


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_never_answers_is_asked_for_two_times_five_seconds(mlflow_client, silent, tmp_path, monkeypatch):
    """When the training begins, and once more when it is complete; not by who stops it."""
    for name in _PATIENCE:
        monkeypatch.delenv(name)
    tracker = TRACKERS["mlflow"](training(tmp_path))
    assert (os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"], os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) == ("5", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with pytest.raises(Exception, match="timed out|timeout"):
        tracker.begin()
    assert silent() == 2
    follow(3, name="mlflow", training=training(tmp_path))
    assert silent() == 2 + 2 + 2
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1", "what the user says counts"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("outcome", ["complete", "stopped"])
def test_a_server_that_falls_silent_is_asked_once_at_the_end(mlflow_client, silent, tmp_path, monkeypatch, outcome):
    uri = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    tracker = TRACKERS["mlflow"](training(tmp_path))
    tracker.begin()
    run_id = json.loads((tmp_path / "mlflow.json").read_text())["run_id"]
    tracker._client = type(mlflow_client)(uri)
    with pytest.raises(Exception, match="timed out|timeout"):
        tracker.end(outcome)
    assert silent() == 2
    assert mlflow_client.get_run(run_id).info.status == "RUNNING"


@pytest.mark.filterwarnings("ignore")
def test_what_came_of_a_training_is_told_before_its_files(mlflow_client, tmp_path):
    tracker = TRACKERS["mlflow"](training(tmp_path))
    tracker.begin()
    with pytest.raises(FileNotFoundError):
        tracker.end("complete")
    run_id = json.loads((tmp_path / "mlflow.json").read_text())["run_id"]
    assert mlflow_client.get_run(run_id).info.status == "FINISHED"
