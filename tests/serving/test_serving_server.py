"""The embedded server over HTTP, against answers recorded from TensorFlow Serving 2.20.0 for the same requests."""

import asyncio
import base64
import io
import json
import socket

import httpx
import numpy as np
import pytest
from PIL import Image
from serving_fakes import decoder, running, write_version

from serving.errors import InvalidArgumentError
from serving.server import Limits, _bind, create_app

AVAILABLE = (
    '{\n "model_version_status": [\n  {\n   "version": "1",\n   "state": "AVAILABLE",\n   "status": {\n'
    '    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
)
NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
PREDICT = "/v1/models/dec:predict"
GOOD = '{"instances":[[0,0]]}'


def error(message: str) -> str:
    return '{\n    "error": ' + json.dumps(message) + "\n}"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("GET", "/v1/models/dec", None, 200, AVAILABLE),
        ("GET", "/v1/models/dec/versions/1", None, 200, AVAILABLE),
        ("GET", "/v1/models/dec/labels/stable", None, 200, AVAILABLE),
        ("GET", "/v1/models/dec/METADATA", None, 200, AVAILABLE),
        ("GET", "/v1/models/nope/metadata", None, 404, error("Servable not found for request: Latest(nope)")),
        ("GET", "/v1/models/dec/versions/9", None, 404, error("Could not find version 9 of model dec")),
        ("GET", "/v1/models/nope", None, 404, error("Could not find any versions of model nope")),
        ("GET", "/v1/models/dec?x=1", None, 404, error("Could not find any versions of model dec?x=1")),
        ("GET", "/v1/models/%2e%2e%2fdec", None, 404, error("Could not find any versions of model ../dec")),
        ("GET", "/v1/models", None, 400, error("Missing model name in request.")),
        ("GET", "/v1/foo", None, 400, error("Malformed request: GET /v1/foo")),
        ("GET", PREDICT, None, 400, error(f"Malformed request: GET {PREDICT}")),
        ("PUT", PREDICT, GOOD, 400, error(f"Malformed request: PUT {PREDICT}")),
        ("POST", "/v1/models/dec%3Apredict", GOOD, 400, error("Malformed request: POST /v1/models/dec%3Apredict")),
        ("POST", PREDICT + "?x=1", GOOD, 400, error(f"Malformed request: POST {PREDICT}?x=1")),
        ("POST", "/v1/models/nope:predict", GOOD, 404, error("Servable not found for request: Latest(nope)")),
        ("POST", "/v1/models/..:predict", GOOD, 404, error("Servable not found for request: Latest(..)")),
        ("POST", "/v1/models/%2e%2e:predict", GOOD, 404, error("Servable not found for request: Latest(..)")),
        ("POST", "/v1/models/dec/versions/9:predict", GOOD, 404, error("Servable not found for request: Specific(dec, 9)")),
        ("POST", "/v1/models/dec/labels/stable:predict", GOOD, 400, error("Unrecognized servable version label: stable")),
        ("POST", "/v1/models/dec/versions/99999999999999999999:predict", GOOD, 400, ""),
        ("POST", f"/v1/models/dec/versions/{'9' * 5000}:predict", GOOD, 400, ""),
        ("POST", PREDICT, "hello", 400, error("JSON Parse error: Invalid value. at offset: 0")),
        ("POST", PREDICT, '{"instances":[[0,0],]}', 400, error("JSON Parse error: Invalid value. at offset: 20")),
        ("POST", PREDICT, "", 400, error("JSON Parse error: The document is empty")),
        ("POST", PREDICT, '{"instances":[]}', 400, error("No values in 'instances' array")),
        (
            "POST",
            PREDICT,
            '{"signature_name":"nope","instances":[[0,0]]}',
            400,
            error('Serving signature name: "nope" not found in signature def'),
        ),
        ("HEAD", "/v1/models/dec", None, 400, ""),
        ("OPTIONS", PREDICT, None, 400, ""),
        ("GET", "/healthz", None, 404, NOT_FOUND),
        ("GET", "//v1/models/dec", None, 404, NOT_FOUND),
        ("TRACE", "/v1/models/dec", None, 501, NOT_FOUND.replace("404 ", "501 ").replace("Not Found", "Not Implemented")),
    ],
)
def test_the_answer_is_the_recorded_one(http, method, path, body, status, answer):
    response = http.request(method, f"http://server{path}", content=body)
    assert (response.status_code, response.text) == (status, answer)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"inputs":[[0,0,0]]}', "`z` must have shape [batch, 2] with at least one row, got [1, 3]"),
        ('{"inputs":[0,0]}', "`z` must have shape [batch, 2] with at least one row, got [2]"),
        (
            '{"instances":[0,0]}',
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: `z` must have shape [batch, 2], got [batch]",
        ),
        ('{"inputs":1}', "`z` must have shape [batch, 2] with at least one row, got []"),
        ('{"inputs":[]}', "`z` must have shape [batch, 2] with at least one row, got [0]"),
        ('{"inputs":[[]]}', "`z` must have shape [batch, 2] with at least one row, got [1, 0]"),
        ('{"inputs":[[0,0],[0,NaN]]}', "`z` must be finite, got nan in row 1, column 1"),
        ('{"inputs":[[-Inf,0]]}', "`z` must be finite, got -inf in row 0, column 0"),
        ('{"inputs":[[1e39,0]]}', "`z` must be finite, got inf in row 0, column 0"),
        (
            '{"signature_name":"sample","inputs":{"z":[[0,0]],"seed":[1]}}',
            'Serving signature name: "sample" not found in signature def '
            "(the embedded server runs model.onnx, which holds serving_default and png)",
        ),
    ],
)
def test_what_the_original_would_leave_to_the_graph_is_explained(http, body, message):
    response = http.post(PREDICT, content=body)
    assert (response.status_code, response.json()) == (400, {"error": message})


@pytest.mark.parametrize("signature_name", ["serving_default", "png"])
def test_latents_that_overflow_in_the_model_are_refused(tmp_path, signature_name):
    write_version(tmp_path, model=decoder(2, (28, 28, 1), 0.0, activation="Exp"))
    body = {"signature_name": signature_name, "instances": [[0, 0], [3e38, -3e38]]}
    with running(create_app(tmp_path)) as transport, httpx.Client(transport=transport) as client:
        response = client.post(f"http://server{PREDICT}", json=body)
    message = "`z` is too large for this model, its mean is not finite: in row 1 it reaches 3e+38"
    assert (response.status_code, response.json()) == (400, {"error": message})


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_other_verbs_are_refused(http, verb):
    response = http.post(f"/v1/models/dec:{verb}", content="{}")
    assert response.status_code == 400
    assert "use :predict" in response.json()["error"]


def test_metadata_lists_what_the_embedded_server_can_answer(http):
    answer = http.get("/v1/models/dec/metadata").json()
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert answer["model_spec"] == {"name": "dec", "version": "1", "signature_name": ""}
    assert signatures.keys() == {"serving_default", "png"}
    assert signatures["png"]["inputs"]["z"] == {
        "name": "png_z:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False},
    }
    assert signatures["png"]["outputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert signatures["png"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize("body", [GOOD, '{"inputs":[[0.0,0.0]]}', '{"instances":[{"z":[0.0,0.0]}]}', GOOD + " trailing garbage"])
def test_the_mean_at_the_origin_is_grey(http, body):
    response = http.post(PREDICT, content=body)
    assert response.headers["Content-Type"] == "application/json"
    (values,) = response.json().values()
    np.testing.assert_array_equal(values, np.full((1, 28, 28, 1), 0.5))


def test_png_holds_the_mean_in_256_levels(http):
    body = '{"instances":[[0.3,-1.2],[0,0]]%s}'
    mean = np.array(http.post(PREDICT, content=body % "").json()["predictions"], np.float32)
    files = http.post(PREDICT, content=body % ',"signature_name":"png"').json()["predictions"]
    for file, image in zip(files, mean, strict=True):
        levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(file["b64"]))))
        np.testing.assert_array_equal(levels, np.rint(image[..., 0] * 255))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(models_root, chunked):
    body = GOOD.ljust(2000).encode()
    with running(create_app(models_root, limits=Limits(body_bytes=1000))) as transport, httpx.Client(transport=transport) as client:
        response = client.post(f"http://server{PREDICT}", content=iter([body[:900], body[900:]]) if chunked else body)
        assert response.status_code == 413
        assert response.json() == {"error": "request body is larger than 1000 bytes: send fewer rows per request"}
        assert client.post(f"http://server{PREDICT}", content=GOOD).status_code == 200


def test_more_rows_than_the_limit_are_refused(models_root):
    with running(create_app(models_root, limits=Limits(rows=2))) as transport, httpx.Client(transport=transport) as client:
        assert client.post(f"http://server{PREDICT}", json={"instances": [[0, 0]] * 2}).status_code == 200
        response = client.post(f"http://server{PREDICT}", json={"instances": [[0, 0]] * 3})
    assert response.status_code == 400
    assert response.json() == {"error": "3 rows in one request, at most 2 are answered: send several requests"}


def test_a_failure_inside_is_an_error_in_the_dialect(models_root, monkeypatch, caplog):
    with running(create_app(models_root)) as transport, httpx.Client(transport=transport) as client:
        monkeypatch.setattr("serving.engine.Engine.run", lambda *_: 1 / 0)
        response = client.post(f"http://server{PREDICT}", content=GOOD)
    assert (response.status_code, response.json()) == (500, {"error": "internal error: the server's log says more"})
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "`host` must be an address: 127.0.0.1 for this machine alone, 0.0.0.0 for the network"),
        ("\udcff", "`host` must be an address or a name, got '\\udcff'"),
        ("a\0b", "`host` must be an address or a name, got 'a\\x00b'"),
    ],
)
def test_a_host_that_is_no_address_is_refused(host, message):
    with pytest.raises(InvalidArgumentError) as raised:
        _bind(host, 0)
    assert raised.value.message == message


def test_connections_do_not_wait_for_full_packets():
    """Without TCP_NODELAY, answers of two packets or more stall for 40 ms."""

    async def delays() -> int:
        arrived = asyncio.get_running_loop().create_future()
        with _bind("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(lambda _, writer: arrived.set_result(writer), sock=listener):
                _, client = await asyncio.open_connection(*listener.getsockname())
                writer = await arrived
                nodelay = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                for stream in (writer, client):
                    stream.close()
                    await stream.wait_closed()
        return not nodelay

    assert not asyncio.run(delays())
