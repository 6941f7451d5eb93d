"""What each of several replicas has for itself, kept beside a checkpoint: TensorFlow's own holds the sums."""

from collections.abc import Mapping
from typing import Any, final

import tensorflow as tf
import tf_keras as keras

from vae_tf.cluster import Cluster

__all__ = ["RunningMetrics"]


@final
class RunningMetrics(keras.callbacks.Callback):
    """Gives the running metrics of an epoch back to each replica as it had them, so that sums go on in the same order of rounding.

    Put it after the keeper, which gives each replica an equal part of the sum.

    Args:
        metrics: of the model.
        cluster: who trains, on several replicas.
    """

    def __init__(self, metrics: list[keras.metrics.Metric], cluster: Cluster):
        super().__init__()
        self._replicas = cluster.replicas
        self._recalled: list[list[float]] | None = None
        variables, strategy = [variable for metric in metrics for variable in metric.variables], cluster.strategy

        def row() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            values = tf.stack([variable.read_value() for variable in variables])
            return tf.scatter_nd([[replica]], values[None], [cluster.replicas, len(variables)])

        def take(values: tf.Tensor) -> None:
            mine = values[tf.distribute.get_replica_context().replica_id_in_sync_group]
            for number, variable in enumerate(variables):
                variable.assign(mine[number])

        self._gather = tf.function(lambda: strategy.reduce("SUM", strategy.run(row), axis=None))
        self._scatter = tf.function(lambda values: strategy.run(take, (values,)))

    def memory(self) -> dict[str, Any]:
        """Return what counts when a training is resumed: [replicas, variables]."""
        return {"rows": self._gather().numpy().tolist()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` returned, if as many replicas go on."""
        rows = memory["rows"]
        self._recalled = rows if len(rows) == self._replicas else None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forget what was recalled for the beginning of an epoch, where all are zero."""
        self._recalled = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Give back what was recalled in this epoch, which the keeper read just before."""
        if self._recalled is not None:
            self._scatter(tf.constant(self._recalled))
        self._recalled = None
