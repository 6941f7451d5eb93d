"""Predict in TensorFlow Serving's REST dialect: request body to tensors, tensors to answer. No sockets, no model.

In row format (`instances`) the batch is a list of examples; in columnar format (`inputs`) each input is one tensor.
A signature with one input or output may leave its name out.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from serving.errors import InvalidArgumentError
from serving.jsontext import float_texts, parse, quote
from serving.manifest import TensorSpec

__all__ = ["PredictRequest", "error_body", "parse_predict", "predict_answer", "read_tensors"]

_WORDS = {"float32": "float", "int32": "int32"}
_DEEPEST = 32


@final
@dataclass(frozen=True)
class PredictRequest:
    """A predict body before its signature is known: what is to be computed, and the JSON of its inputs."""

    signature_name: str
    row: bool
    document: dict[str, Any]


def parse_predict(body: bytes) -> PredictRequest:
    """Read a predict body as far as that goes without the model.

    Raises:
        InvalidArgumentError: It is no JSON object, or `signature_name` is not a string.
    """
    document = parse(body)
    if not isinstance(document, dict):
        raise InvalidArgumentError(f"JSON Value: {quote(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgumentError(f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string value.")
    return PredictRequest(name or "serving_default", "instances" in document, document)


def read_tensors(request: PredictRequest, inputs: Mapping[str, TensorSpec], most_rows: int) -> dict[str, np.ndarray]:
    """Read the named inputs of a request; shapes are left to the model, as long as they hold no more than it could take.

    Args:
        request: The parsed body.
        inputs: The inputs of its signature, of which only the batch size is open.
        most_rows: The largest batch size; it is compared before any row is read.

    Returns:
        One array per input, in row format with the batch in front.

    Raises:
        InvalidArgumentError: The body does not follow the dialect, in the original's words; or it asks for too much.
    """
    document = request.document
    if request.row and "inputs" in document:
        raise InvalidArgumentError(
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if request.row:
        return _from_rows(document, inputs, most_rows)
    if "inputs" in document:
        return _from_columns(document["inputs"], inputs, most_rows)
    raise InvalidArgumentError("Missing 'inputs' or 'instances' key")


def _from_columns(value: Any, inputs: Mapping[str, TensorSpec], most_rows: int) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise InvalidArgumentError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
            )
        value = dict.fromkeys(inputs, value)
    for name in inputs:
        if name not in value:
            raise InvalidArgumentError(f"Missing named input: {name} in 'inputs' object.")
    for name in inputs:
        _check_rows(value[name], most_rows)
    return {name: _tensor(value[name], spec, most_rows) for name, spec in inputs.items()}


def _check_rows(rows: Any, most: int) -> None:
    if isinstance(rows, list) and len(rows) > most:
        raise InvalidArgumentError(f"{len(rows)} rows in one request, at most {most} are answered: send several requests")


def _from_rows(document: dict[str, Any], inputs: Mapping[str, TensorSpec], most_rows: int) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise InvalidArgumentError(f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise InvalidArgumentError("No values in 'instances' array")
    _check_rows(instances, most_rows)
    named = _is_object(instances[0])
    rows: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for number, instance in enumerate(instances):
        if named != _is_object(instance):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise InvalidArgumentError(f"Expecting {expected} but got {got} at item {number} of input list")
        if not named and len(inputs) > 1:
            raise InvalidArgumentError(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
            )
        for name, value in (instance if named else dict.fromkeys(inputs, instance)).items():
            try:
                _append(rows, name, value, inputs, most_rows)
            except InvalidArgumentError as error:
                key = f" key: {name}" if named else ""
                raise InvalidArgumentError(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error.code}: {error}"
                ) from None
        if named and instance.keys() != inputs.keys():
            raise InvalidArgumentError(
                f"Failed to process element: {number} of 'instances' list. "
                f"JSON object: {quote(instance)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(values) for name, values in rows.items()}


def _append(rows: dict[str, list[np.ndarray]], name: str, value: Any, inputs: Mapping[str, TensorSpec], most_rows: int) -> None:
    if name not in inputs:
        raise InvalidArgumentError(f"JSON object: does not have named input: {name}")
    spec = inputs[name]
    row = _tensor(value, spec, most_rows)
    if rows[name] and row.shape != rows[name][0].shape:
        raise InvalidArgumentError(f"Expecting tensor size: {rows[name][0].size} but got: {row.size}")
    if row.shape != spec.shape[1:]:  # the original would read all rows and leave this to the graph
        raise InvalidArgumentError(f"`{name}` must have shape {_batch_of(spec.shape[1:])}, got {_batch_of(row.shape)}")
    rows[name].append(row)


def _batch_of(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['batch', *map(str, shape)])}]"


def _tensor(value: Any, spec: TensorSpec, most_rows: int) -> np.ndarray:
    """Read nested lists; the first element at each level gives the shape."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
        if len(shape) > _DEEPEST:
            raise InvalidArgumentError(f"JSON Value: {quote(value)} is nested deeper than {_DEEPEST} levels")
    most = most_rows * math.prod(spec.shape[1:])
    if math.prod(shape) > most:  # _fill reads no more numbers than that
        raise InvalidArgumentError(f"{math.prod(shape)} numbers in one tensor, at most {most} are read")
    numbers: list[float] = []
    _fill(numbers, value, spec.dtype, shape, 0)
    with np.errstate(over="ignore"):  # 1e39 is Infinity in float32, there as here
        return np.array(numbers).astype(spec.dtype).reshape(shape)


def _fill(numbers: list[float], value: Any, dtype: str, shape: list[int], level: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise InvalidArgumentError(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        numbers.append(_number(value, dtype))
    elif level >= len(shape):
        raise InvalidArgumentError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    elif len(value) != shape[level]:
        raise InvalidArgumentError(f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}")
    else:
        for item in value:
            _fill(numbers, item, dtype, shape, level + 1)


def _number(value: Any, dtype: str) -> float:
    kinds = (int,) if dtype == "int32" else (int, float)
    if type(value) not in kinds or (dtype == "int32" and not -(2**31) <= value < 2**31):
        raise InvalidArgumentError(f"JSON Value: {quote(value)} Type: {_type_name(value)} is not of expected type: {_WORDS[dtype]}")
    try:
        return float(value)
    except OverflowError:
        raise InvalidArgumentError("JSON Parse error: Number too big to be stored in double.") from None


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return {"NoneType": "Null", "dict": "Object", "str": "String"}.get(type(value).__name__, "Number")


def _is_object(value: Any) -> bool:
    """Tell named tensors from the one object that is a value: `{"b64": "..."}`."""
    return isinstance(value, dict) and not (value.keys() == {"b64"} and isinstance(value["b64"], str))


def predict_answer(outputs: Mapping[str, np.ndarray], *, row: bool) -> bytes:
    """Write the answer to a predict request in the format that the request had.

    Args:
        outputs: One array per output, all [B, ...]: float32, or bytes objects [B] where the name ends in `_bytes`.
        row: Row format; columnar otherwise.

    Returns:
        The JSON text.
    """
    examples = {name: _examples(values) for name, values in outputs.items()}
    if row:
        return b'{"predictions": [\n%s\n]}' % ",\n".join(_row_texts(examples)).encode()
    columns = {name: "[\n" + ",\n".join(texts) + "\n]" for name, texts in examples.items()}
    return b'{"outputs": %s}' % _only_or_named(columns).encode()


def _row_texts(examples: dict[str, list[str]]) -> list[str]:
    return [_only_or_named(dict(zip(examples, texts))) for texts in zip(*examples.values())]


def _only_or_named(texts: dict[str, str]) -> str:
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}"


def _examples(values: np.ndarray) -> list[str]:
    """Write each element along the first axis as JSON."""
    if values.dtype == object:
        return [json.dumps({"b64": base64.b64encode(value).decode()}) for value in values]
    texts = float_texts(values)
    for size in reversed(values.shape[1:]):
        texts = [f"[{', '.join(texts[i : i + size])}]" for i in range(0, len(texts), size)]
    return texts


def error_body(message: str) -> bytes:
    """Write `{"error": message}` as the original does: pretty, four spaces, characters as they are."""
    return json.dumps({"error": message}, indent=4, ensure_ascii=False).encode(errors="replace")
