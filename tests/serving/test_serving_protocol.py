"""The dialect as pure functions, against answers recorded from TensorFlow Serving 2.20.0."""

import json

import numpy as np
import pytest

from serving.description import Metadata, VersionStatus, metadata_answer, read_metadata, read_status, status_answer
from serving.errors import InvalidArgumentError
from serving.jsontext import float_texts, parse
from serving.manifest import Signature, TensorSpec
from serving.protocol import parse_predict, predict_answer, read_tensors
from serving.target import Target, parse_target

Z = {"z": TensorSpec(dtype="float32", shape=(-1, 2))}
SCALED = {**Z, "scale": TensorSpec(dtype="float32", shape=(-1,))}
INTS = {"k": TensorSpec(dtype="int32", shape=(-1,))}
NO_INPUT = "of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input:"
ELEMENT_0 = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "


def tensors(body: str, inputs: dict[str, TensorSpec] = Z, most_rows: int = 4) -> dict[str, np.ndarray]:
    return read_tensors(parse_predict(body.encode()), inputs, most_rows)


def test_floats_are_written_as_recorded():
    sent = [0, 1, -0.0, 0.1, 1e6, 9000000, 123456789, 0.00003, 3.4028235e38, 0.33333334, 16777217, 1435774380, 2.5e-7, 1000000.5]
    recorded = "0.0 1.0 -0.0 0.1 1e+06 9e+06 123456792.0 3e-05 3.40282347e+38 0.333333343 16777216.0 1.43577434e+09 2.5e-07 1000000.5"
    assert float_texts(np.array(sent, np.float32)) == recorded.split()
    assert float_texts(np.array([np.nan, np.inf, -np.inf], np.float32)) == ["NaN", "Infinity", "-Infinity"]


def test_every_float32_comes_back_bit_for_bit():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    back = np.array([float(text) for text in float_texts(values)]).astype(np.float32)
    np.testing.assert_array_equal(back.view(np.uint32), values.view(np.uint32))


def test_row_and_columnar_answers_hold_the_same_numbers():
    mean = np.random.default_rng(0).random((3, 4, 4, 1), dtype=np.float32)
    row = json.loads(predict_answer({"mean": mean}, row=True))
    column = json.loads(predict_answer({"mean": mean}, row=False))
    assert row.keys() == {"predictions"}
    assert column.keys() == {"outputs"}
    np.testing.assert_array_equal(np.array(row["predictions"], np.float32), mean)
    np.testing.assert_array_equal(np.array(column["outputs"], np.float32), mean)


def test_several_outputs_are_named_as_recorded():
    outputs = {"first3": np.full((1, 3), 0.5, np.float32), "mean": np.array([0.5], np.float32)}
    assert json.loads(predict_answer(outputs, row=True)) == {"predictions": [{"first3": [0.5, 0.5, 0.5], "mean": 0.5}]}
    assert json.loads(predict_answer(outputs, row=False)) == {"outputs": {"first3": [[0.5, 0.5, 0.5]], "mean": [0.5]}}


def test_bytes_are_written_in_base64():
    outputs = {"image_bytes": np.array([b"abc", b"\x00"], dtype=object)}
    assert json.loads(predict_answer(outputs, row=True)) == {"predictions": [{"b64": "YWJj"}, {"b64": "AA=="}]}


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [[1, 2], [3, 4.5]]}',
        '{"inputs": [[1, 2], [3, 4.5]]}',
        '{"instances": [{"z": [1, 2]}, {"z": [3, 4.5]}]}',
        '{"inputs": {"z": [[1, 2], [3, 4.5]], "unknown names": "are ignored here"}}',
        '\n{"other keys": null, "instances": [[1, 2], [3, 4.5]]} and text after it',
    ],
)
def test_all_forms_of_a_request_give_the_same_tensor(body):
    z = tensors(body)["z"]
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, [[1, 2], [3, 4.5]])


def test_two_inputs_are_read_by_name_in_both_formats():
    for body in ('{"instances": [{"z": [1, 2], "scale": 3}]}', '{"inputs": {"z": [[1, 2]], "scale": [3]}}'):
        read = tensors(body, SCALED)
        np.testing.assert_array_equal(read["z"], [[1, 2]])
        np.testing.assert_array_equal(read["scale"], [3])


def test_all_spellings_of_numbers_without_a_value_are_read():
    values = parse(b'[NaN, Infinity, -Infinity, Inf, -Inf, "Inf", "a\\" Inf"]')
    np.testing.assert_array_equal(values[:5], [np.nan, np.inf, -np.inf, np.inf, -np.inf])
    assert values[5:] == ["Inf", 'a" Inf']


def test_a_string_without_an_end_is_passed_over_in_one_step():
    with pytest.raises(InvalidArgumentError, match="Missing a closing quotation mark in string"):
        parse(b'{"a":Inf,"b":"' + b'\\"' * 300_000)  # a step per quote would take hours


@pytest.mark.parametrize(
    ("body", "inputs", "message"),
    [
        ('{"instances":[[0,0],[0,0],[0,0],"never read"]}', Z, "4 rows in one request, at most 3 are answered: send several requests"),
        ('{"inputs":[[0,0],[0,0],[0,0],"never read"]}', Z, "4 rows in one request, at most 3 are answered: send several requests"),
        (
            '{"inputs":{"z":[[0,0]],"scale":[1,1,1,"never read"]}}',
            SCALED,
            "4 rows in one request, at most 3 are answered: send several requests",
        ),
        ('{"inputs":[[0,0,0,0,0,0,"never read"]]}', Z, "7 numbers in one tensor, at most 6 are read"),
        ('{"instances":[[0,0,0,0,0,0,"never read"]]}', Z, ELEMENT_0 + "7 numbers in one tensor, at most 6 are read"),
        ('{"instances":[0,"never read"]}', Z, ELEMENT_0 + "`z` must have shape [batch, 2], got [batch]"),
        ('{"instances":[[0,0,0],"never read"]}', Z, ELEMENT_0 + "`z` must have shape [batch, 2], got [batch, 3]"),
        (
            '{"instances":[{"z":[0,0],"scale":[1]}]}',
            SCALED,
            ELEMENT_0.replace("0 of", "0 key: scale of") + "`scale` must have shape [batch], got [batch, 1]",
        ),
    ],
)
def test_what_asks_for_too_much_is_refused_before_it_is_read(body, inputs, message):
    with pytest.raises(InvalidArgumentError) as raised:
        tensors(body, inputs, most_rows=3)
    assert raised.value.message == message


def test_a_number_beyond_float32_is_infinity():
    np.testing.assert_array_equal(tensors('{"inputs": [[1e39, 0]]}')["z"], [[np.inf, 0]])


@pytest.mark.parametrize(
    ("body", "inputs", "message"),
    [
        ("", Z, "JSON Parse error: The document is empty"),
        (" \n", Z, "JSON Parse error: The document is empty"),
        ("hello", Z, "JSON Parse error: Invalid value. at offset: 0"),
        ('{"instances":[[0,0],]}', Z, "JSON Parse error: Invalid value. at offset: 20"),
        ('{"instances":[0 0]}', Z, "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16"),
        ('{"instances":[0] 0}', Z, "JSON Parse error: Missing a comma or '}' after an object member. at offset: 17"),
        ("{'instances':[0]}", Z, "JSON Parse error: Missing a name for object member. at offset: 1"),
        ('{"instances":[-Inf', Z, "JSON Parse error: Missing a comma or ']' after an array element. at offset: 23"),
        ("[" * 100_000, Z, "JSON Parse error: The document is nested too deeply"),
        ('{"inputs":[[' + "9" * 400 + ",0]]}", Z, "JSON Parse error: Number too big to be stored in double."),
        ('{"inputs":[[' + "9" * 5000 + ",0]]}", Z, "JSON Parse error: Number too big to be stored in double."),
        ("[[0,0]]", Z, "JSON Value: [[0, 0]] Is not object"),
        ('{"data":[[0,0]]}', Z, "Missing 'inputs' or 'instances' key"),
        (
            '{"instances":[[0,0]],"inputs":[[0,0]]}',
            Z,
            'JSON Value: {\n    "instances": [[0, 0]],\n    "inputs": [[0, 0]]\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
        ('{"instances":5}', Z, "JSON Value: {\n    \"instances\": 5\n} Expecting 'instances' to be an list/array"),
        ('{"instances":[]}', Z, "No values in 'instances' array"),
        ('{"instances":[["a","b"]]}', Z, ELEMENT_0 + 'JSON Value: "a" Type: String is not of expected type: float'),
        ('{"inputs":[["a","b"]]}', Z, 'JSON Value: "a" Type: String is not of expected type: float'),
        ('{"instances":[[null,0]]}', Z, ELEMENT_0 + "JSON Value: null Type: Null is not of expected type: float"),
        ('{"instances":[[true,0]]}', Z, ELEMENT_0 + "JSON Value: true Type: True is not of expected type: float"),
        ('{"instances":[[{"a":1},0]]}', Z, ELEMENT_0 + 'JSON Value: {\n    "a": 1\n} Type: Object is not of expected type: float'),
        ('{"instances":[3000000000]}', INTS, ELEMENT_0 + "JSON Value: 3000000000 Type: Number is not of expected type: int32"),
        ('{"instances":[1.0]}', INTS, ELEMENT_0 + "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ('{"instances":[[0,0],[0]]}', Z, ELEMENT_0.replace("0 of", "1 of") + "Expecting tensor size: 2 but got: 1"),
        ('{"inputs":[[0,0],[0]]}', Z, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"inputs":[0,[0]]}', Z, "Encountered list at unexpected level: 1 expected < 1"),
        ('{"inputs":[[0],0]}', Z, "JSON Value: 0 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ('{"inputs":' + "[" * 40 + "]" * 40 + "}", Z, "JSON Value: " + "[" * 40 + "]" * 40 + " is nested deeper than 32 levels"),
        (
            '{"signature_name":1,"instances":[[0,0]]}',
            Z,
            'JSON Value: {\n    "signature_name": 1,\n    "instances": [[0, 0]]\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        (
            '{"instances":[{"zz":[0,0]}]}',
            Z,
            f"Failed to process element: 0 key: zz {NO_INPUT} zz",
        ),
        (
            '{"instances":[{"z":[0,0],"q":1}]}',
            Z,
            f"Failed to process element: 0 key: q {NO_INPUT} q",
        ),
        (
            '{"instances":[{"b64":5}]}',
            Z,
            f"Failed to process element: 0 key: b64 {NO_INPUT} b64",
        ),
        (
            '{"instances":[{"z":[0,0]}]}',
            SCALED,
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"z\": [0, 0]\n} keys must be equal to: scale,z",
        ),
        (
            '{"instances":[[0,0]]}',
            SCALED,
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
        ),
        (
            '{"inputs":[[0,0]]}',
            SCALED,
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
        ),
        ('{"instances":[{"z":[0,0]},[0,0]]}', Z, "Expecting object but got list at item 1 of input list"),
        ('{"instances":[[0,0],{"z":[0,0]}]}', Z, "Expecting value/list but got object at item 1 of input list"),
        ('{"inputs":{"zz":[[0,0]]}}', Z, "Missing named input: z in 'inputs' object."),
        ('{"inputs":{"z":[[1,2]]}}', SCALED, "Missing named input: scale in 'inputs' object."),
    ],
)
def test_bad_bodies_are_refused_in_the_words_of_the_original(body, inputs, message):
    with pytest.raises(InvalidArgumentError) as raised:
        tensors(body, inputs)
    assert raised.value.message == message


def test_quoted_json_is_cut_after_256_bytes():
    with pytest.raises(InvalidArgumentError) as raised:
        tensors(json.dumps(list(range(1000))))
    quoted = raised.value.message.removeprefix("JSON Value: ").removesuffix(" Is not object")
    assert quoted == json.dumps(list(range(1000)))[:256]


def test_invalid_utf8_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"Invalid encoding in string\. at offset: 1"):
        parse(b'"\xff"')


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/v1/models/dec", Target("status", "dec")),
        ("GET", "/v1/models/dec/versions/007", Target("status", "dec", 7)),
        ("GET", f"/v1/models/dec/versions/{'0' * 5000}1", Target("status", "dec", 1)),
        ("GET", "/v1/models/dec/versions/000", Target("status", "dec", 0)),
        ("GET", "/v1/models/dec/labels/stable", Target("status", "dec", label="stable")),
        ("GET", "/v1/models/dec/metadata", Target("metadata", "dec")),
        ("GET", "/v1/models/dec/METADATA", Target("status", "dec")),
        ("GET", "/v1/models/dec?x=1", Target("status", "dec?x=1")),
        ("POST", "/V1/MODELS/dec:predict", Target("predict", "dec")),
        ("POST", "/v1/models/dec/versions/3:predict", Target("predict", "dec", 3)),
        ("POST", "/v1/models/a%20b/labels/c%20d:predict", Target("predict", "a b", label="c d")),
    ],
)
def test_paths_are_read_as_the_original_does(method, path, target):
    assert parse_target(method, path) == target


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/dec:predict?x=1"),
        ("POST", "/V1/MODELS/dec:PREDICT"),
        ("POST", "/v1/models/dec%3Apredict"),
        ("POST", "/v1/models/dec/versions/abc:predict"),
        ("POST", "/v1/models/../dec:predict"),
        ("POST", "/v1/models/dec"),
        ("GET", "/v1/models/dec:predict"),
        ("GET", "/v1/models/dec/"),
        ("GET", "/v1/foo"),
        ("PUT", "/v1/models/dec:predict"),
        ("DELETE", "/v1/models/dec"),
    ],
)
def test_other_paths_are_malformed(method, path):
    with pytest.raises(InvalidArgumentError) as raised:
        parse_target(method, path)
    assert raised.value.message == f"Malformed request: {method} {path}"


def test_status_and_metadata_survive_the_way_to_the_client():
    statuses = [VersionStatus(2, "END", "FAILED_PRECONDITION", "why"), VersionStatus(1, "AVAILABLE")]
    assert read_status(json.loads(status_answer(statuses))) == statuses
    metadata = Metadata(3, {"png": Signature(inputs=Z, outputs={"image_bytes": TensorSpec(dtype="string", shape=(-1,))})})
    assert read_metadata(json.loads(metadata_answer("dec", metadata))) == metadata
