"""Models with labels: classes and vectors, from the client to the graph."""

import io
import json

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from serving_fakes import decoder, running, write_version

from serving import Client, InvalidArgumentError
from serving.cli import main
from serving.server import create_app

Z = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
CLASSES, VECTORS = np.array([0, 2, 1]), np.array([[0.5, 1, 0], [0, 0, 0], [-1, 0.25, 3]], np.float32)


@pytest.fixture(scope="module")
def transport(tmp_path_factory):
    """A running server of `classes` (3 of them), `vectors` (3 numbers), `long` (6), `plain`, and `overflowing`, which has no sigmoid."""
    root = tmp_path_factory.mktemp("labelled")
    write_version(root, "classes", image_shape=(4, 4, 1), label={"kind": "class", "size": 3, "names": ["a", "b", "c"]})
    write_version(root, "vectors", image_shape=(4, 4, 1), label={"kind": "vector", "size": 3})
    write_version(root, "long", image_shape=(4, 4, 1), label={"kind": "vector", "size": 6})
    write_version(root, "plain", image_shape=(4, 4, 1))
    vector = {"kind": "vector", "size": 3}
    write_version(root, "overflowing", image_shape=(4, 4, 1), label=vector, model=decoder(2, (4, 4, 1), 0.0, "Identity", vector))
    with running(create_app(root)) as transport:
        yield transport


@pytest.fixture
def client(transport):
    with Client("http://server", transport=transport) as client:
        yield client


def logits(images):
    return np.log(images) - np.log1p(-images)


@pytest.mark.parametrize(("model", "label", "shift"), [("classes", CLASSES, CLASSES), ("vectors", VECTORS, VECTORS.sum(1))])
def test_each_row_is_decoded_with_its_own_label(client, model, label, shift):
    expected = logits(client.decode("plain", Z)) + shift[:, None, None, None]
    images = client.decode(model, Z, label)
    np.testing.assert_allclose(logits(images), expected, atol=1e-4)
    for file, image in zip(client.png(model, Z, label), images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), np.rint(image[..., 0] * 255))


@pytest.mark.parametrize(("model", "one", "each"), [("classes", 2, [2] * 5), ("vectors", VECTORS[2], [VECTORS[2]] * 5)])
def test_a_label_is_one_for_all_images_or_one_for_each(client, model, one, each):
    images = client.generate(model, 5, 7, one)
    eps = np.random.default_rng(7).standard_normal((5, 2), dtype=np.float32)
    np.testing.assert_array_equal(images, client.generate(model, 5, 7, each))
    np.testing.assert_array_equal(images, client.decode(model, eps, each))
    assert np.any(images != client.generate(model, 5, 7, np.zeros_like(one)))


def test_one_class_is_for_all_rows(client):
    np.testing.assert_array_equal(client.decode("classes", Z, 1), client.decode("classes", Z, [1, 1, 1]))


def test_labels_keep_to_their_rows_in_a_large_batch(client):
    z, label = np.zeros((300, 2), np.float32), np.arange(300) % 3
    np.testing.assert_allclose(logits(client.decode("classes", z, label))[:, 0, 0, 0], label, atol=1e-4)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda client: client.generate("classes", 2, 0), "`label` must be given: classes takes the number of a class for each image"),
        (lambda client: client.generate("vectors", 2, 0), "`label` must be given: vectors takes 3 numbers for each image"),
        (lambda client: client.generate("plain", 2, 0, 1), "`label` must be left out: plain takes none"),
        (lambda client: client.decode("classes", Z), "`label` must be given: classes takes the number of a class for each image"),
        (lambda client: client.png("plain", Z, CLASSES), "`label` must be left out: plain takes none"),
        (lambda client: client.decode("classes", Z, [0, 1]), r"`label` must have one row per row of `z`, 3, got \[2\]"),
        (lambda client: client.decode("classes", Z, ["a", "b", "c"]), "`label` must hold numbers, got <U1"),
        (lambda client: client.decode("classes", Z, [0, 1, 3]), "`label` must be a class from 0 to 2, got 3 in row 2"),
        (lambda client: client.decode("classes", Z, -1), "`label` must be a class from 0 to 2, got -1 in row 0"),
        (lambda client: client.decode("classes", Z, 0.5), "Type: Number is not of expected type: int32"),
        (lambda client: client.decode("classes", Z, np.zeros((3, 3), int)), r"`label` must have shape \[batch\], got \[batch, 3\]"),
        (lambda client: client.decode("vectors", Z, CLASSES), r"`label` must have shape \[batch, 3\], got \[batch\]"),
        (lambda client: client.decode("vectors", Z, VECTORS * np.nan), "`label` must be finite, got nan in row 0, column 0"),
        (lambda client: client.generate("classes", 2, 0, 0.5), "`label` must be the number of a class for each image, a whole number"),
        (
            lambda client: client.generate("classes", 4, 0, CLASSES),
            r"`label` must be the number of a class for all images, or an array \[4\] for each, got \[3\]",
        ),
        (
            lambda client: client.generate("vectors", 4, 0, VECTORS),
            r"`label` must be 3 numbers for all images, or an array \[4, 3\] for each, got \[3, 3\]",
        ),
    ],
)
def test_a_label_that_the_model_does_not_take_is_refused_in_words(client, ask, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ask(client)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"instances": [{"z": [0, 0], "label": 1}]}, 200),
        ({"inputs": {"z": [[0, 0]], "label": [1]}}, 200),
        ({"signature_name": "png", "inputs": {"z": [[0, 0]], "label": [1]}}, 200),
        ({"inputs": {"z": [[0, 0]], "label": 1}}, "`label` must have shape [batch] with one row per row of `z`, got []"),
        ({"inputs": {"z": [[0, 0]], "label": [1, 1]}}, "`label` must have shape [batch] with one row per row of `z`, got [2]"),
        ({"inputs": {"z": [[0, 0]], "label": []}}, "`label` must have shape [batch] with one row per row of `z`, got [0]"),
        ({"inputs": {"z": [[0, 0]], "label": [1.0]}}, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ({"inputs": {"z": [[0, 0]]}}, "Missing named input: label in 'inputs' object."),
        ({"inputs": [[0, 0]]}, "inputs is a plain value/list, but expecting an object as multiple input tensors required"),
    ],
)
def test_both_formats_of_a_request_carry_labels(transport, body, status):
    with httpx.Client(base_url="http://server", transport=transport) as http:
        response = http.post("/v1/models/classes:predict", content=json.dumps(body))
    if isinstance(status, str):
        assert response.status_code == 400
        assert response.json()["error"].startswith(status)
    else:
        assert response.status_code == status


def test_metadata_says_what_a_label_looks_like(client):
    specs = {model: client.metadata(model).signatures["png"].inputs["label"] for model in ("classes", "vectors")}
    assert {model: str(spec) for model, spec in specs.items()} == {"classes": "int32 [-1]", "vectors": "float32 [-1, 3]"}


def test_a_label_vector_that_overflows_the_mean_is_named(client):
    with pytest.raises(InvalidArgumentError, match="`label` is too large for this model, its mean is not finite: in row 1 it reaches 3e"):
        client.decode("overflowing", Z[:2], np.float32([[0, 0, 0], [3e38, 3e38, 3e38]]))


@pytest.mark.parametrize(
    ("model", "given", "label", "said"),
    [("classes", "2", 2, ", label 2"), ("vectors", "0.5,1,-2", [0.5, 1, -2], ", label 0.5,1,-2"), ("plain", None, None, "")],
)
def test_generate_takes_a_label_on_the_command_line(client, transport, tmp_path, monkeypatch, model, given, label, said):
    monkeypatch.setattr("serving.client.Client", lambda url: Client(url, transport=transport))
    arguments = ["generate", "--model", model, "--count", "4", "--seed", "3", "--out", str(tmp_path / "x.png")]
    done = CliRunner().invoke(main, arguments + (["--label", given] if given else []))
    assert (done.exit_code, done.output) == (
        0,
        f"wrote {tmp_path / 'x.png'}: 4 images 4x4x1 of {model} from http://localhost:8501, seed 3{said}\n",
    )
    first = np.asarray(Image.open(tmp_path / "x.png"))[:56:14, :56:14]
    np.testing.assert_array_equal(first, np.rint(255 * client.generate(model, 4, 3, label)[0, ..., 0]))


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (
            "classes",
            [],
            "error: `label` must be given: classes takes the number of a class for each image, for example `--label 0`; "
            "MODEL_CARD.md of the model lists the classes\n",
        ),
        ("vectors", [], "error: `label` must be given: vectors takes 3 numbers for each image, for example `--label 0,0,0`\n"),
        ("long", [], "long takes 6 numbers for each image, for example `--label 0,0,0,0,...`\n"),
        ("plain", ["--label", "1"], "error: `label` must be left out: plain takes none"),
        (
            "classes",
            ["--label", "two"],
            "error: `label` must be a number, or numbers with commas between them, got 'two'; a class is given by its number",
        ),
        ("classes", ["--label", "9"], "`label` must be a class from 0 to 2, got 9 in row 0"),
        ("vectors", ["--label", "1,,2"], "error: `label` must be a number, or numbers with commas between them, got '1,,2'"),
        ("vectors", ["--label", "1,2"], "`label` must be 3 numbers for all images"),
        ("vectors", ["--label", "1,2,nan"], "`label` must be finite"),
    ],
)
def test_a_bad_label_on_the_command_line_is_answered_in_one_line(transport, tmp_path, monkeypatch, model, given, message):
    monkeypatch.setattr("serving.client.Client", lambda url: Client(url, transport=transport))
    done = CliRunner().invoke(main, ["generate", "--model", model, "--out", str(tmp_path / "x.png"), *given])
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
