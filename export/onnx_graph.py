"""The generator as an ONNX graph that ONNX Runtime and others read: z [batch, D], perhaps a label per row -> mean [batch, H, W, C]."""

import json
import tempfile
from pathlib import Path

import onnx

from export.errors import ConversionError
from export.image_values import image_values
from export.manifest import VALUE_RANGE, library_version
from export.process import last_line, run_module
from export.saved_model import inputs, save_mean
from vae_tf import Generator

__all__ = ["OPSET", "convert"]

OPSET = 18  # the newest that tf2onnx writes


def convert(generator: Generator, path: Path, name: str) -> None:
    """Convert the mean function and write it with its metadata.

    Args:
        generator: of a trained model, frozen.
        path: the file to write.
        name: of the model.

    Raises:
        ConversionError: an operation has no ONNX counterpart, or the result is no valid graph.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder, raw = Path(scratch, "saved_model"), Path(scratch, "raw.onnx")
        save_mean(generator, folder)
        _run_tf2onnx(folder, raw)
        model = onnx.load(raw)
    _describe(model, generator, name)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"onnx: the converted graph is invalid: {str(error).splitlines()[0]}") from None
    onnx.save(model, path)


def _run_tf2onnx(folder: Path, path: Path) -> None:
    # In a process of its own, because it resets TensorFlow's graph and sessions.
    done = run_module("tf2onnx.convert", "--saved-model", folder, "--tag", "serve", "--opset", str(OPSET), "--output", path)
    # An unsupported operation is only logged, and an invalid file written.
    complaints = [line.split(" - ERROR - ")[1] for line in done.stderr.splitlines() if " - ERROR - " in line]
    if done.returncode and not complaints:
        complaints = [last_line(done)]
    if complaints:
        raise ConversionError(f"onnx: tf2onnx can not convert this model: {complaints[-1]}")


def _describe(model: onnx.ModelProto, generator: Generator, name: str) -> None:
    """Name the batch dimension, and say what the graph is."""
    graph = model.graph
    del graph.value_info[:]  # they name the batch dimension too, each in its own way; a reader infers them again
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    graph.name = name
    values = image_values(generator.likelihood)
    graph.doc_string = f"{', '.join(['z ~ N(0, I)', *(spec.name for spec in inputs(generator)[1:])])} -> the mean of p(x | z); {values}"
    model.producer_name, model.producer_version = "vae_tf", library_version("vae_tf")
    properties = {
        "model_name": name,
        "latent_dim": str(generator.noise_dim),
        "noise_layout": json.dumps(generator.noise_layout),
        "image_shape": json.dumps(generator.image_shape),
        "value_range": json.dumps(VALUE_RANGE),
        "values": values,
    }
    onnx.helper.set_model_props(model, properties)
