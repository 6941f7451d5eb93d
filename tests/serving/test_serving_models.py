"""Versions come and go under a running server."""

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from serving_fakes import decoder, running, write_version

from serving import Client, InvalidArgumentError, NotFoundError
from serving.models import Models
from serving.repository import list_models, list_versions
from serving.server import create_app

ORIGIN = np.zeros((1, 2), np.float32)
SIGNATURE = ("signatures", "serving_default")
Z_SPEC = {"dtype": "float32", "shape": [-1, 2]}


def refreshed(root: Path) -> Models:
    models = Models(root)
    models.refresh()
    return models


def states(models: Models) -> dict[int, str]:
    return {status.version: status.state for status in models.status("dec")}


def test_a_new_version_takes_over_and_not_one_request_fails(models_root):
    answers: list[float] = []
    stop = threading.Event()

    def ask(client: Client) -> None:
        while not stop.is_set():
            answers.append(float(client.decode("dec", ORIGIN)[0, 0, 0, 0]))

    with running(create_app(models_root, poll_s=0.01)) as transport:
        # No retries: a dropped request would end its thread.
        client = Client("http://server", retries=0, transport=transport)
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answers) > 20)
        write_version(models_root, version=2, bias=50.0)
        wait_for(lambda: answers[-1] == 1.0)
        after_the_swap = len(answers)
        wait_for(lambda: len(answers) > after_the_swap + 20)
        assert all(thread.is_alive() for thread in threads)
        stop.set()
        for thread in threads:
            thread.join()
        assert [(status.version, status.state) for status in client.status("dec")] == [(2, "AVAILABLE"), (1, "END")]
    assert set(answers) == {0.5, 1.0}


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.005)


def test_a_request_in_flight_keeps_its_version(models_root):
    models = refreshed(models_root)
    held = models.find("dec")
    write_version(models_root, version=2, bias=50.0)
    models.refresh()
    assert models.find("dec").version == 2
    assert held.engine.run("serving_default", {"z": ORIGIN})["mean"][0, 0, 0, 0] == 0.5


def test_the_serving_version_is_addressed_by_number_and_others_are_not(models_root):
    write_version(models_root, version=2)
    models = refreshed(models_root)
    assert models.find("dec", 2).version == 2
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Specific\(dec, 1\)"):
        models.find("dec", 1)


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:100])


def edit_manifest(folder: Path, *keys: str, value: object) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(document))


def flip_a_bit(folder: Path) -> None:
    path = folder / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_weights(folder: Path) -> None:
    (folder / "variables/variables.index").write_bytes(b"wei")


def lead_outside(folder: Path) -> None:
    outside = folder.parent.parent.parent / "outside.onnx"
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove_manifest, "no manifest.json in"),
        (cut_manifest, "manifest.json: Invalid JSON"),
        (lambda folder: edit_manifest(folder, "schema_version", value=2), "`schema_version`: Input should be 1"),
        (
            lambda folder: edit_manifest(folder, "generator", "latent_dim", value=0),
            "`generator.latent_dim`: Input should be greater than 0",
        ),
        (lambda folder: edit_manifest(folder, "formats", value={}), "holds no model.onnx"),
        (
            lambda folder: edit_manifest(folder, "files", "../../secret", value={"sha256": "0" * 64, "bytes": 1}),
            "outside the version folder",
        ),
        (
            lambda folder: edit_manifest(folder, "generator", "image_shape", value=[4, 4, 1]),
            "must be z float32 [-1, 2] -> mean float32 [-1, 4, 4, 1], got z float32 [-1, 2] -> mean float32 [-1, 28, 28, 1]: export",
        ),
        (lambda folder: edit_manifest(folder, "generator", "latent_dim", value=3), "must be z float32 [-1, 3] -> mean"),
        (lambda folder: edit_manifest(folder, *SIGNATURE, "inputs", value={"x": Z_SPEC}), "got x float32 [-1, 2] -> mean"),
        (
            lambda folder: edit_manifest(folder, *SIGNATURE, "inputs", value={"z": Z_SPEC, "seed": Z_SPEC}),
            "got z float32 [-1, 2], seed float32 [-1, 2] -> mean",
        ),
        (lambda folder: edit_manifest(folder, *SIGNATURE, "inputs", "z", "dtype", value="float64"), "got z float64 [-1, 2] -> mean"),
        (lambda folder: edit_manifest(folder, *SIGNATURE, "inputs", "z", "shape", value=[2]), "got z float32 [2] -> mean"),
        (lambda folder: edit_manifest(folder, *SIGNATURE, "outputs", "mean", "dtype", value="float64"), "-> mean float64 [-1, 28, 28, 1]"),
        (
            lambda folder: edit_manifest(folder, "signatures", "png", "outputs", value={"file": {"dtype": "string", "shape": [-1]}}),
            "must be z float32 [-1, 2] -> image_bytes string [-1], got z float32 [-1, 2] -> file string [-1]",
        ),
        (lambda folder: edit_manifest(folder, "files", value={}), "has no checksum of model.onnx"),
        (
            lambda folder: edit_manifest(folder, "generator", "label", value={"kind": "class", "size": 10}),
            "must be z float32 [-1, 2], label int32 [-1] -> mean float32 [-1, 28, 28, 1], got z float32 [-1, 2] -> mean",
        ),
        (lambda folder: edit_manifest(folder, "generator", "label", value={"kind": "word", "size": 10}), "`generator.label.kind`: Input"),
        (flip_a_bit, "the checksum of"),
        (cut_weights, "holds 3 bytes, its manifest says 7"),
        (lambda folder: (folder / "saved_model.pb").unlink(), "cannot be read"),
        (lead_outside, "outside the version folder"),
    ],
)
def test_a_broken_version_is_reported_and_the_old_one_keeps_serving(models_root, harm, message):
    models = refreshed(models_root)
    hidden = write_version(models_root, version=2).rename(models_root / "dec" / ".harmed")
    harm(hidden)
    hidden.rename(models_root / "dec" / "2")
    models.refresh()
    broken, serving = models.status("dec")
    assert (broken.version, broken.state, broken.error_code) == (2, "END", "FAILED_PRECONDITION")
    assert message in broken.error_message
    assert (serving.version, serving.state) == (1, "AVAILABLE")
    assert models.find("dec").version == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", "ONNX Runtime cannot load"),
        (b"no protobuf", "ONNX Runtime cannot load"),
        (decoder(3, (28, 28, 1), 0.0), "cannot answer a first request"),
        (decoder(2, (4, 4, 1), 0.0), "must give finite float32 images [28, 28, 1], gave float32 [4, 4, 1]"),
        (decoder(2, (28, 28, 1), float("nan")), "must give finite float32 images"),
        (decoder(2, (28, 28, 1), 0.0, label={"kind": "class", "size": 10}), "cannot answer a first request"),
    ],
)
def test_a_graph_that_cannot_answer_is_refused(models_root, model, message):
    write_version(models_root, version=2, model=model)
    models = refreshed(models_root)
    assert message in models.status("dec", 2)[0].error_message
    assert models.find("dec").version == 1


def test_a_broken_version_is_tried_again_when_its_files_change(models_root):
    folder = write_version(models_root, version=2)
    whole = (folder / "model.onnx").read_bytes()
    flip_a_bit(folder)
    models = refreshed(models_root)
    assert models.find("dec").version == 1
    (folder / "model.onnx").write_bytes(whole)
    models.refresh()
    assert models.find("dec").version == 2


def test_a_broken_version_is_not_tried_again_without_a_change(models_root, caplog):
    remove_manifest(write_version(models_root, version=2))
    models = refreshed(models_root)
    caplog.clear()
    models.refresh()
    assert not caplog.records


def test_removing_the_newest_folder_rolls_back(models_root):
    write_version(models_root, version=2)
    models = refreshed(models_root)
    shutil.rmtree(models_root / "dec" / "2")
    models.refresh()
    assert models.find("dec").version == 1
    assert states(models) == {2: "END", 1: "AVAILABLE"}


def test_a_removed_version_keeps_serving_while_only_broken_ones_are_left(models_root):
    write_version(models_root, version=2)
    models = refreshed(models_root)
    remove_manifest(models_root / "dec" / "1")
    shutil.rmtree(models_root / "dec" / "2")
    models.refresh()
    assert models.find("dec").version == 2
    assert states(models) == {2: "AVAILABLE", 1: "END"}


def test_removing_all_unloads_and_a_returning_folder_is_served_again(models_root):
    models = refreshed(models_root)
    shutil.rmtree(models_root / "dec")
    models.refresh()
    assert states(models) == {1: "END"}
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Latest\(dec\)"):
        models.find("dec")
    write_version(models_root, version=1)
    models.refresh()
    assert models.find("dec").version == 1


def test_a_vanished_root_leaves_everything_serving(models_root):
    models = refreshed(models_root)
    models_root.rename(models_root.with_name("elsewhere"))
    models.refresh()
    assert models.find("dec").version == 1


def test_an_empty_root_waits_for_its_first_model(tmp_path):
    with running(create_app(tmp_path, poll_s=0.01)) as transport:
        client = Client("http://server", retries=0, transport=transport)
        with pytest.raises(NotFoundError, match="Could not find any versions of model dec"):
            client.status("dec")
        write_version(tmp_path)
        wait_for(lambda: (tmp_path / "dec" / "1").exists() and answers(client))


def answers(client: Client) -> bool:
    try:
        return client.status("dec")[0].state == "AVAILABLE"
    except NotFoundError:
        return False


def test_a_missing_root_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="`models` must be an existing folder"):
        create_app(tmp_path / "nope")


def test_only_numbered_folders_inside_the_root_are_versions(models_root):
    outside = models_root.parent / "outside"
    write_version(outside, "dec", 7)
    write_version(models_root, "other", 3)
    for name in (".hidden", "notes", "3.5", "-1", "²", "9" * 30):
        (models_root / "dec" / name).mkdir()
    (models_root / "dec" / "4").write_text("a file")
    (models_root / "dec" / "7").symlink_to(outside / "dec" / "7")
    (models_root / "dec" / "8").symlink_to(models_root / "nowhere")
    (models_root / "leak").symlink_to(outside / "dec")
    (models_root / "alias").symlink_to(models_root / "other")
    root = models_root.resolve()
    versions = {name: sorted(list_versions(model, root)) for name, model in list_models(root).items()}
    assert versions == {"dec": [1], "other": [3], "alias": [3]}


def test_version_numbers_reach_as_far_as_the_original_counts(models_root):
    for name in ("9223372036854775807", "9223372036854775808", "0" * 200 + "5"):
        (models_root / "dec" / name).mkdir()
    assert sorted(list_versions(models_root / "dec", models_root)) == [1, 5, 2**63 - 1]


def unreadable(monkeypatch, *folders: Path) -> None:
    """Refuse to list some folders, as the system does to all users but root where the permission is missing."""
    iterdir = Path.iterdir

    def refuse(path: Path):
        if path in folders:
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)


def test_a_model_that_cannot_be_listed_is_reported_once_and_hides_no_other(models_root, monkeypatch, caplog):
    write_version(models_root, "another")
    write_version(models_root, "zebra")
    models = refreshed(models_root)
    write_version(models_root, "another", 2)
    write_version(models_root, "zebra", 2)
    with monkeypatch.context() as patch:
        unreadable(patch, models_root / "dec")
        for _ in range(2):
            models.refresh()
    assert [(name, models.find(name).version) for name in models.names()] == [("another", 2), ("dec", 1), ("zebra", 2)]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"cannot list {models_root / 'dec'} (Permission denied): what is served stays"]
    write_version(models_root, version=2)
    models.refresh()
    assert models.find("dec").version == 2


def test_one_model_in_place_of_the_models_folder_is_named_as_such(models_root):
    with pytest.raises(InvalidArgumentError) as raised:
        create_app(models_root / "dec")
    assert raised.value.message == (
        f"{models_root}/dec looks like one model, with its versions inside: give its parent folder, {models_root}"
    )
