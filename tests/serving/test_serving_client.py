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
    np.testing.assert_array_equal(images[[0, 255, 256, 299]], client.decode("dec", z[[0, 255, 256, 299]]))


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


@pytest.mark.parametrize("url", ["", "localhost:8501", "ftp://localhost", "http://", "http://[::1", "http://localhost:port"])
def test_bad_urls_are_refused(url):
    with pytest.raises(InvalidArgumentError, match="`url`"):
        Client(url)


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
        (httpx.Response(502), 1, ServingError, "answered 502: Bad Gateway"),
        (httpx.Response(200, text="<h1>a home page</h1>"), 1, ServingError, "is it a model server"),
        (httpx.Response(200, json={"model_version_status": [{"version": "one"}]}), 1, ServingError, "in another dialect"),
    ],
)
def test_only_an_absent_or_busy_server_is_asked_again(reaction, asked, kind, message):
    script = Script(reaction)
    with pytest.raises(kind) as raised:
        Client("http://server", retries=1, transport=script).status("dec")
    assert message in raised.value.message
    assert type(raised.value) is kind
    assert script.asked == asked


def test_a_model_that_is_no_generator_is_named_as_such(server):
    with pytest.raises(ServingError, match=r"answered /v1/models/dec:predict in another dialect: .* is this a generator\?"):
        Client("http://server", transport=Script(httpx.Response(200, json={"predictions": [1.0, 2.0]}))).decode("dec", np.zeros((2, 2)))
    no_z = httpx.Response(200, json={"model_spec": {"version": "1"}, "metadata": {"signature_def": {"signature_def": {}}}})
    with pytest.raises(InvalidArgumentError, match="no signature serving_default with an input z"):
        Client("http://server", transport=Script(no_z)).generate("dec", 1, 0)


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
