"""The client against the embedded server without sockets, and against servers that misbehave."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image
from serving_fakes import running, write_version

from serving import (
    BodyTooLargeError,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    ServingError,
    UnavailableError,
    VersionStatus,
)
from serving.server import create_app


@pytest.fixture
def client(server):
    with Client("http://server", transport=server) as client:
        yield client


def test_status_and_metadata_are_values(client):
    assert client.status("dec") == [VersionStatus(1, "AVAILABLE")]
    metadata = client.metadata("dec")
    assert metadata.version == 1
    assert metadata.signatures["serving_default"].outputs["mean"].shape == (-1, 28, 28, 1)


def test_decode_and_png_agree(client):
    z = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    images = client.decode("dec", z)
    assert images.shape == (3, 28, 28, 1)
    assert images.dtype == np.float32
    for file, image in zip(client.png("dec", z, version=1), images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), np.rint(image[..., 0] * 255))


def test_a_large_batch_in_pieces_equals_its_rows(client):
    z = np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)
    images = client.decode("dec", z)
    assert images.shape[0] == 300
    np.testing.assert_array_equal(images[[0, 127, 128, 299]], client.decode("dec", z[[0, 127, 128, 299]]))


def test_generate_decodes_the_noise_that_the_seed_gives(client):
    eps = np.random.default_rng(7).standard_normal((5, 2), dtype=np.float32)
    np.testing.assert_array_equal(client.generate("dec", 5, 7), client.decode("dec", eps))
    assert np.any(client.generate("dec", 5, 8) != client.generate("dec", 5, 7))


def test_colour_images_come_as_rgb(tmp_path):
    write_version(tmp_path, "rgb", latent_dim=3, image_shape=(4, 5, 3))
    with running(create_app(tmp_path)) as transport:
        client = Client("http://server", transport=transport)
        assert client.generate("rgb", 2, 0).shape == (2, 4, 5, 3)
        assert Image.open(io.BytesIO(client.png("rgb", np.zeros((1, 3)))[0])).mode == "RGB"


@pytest.mark.parametrize(
    ("ask", "kind", "message"),
    [
        (lambda client: client.status("nope"), NotFoundError, "404: Could not find any versions of model nope"),
        (lambda client: client.status("../dec"), NotFoundError, "404: Could not find any versions of model ../dec"),
        (lambda client: client.generate("nope", 1, 0), NotFoundError, r"404: Servable not found for request: Latest\(nope\)"),
        (lambda client: client.generate("dec", 1, 0, version=9), NotFoundError, r"404: Servable not found for request: Specific\(dec, 9\)"),
        (
            lambda client: client.decode("dec", np.zeros((1, 3))),
            InvalidArgumentError,
            r"`z` must have shape \[batch, 2\], got \[batch, 3\]",
        ),
        (lambda client: client.status("\udcff"), InvalidArgumentError, r"`model` must be Unicode text, got '\\udcff'"),
        (lambda client: client.decode("dec", np.full((1, 2), np.nan)), InvalidArgumentError, "400: `z` must be finite"),
        (lambda client: client.decode("dec", np.zeros((0, 2))), InvalidArgumentError, r"at least one row, got \[0, 2\]"),
        (lambda client: client.decode("dec", np.zeros(2)), InvalidArgumentError, r"`z` must have shape \[batch, latent\]"),
        (lambda client: client.generate("dec", 0, 0), InvalidArgumentError, "`count` must be at least 1"),
        (lambda client: client.generate("dec", 1, -1), InvalidArgumentError, "`seed` at least 0, got 1 and -1"),
    ],
)
def test_errors_carry_the_servers_status_and_message(client, ask, kind, message):
    with pytest.raises(kind, match=message) as raised:
        ask(client)
    assert raised.value.status == kind.status


@pytest.mark.parametrize(
    "url", ["", "localhost:8501", "ftp://localhost", "http://", "http://[::1", "http://localhost:port", "http://\udcff"]
)
def test_bad_urls_are_refused(url):
    with pytest.raises(InvalidArgumentError, match="`url`"):
        Client(url)


def test_a_host_that_only_fails_where_it_is_looked_up_is_refused_too():
    with pytest.raises(InvalidArgumentError, match=r"http://a\.\.b is not an address"):
        Client("http://a..b").status("dec")


class Script(httpx.MockTransport):
    """Plays one reaction after the other, the last for ever."""

    def __init__(self, *reactions: httpx.Response | Exception):
        super().__init__(self._react)
        self.asked = 0
        self._reactions = reactions

    def _react(self, request: httpx.Request) -> httpx.Response:
        reaction = self._reactions[min(self.asked, len(self._reactions) - 1)]
        self.asked += 1
        if isinstance(reaction, Exception):
            raise reaction
        return reaction


GOOD = httpx.Response(200, json={"model_version_status": []})
BUSY = httpx.Response(503, json={"error": "busy"})
DEEP = "[" * 100_000


def test_a_server_that_comes_up_late_is_asked_again():
    script = Script(httpx.ConnectError("refused"), BUSY, GOOD)
    assert Client("http://server", retries=2, transport=script).status("dec") == []
    assert script.asked == 3


@pytest.mark.parametrize(
    ("reaction", "asked", "kind", "message"),
    [
        (httpx.ConnectError("refused"), 2, UnavailableError, "cannot reach http://server: refused"),
        (httpx.ConnectTimeout("slow"), 2, UnavailableError, "cannot reach http://server: slow"),
        (BUSY, 2, UnavailableError, "answered 503: busy"),
        (httpx.ReadTimeout("slow"), 1, DeadlineExceededError, "no answer from http://server in time"),
        (httpx.Response(400, json={"error": "bad"}), 1, InvalidArgumentError, "answered 400: bad"),
        (httpx.Response(413, json={"error": "big"}), 1, BodyTooLargeError, "answered 413: big"),
        (httpx.Response(500, text="<h1>oops</h1>"), 1, ServingError, "answered 500: <h1>oops</h1>"),
        (httpx.Response(400, json={"error": "two\r\n  lines"}), 1, InvalidArgumentError, "answered 400: two lines"),
        (httpx.Response(502), 1, ServingError, "answered 502: Bad Gateway"),
        (httpx.DecodingError("no\ngzip"), 1, ServingError, "http://server gave an answer that cannot be read: no gzip"),
        (httpx.Response(200, text=DEEP), 1, ServingError, "in another dialect"),
        (httpx.Response(200, text='{"model_version_status": [{"version": 1e999}]}'), 1, ServingError, "in another dialect"),
        (httpx.Response(200, text="<h1>a home page</h1>"), 1, ServingError, "is it a model server"),
        (httpx.Response(200, json={"model_version_status": [{"version": "one"}]}), 1, ServingError, "in another dialect"),
    ],
)
def test_only_an_absent_or_busy_server_is_asked_again(reaction, asked, kind, message):
    script = Script(reaction)
    with pytest.raises(kind) as raised:
        Client("http://server", retries=1, transport=script).status("dec")
    assert message in raised.value.message
    assert "\n" not in raised.value.message
    assert type(raised.value) is kind
    assert script.asked == asked


def test_a_model_that_is_no_generator_is_named_as_such(server):
    with pytest.raises(ServingError, match=r"answered /v1/models/dec:predict in another dialect: .* is this a generator\?"):
        Client("http://server", transport=Script(httpx.Response(200, json={"predictions": [1.0, 2.0]}))).decode("dec", np.zeros((2, 2)))
    no_z = httpx.Response(200, json={"model_spec": {"version": "1"}, "metadata": {"signature_def": {"signature_def": {}}}})
    with pytest.raises(InvalidArgumentError, match="no signature serving_default with an input z"):
        Client("http://server", transport=Script(no_z)).generate("dec", 1, 0)


@pytest.mark.parametrize(("page", "start"), [(DEEP, "[" * 200), ("<html>\n" + "<p>oops\n" * 999, "<html>" + " <p>oops" * 24 + " <")])
def test_pages_in_place_of_an_error_are_cut(page, start):
    with pytest.raises(ServingError) as raised:
        Client("http://server", transport=Script(httpx.Response(500, text=page))).status("dec")
    assert raised.value.message == f"http://server answered 500: {start}"


IMAGE = [[[0.5]]]


def answer(*predictions: object) -> httpx.Response:
    return httpx.Response(200, json={"predictions": predictions})


@pytest.mark.parametrize(
    "predictions", [[], [IMAGE], [IMAGE] * 3, [[[[]]]] * 2, [IMAGE, [[[0.5, 0.5]]]], [10**400] * 2, [{"b64": "AA=="}] * 2, [None] * 2]
)
def test_answers_that_are_not_one_image_per_row_are_refused(predictions):
    with pytest.raises(ServingError, match="in another dialect"):
        Client("http://server", transport=Script(answer(*predictions))).decode("dec", np.zeros((2, 2)))


@pytest.mark.parametrize("item", [{"b64": "A*A=="}, {"b64": "AAA"}, {"b64": 1}, {}, "AA==", [0.5]])
def test_answers_that_are_no_files_are_refused(item):
    with pytest.raises(ServingError, match="in another dialect"):
        Client("http://server", transport=Script(answer(item))).png("dec", np.zeros((1, 2)))


def test_pieces_of_different_shapes_are_refused():
    script = Script(answer(*[IMAGE] * 128), answer(*[[[[0.5, 0.5]]]] * 128))
    with pytest.raises(ServingError, match=r"answered with images of several shapes: was dec replaced\? Name its `version`"):
        Client("http://server", transport=script).decode("dec", np.zeros((256, 2)))


@pytest.mark.parametrize("size", [-1, 0, 1_000_001, 10**30])
def test_a_latent_size_that_no_model_has_is_refused(size):
    z = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": str(size)}]}}
    signatures = {"serving_default": {"inputs": {"z": z}, "outputs": {}}}
    hostile = httpx.Response(200, json={"model_spec": {"version": "1"}, "metadata": {"signature_def": {"signature_def": signatures}}})
    with pytest.raises(InvalidArgumentError, match=f"must be from 1 to 1000000, the server says {size}"):
        Client("http://server", transport=Script(hostile)).generate("dec", 1, 0)


def test_generate_survives_a_version_that_is_replaced_after_its_metadata(tmp_path):
    write_version(tmp_path, version=1)
    with running(create_app(tmp_path, poll_s=0.01)) as transport:

        class Replaced(httpx.BaseTransport):
            predicted = 0

            def handle_request(self, request: httpx.Request) -> httpx.Response:
                self.predicted += request.method == "POST"
                if self.predicted == 1 and request.method == "POST":
                    return httpx.Response(404, json={"error": "Servable not found for request: Specific(dec, 1)"})
                return transport.handle_request(request)

        replaced = Replaced()
        assert Client("http://server", transport=replaced).generate("dec", 1, 0).shape == (1, 28, 28, 1)
        assert replaced.predicted == 2
