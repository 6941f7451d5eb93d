"""What a server says about its models: status and metadata, written by the server and read by the client."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from serving.manifest import Signature, TensorSpec

__all__ = ["Metadata", "VersionStatus", "metadata_answer", "read_metadata", "read_status", "status_answer"]

_TF_DTYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "string": "DT_STRING"}
_DTYPES = {name: dtype for dtype, name in _TF_DTYPES.items()}


@final
@dataclass(frozen=True)
class VersionStatus:
    """One version of a model: LOADING, AVAILABLE (it serves) or END (let go, or refused with an error)."""

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@final
@dataclass(frozen=True)
class Metadata:
    """The version that answers, and its signatures."""

    version: int
    signatures: dict[str, Signature]


def status_answer(statuses: Sequence[VersionStatus]) -> bytes:
    """Write the status of versions as the original does: numbers as strings, one space of indentation."""
    versions = [
        {
            "version": str(status.version),
            "state": status.state,
            "status": {"error_code": status.error_code, "error_message": status.error_message},
        }
        for status in statuses
    ]
    return (json.dumps({"model_version_status": versions}, indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def read_status(answer: Mapping[str, Any]) -> list[VersionStatus]:
    """Read a status answer, in its order: newest version first."""
    return [
        VersionStatus(int(item["version"]), item["state"], item["status"]["error_code"], item["status"]["error_message"])
        for item in answer["model_version_status"]
    ]


def metadata_answer(name: str, metadata: Metadata) -> bytes:
    """Write the metadata of a model as the original does."""
    signatures = {
        key: {
            "inputs": {name: _tensor_info(f"{key}_{name}:0", spec) for name, spec in signature.inputs.items()},
            "outputs": {name: _tensor_info(f"{name}:0", spec) for name, spec in signature.outputs.items()},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        for key, signature in metadata.signatures.items()
    }
    model_spec = json.dumps({"name": name, "version": str(metadata.version), "signature_name": ""}, indent=1, ensure_ascii=False)
    signature_def = json.dumps({"signature_def": signatures}, indent=1, ensure_ascii=False)
    return f'{{\n"model_spec":{model_spec}\n,\n"metadata": {{"signature_def": {signature_def}\n}}\n}}\n'.encode(errors="replace")


def _tensor_info(name: str, spec: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(size), "name": ""} for size in spec.shape]
    return {"name": name, "dtype": _TF_DTYPES[spec.dtype], "tensor_shape": {"dim": dims, "unknown_rank": False}}


def read_metadata(answer: Mapping[str, Any]) -> Metadata:
    """Read a metadata answer; dtypes without a name here keep TensorFlow's."""
    signatures = {
        key: Signature(inputs=_read_specs(signature["inputs"]), outputs=_read_specs(signature["outputs"]))
        for key, signature in answer["metadata"]["signature_def"]["signature_def"].items()
    }
    return Metadata(int(answer["model_spec"]["version"]), signatures)


def _read_specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            dtype=_DTYPES.get(tensor["dtype"], tensor["dtype"]),
            shape=tuple(int(dim["size"]) for dim in tensor["tensor_shape"].get("dim", ())),
        )
        for name, tensor in tensors.items()
    }
