"""The warm-up file: requests that TensorFlow Serving answers to itself before a version goes live.

It takes away the cost of the first request, and it makes a version that can not answer a refused load instead of a live one.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from export.manifest import Signature

__all__ = ["WARMUP", "read_requests", "write_requests"]

WARMUP = Path("assets.extra", "tf_serving_warmup_requests")


def write_requests(folder: Path, name: str, signatures: dict[str, Signature]) -> None:
    """Write one request of one row of zeros per signature.

    Args:
        folder: of the SavedModel.
        name: of the model.
        signatures: of the SavedModel.
    """
    (folder / WARMUP).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        for signature_name, signature in signatures.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature_name
            for key, tensor in signature.inputs.items():
                value = np.zeros([1 if size == -1 else size for size in tensor.shape], tensor.dtype)
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def read_requests(folder: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return the signature and the inputs of every request.

    Args:
        folder: of the SavedModel.
    """
    records = tf.data.TFRecordDataset(str(folder / WARMUP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    return [(r.model_spec.signature_name, {key: tf.make_ndarray(value) for key, value in r.inputs.items()}) for r in requests]
