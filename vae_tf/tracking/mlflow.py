"""MLflow: parameters, metrics by epoch, and the trained weights, on a tracking server or in a database."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from vae_tf.config import flat
from vae_tf.errors import RunError
from vae_tf.files import replacing
from vae_tf.run import CONFIG, DATA, HISTORY, WEIGHTS
from vae_tf.tracking.base import Outcome, Tracker, Training

__all__ = ["MLFLOW", "MLflow"]

MLFLOW = "mlflow.json"  # in the run folder: the id of the MLflow run, so that a resumed training goes on in it

_STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_NO_METRICS = ("epoch", "seconds")
_ROWS = 50  # of metrics in one request, which may hold a thousand metrics
# MLflow's own patience with a server that is away is many minutes for each request; or as long as an overloaded server bids.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}


@final
class MLflow(Tracker):
    """Logs a training to MLflow, as one MLflow run that a resumed training goes on in.

    Parameters are those of the configuration, `section.key`; metrics those of the history, with epochs as steps, each once. A complete
    training leaves configuration, data summary, history and weights as artifacts. Where to is said by MLflow's own environment variables:
    `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME` or `MLFLOW_EXPERIMENT_ID`, and those for credentials. An unset time-out or number of
    retries is set to 5 s and 1: a server that does not answer costs 10 s each time it is called.

    Args:
        training: what is followed.
    """

    needs = ("mlflow", "pip install mlflow-skinny sqlalchemy alembic")

    def __init__(self, training: Training):
        super().__init__(training)
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)

    def begin(self) -> None:
        """Find the MLflow run of the run folder, or create one; tell it what it does not know yet."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        run = self._found() or self._created()
        self._id = run.info.run_id
        known = run.data.params
        params = [Param(key, str(value)) for key, value in flat(self.training.config.to_dict()).items() if key not in known]
        self._client.log_batch(self._id, params=params)
        self._client.update_run(self._id, status="RUNNING")
        self._steps = {metric.step for metric in self._client.get_metric_history(self._id, "loss")}
        self.epochs(self.training.rows)

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of epochs that are not there yet."""
        from mlflow.entities import Metric

        missing, now_ms = [row for row in rows if row["epoch"] not in self._steps], int(1000 * time.time())
        for start in range(0, len(missing), _ROWS):
            part = missing[start : start + _ROWS]
            values = [(name, value, int(row["epoch"])) for row in part for name, value in row.items() if name not in _NO_METRICS]
            metrics = [Metric(name, value, now_ms, step) for name, value, step in values]
            self._client.log_batch(self._id, metrics=metrics)
            self._steps |= {int(row["epoch"]) for row in part}

    def end(self, outcome: Outcome) -> None:
        """Say what came of the training, and keep what is needed to load the run."""
        self._client.set_terminated(self._id, _STATUS[outcome])  # first: it stands whatever becomes of the files
        if outcome == "complete":
            for name in (CONFIG, DATA, HISTORY, WEIGHTS):
                self._client.log_artifact(self._id, str(self.training.folder / name))

    @property
    def _path(self) -> Path:
        return self.training.folder / MLFLOW

    def _found(self) -> Any:
        """Return the MLflow run that the run folder remembers; None if there is none, or if it was deleted."""
        from mlflow.exceptions import MlflowException

        if not self._path.exists():
            return None
        try:
            run = self._client.get_run(self._remembered())
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def _remembered(self) -> str:
        try:
            run_id = json.loads(self._path.read_text())["run_id"]
        except (ValueError, KeyError, TypeError):
            run_id = None
        if not isinstance(run_id, str):
            raise RunError(f"remove `{self._path}`, which is damaged; a new MLflow run begins then.")
        return run_id

    def _created(self) -> Any:
        from mlflow.tracking.context.registry import resolve_tags

        folder = self.training.folder.resolve()
        run = self._client.create_run(self._experiment(), tags=resolve_tags({"run_folder": str(folder)}), run_name=folder.name)
        with replacing(self._path) as path:
            path.write_text(json.dumps({"run_id": run.info.run_id}))
        return run

    def _experiment(self) -> str:
        if known := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return known
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "vae_tf")
        found = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if found is None else found.experiment_id
