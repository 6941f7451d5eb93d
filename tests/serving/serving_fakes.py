"""An exported folder made by hand, and the embedded server without sockets."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import anyio.from_thread
import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from starlette.applications import Starlette


class InProcess(httpx.BaseTransport):
    """Carries requests to an ASGI application on another thread's event loop."""

    def __init__(self, app: Starlette, portal: anyio.from_thread.BlockingPortal):
        self._app = httpx.ASGITransport(app)
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            for piece in cast(httpx.SyncByteStream, request.stream):
                yield piece

        in_there = httpx.Request(request.method, request.url, headers=request.headers, content=body())
        response = self._portal.call(self._app.handle_async_request, in_there)
        return httpx.Response(response.status_code, headers=response.headers, content=self._portal.call(response.aread))


@contextlib.contextmanager
def running(app: Starlette) -> Iterator[InProcess]:
    """Start an application in this process and give the way to it."""
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield InProcess(app, portal)


def decoder(
    latent_dim: int, image_shape: tuple[int, int, int], bias: float, activation: str = "Sigmoid", label: dict | None = None
) -> bytes:
    """Build mean = reshape(activation(z W + bias + y)) as an ONNX graph; y is the number of the class, or the sum of a vector."""
    pixels = int(np.prod(image_shape))
    weights = np.random.default_rng(0).standard_normal((latent_dim, pixels)).astype(np.float32)
    constants = {"W": weights, "b": np.full(pixels, bias, np.float32), "shape": np.array([-1, *image_shape], np.int64)}
    nodes = [
        helper.make_node("Gemm", ["z", "W", "b"], ["of_z" if label else "logits"]),
        helper.make_node(activation, ["logits"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["mean"]),
    ]
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", latent_dim])]
    if label and label["kind"] == "class":
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT32, ["batch"]))
        constants["column"] = np.array([-1, 1], np.int64)
        nodes[1:1] = [
            helper.make_node("Cast", ["label"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["number", "column"], ["y"]),
            helper.make_node("Add", ["of_z", "y"], ["logits"]),
        ]
    elif label:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.FLOAT, ["batch", label["size"]]))
        constants["last"] = np.array([1], np.int64)
        nodes[1:1] = [helper.make_node("ReduceSum", ["label", "last"], ["y"]), helper.make_node("Add", ["of_z", "y"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "decoder",
        inputs,
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", *image_shape])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_version(
    root: Path,
    name: str = "dec",
    version: int = 1,
    *,
    latent_dim: int = 2,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    bias: float = 0.0,
    model: bytes | None = None,
    label: dict | None = None,
) -> Path:
    """Write root/name/version as `export` does: elsewhere first, then renamed into place."""
    z: dict = {"z": {"dtype": "float32", "shape": [-1, latent_dim]}}
    if label:
        z["label"] = {"dtype": "int32", "shape": [-1]} if label["kind"] == "class" else {"dtype": "float32", "shape": [-1, label["size"]]}
    files = {
        "model.onnx": decoder(latent_dim, image_shape, bias, label=label) if model is None else model,
        "saved_model.pb": b"a graph for another server",
        "variables/variables.index": b"weights",
    }
    manifest = {
        "schema_version": 1,
        "name": name,
        "version": version,
        "created": "2026-11-21T01:00:00+00:00",
        "generator": {"latent_dim": latent_dim, "image_shape": image_shape, "value_range": [0.0, 1.0], "noise": "z ~ N(0, I)"}
        | ({"noise_layout": [{"name": "z", "size": latent_dim}], "label": label} if label else {}),  # an older manifest has neither
        "signatures": {
            "serving_default": {"inputs": z, "outputs": {"mean": {"dtype": "float32", "shape": [-1, *image_shape]}}},
            "sample": {
                "inputs": z | {"seed": {"dtype": "int32", "shape": [-1]}},
                "outputs": {"x": {"dtype": "float32", "shape": [-1, *image_shape]}},
            },
            "png": {"inputs": z, "outputs": {"image_bytes": {"dtype": "string", "shape": [-1]}}},
        },
        "formats": {
            "saved_model": {"path": "saved_model.pb", "signatures": ["serving_default", "sample", "png"], "parity": {}},
            "onnx": {"path": "model.onnx", "signatures": ["serving_default"], "opset": 18, "parity": {}},
        },
        "files": {path: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for path, data in files.items()},
        "provenance": {},
    }
    hidden = root / name / f".tmp-{version}"
    for path, data in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
        (hidden / path).parent.mkdir(parents=True, exist_ok=True)
        (hidden / path).write_bytes(data)
    return hidden.rename(root / name / str(version))
