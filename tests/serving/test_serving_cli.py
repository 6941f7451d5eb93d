"""The command line, and the server as a process."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import httpx
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from serving_fakes import write_version

from serving import Client
from serving.cli import main
from serving.images import encode_png, enlarge, grid
from serving.tf_serving import write


def start(models: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the server on a free port, wait until it is ready, and return it with its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "run", str(models), "--port", "0"], stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.fullmatch(r"ready on (http://127\.0\.0\.1:\d+)\n", line):
            return process, match[1]
    raise AssertionError(f"the server ended with {process.wait()}")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_process_answers_and_stops_cleanly(models_root, tmp_path, stop):
    process, url = start(models_root)
    with process:
        try:
            assert httpx.get(f"{url}/v1/models/dec", trust_env=False).json()["model_version_status"][0]["state"] == "AVAILABLE"
            out = tmp_path / "grid.png"
            arguments = ["generate", "--url", url, "--model", "dec", "--count", "5", "--seed", "3", "--out", str(out)]
            done = CliRunner().invoke(main, arguments)
            assert (done.exit_code, done.output) == (0, f"wrote {out}: 5 images 28x28x1 of dec from {url}, seed 3\n")
            with Client(url) as client:
                assert out.read_bytes() == encode_png(grid(enlarge(client.generate("dec", 5, 3))))
            assert_health_check_holds(models_root, tmp_path, url)
        finally:
            process.send_signal(stop)
        assert process.wait(timeout=20) == 0


def assert_health_check_holds(models: Path, folder: Path, url: str) -> None:
    """Run the check that compose.yaml makes inside the container, for a model that serves and for one that does not."""
    write(models, folder / "deploy")
    service = yaml.safe_load((folder / "deploy" / "compose.yaml").read_text())["services"]["tensorflow-serving"]
    *command, script = service["healthcheck"]["test"][1:]
    script = script.replace("$$", "$").replace("/127.0.0.1/8501", f"/127.0.0.1/{url.rpartition(':')[2]}")
    assert subprocess.run([*command, script], capture_output=True).returncode == 0
    assert subprocess.run([*command, script.replace("in dec;", "in dec nope;")], capture_output=True).returncode == 1


def test_a_taken_port_is_named(models_root):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(main, ["run", str(models_root), "--port", str(port)])
    assert done.exit_code == 1
    assert done.stderr == (f"error: cannot listen on 127.0.0.1:{port} (Address already in use): choose another with `--port` or `--host`\n")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ("run {tmp}/nope", 2, "error: `models` must be an existing folder with NAME/VERSION/ inside, got {tmp}/nope"),
        (
            "tf-serving {tmp}/models/dec --out {tmp}/deploy",
            2,
            "error: {tmp}/models/dec looks like one model, with its versions inside: give its parent folder",
        ),
        ("tf-serving {empty} --out {tmp}/deploy", 2, "error: `models` must be a path, got an empty text"),
        ("run {tmp}/models --port 70000", 2, "70000 is not in the range"),
        ("run {tmp}/models --host 203.0.113.1", 1, "error: cannot listen on 203.0.113.1:8501"),
        ("generate --model dec --out {tmp}/x.png --count 0", 2, "0 is not in the range"),
        ("generate --model dec --out {tmp}/x.png --count -5", 2, "-5 is not in the range"),
        ("generate --model dec --out {tmp}/x.png --count 1000000000", 2, "1000000000 is not in the range"),
        ("generate --model dec --out {tmp}/x.png --seed -1", 2, "-1 is not in the range"),
        ("generate --model dec --out {empty}", 2, "error: `out` must be a path, got an empty text"),
        ("generate --model dec --out {tmp}", 2, "is a directory"),
        ("generate --model dec --out {tmp}/x.png --url localhost:8501", 2, "error: `url` must look like http://localhost:8501"),
        ("generate --model dec --out {tmp}/x.png --url http://127.0.0.1:1", 1, "error: cannot reach http://127.0.0.1:1"),
        ("tf-serving {tmp}/nope --out {tmp}/deploy", 2, "error: `models` must be an existing folder"),
        ("tf-serving {tmp}/empty --out {tmp}/deploy", 2, "error: no folder NAME/VERSION/ in {tmp}/empty: export a model first"),
        ("tf-serving {tmp}/models --out {empty}", 2, "error: `out` must be a path, got an empty text"),
        ("tf-serving {tmp}/models --out {tmp}/file", 2, "is a file"),
        ("tf-serving {tmp}/models --out {tmp}/file/deploy", 1, "error: cannot write into {tmp}/file/deploy: Not a directory"),
    ],
)
def test_bad_input_is_refused_in_words(tmp_path, arguments, exit_code, message):
    write_version(tmp_path / "models")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    done = CliRunner().invoke(main, [part.format(tmp=tmp_path, empty="") for part in arguments.split()])
    assert done.exit_code == exit_code
    assert message.format(tmp=tmp_path) in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "x.png").exists()
    assert not (tmp_path / "deploy").exists()


@pytest.mark.parametrize(
    ("model", "out", "exit_code", "message"),
    [
        ("nope", "x.png", 2, "answered 404: Servable not found for request: Latest(nope)"),
        ("dec", "nowhere/x.png", 1, "cannot write {tmp}/nowhere/x.png: No such file or directory"),
    ],
)
def test_generate_says_what_the_server_or_the_disk_refused(tmp_path, server, monkeypatch, model, out, exit_code, message):
    monkeypatch.setattr("serving.client.Client", lambda url: Client(url, transport=server))
    done = CliRunner().invoke(main, ["generate", "--model", model, "--out", str(tmp_path / out)])
    assert done.exit_code == exit_code
    assert message.format(tmp=tmp_path) in done.stderr
    assert not list(tmp_path.rglob("*x.png*"))


def test_generate_replaces_an_older_picture(tmp_path, server, monkeypatch):
    monkeypatch.setattr("serving.client.Client", lambda url: Client(url, transport=server))
    out = tmp_path / "x.png"
    out.write_text("older")
    assert CliRunner().invoke(main, ["generate", "--model", "dec", "--count", "4", "--out", str(out)]).exit_code == 0
    assert np.asarray(Image.open(out)).shape == (114, 114)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("command", [[], ["run"], ["generate"], ["tf-serving"]])
def test_help_is_one_letter_away(command):
    done = CliRunner().invoke(main, [*command, "-h"])
    assert (done.exit_code, done.output) == (0, CliRunner().invoke(main, [*command, "--help"]).output)


def test_what_the_system_refuses_is_said_in_one_line(models_root, tmp_path, monkeypatch):
    refusal = PermissionError(13, "Permission denied", "/models/dec")
    monkeypatch.setattr("serving.tf_serving.write", Mock(side_effect=refusal))
    done = CliRunner().invoke(main, ["tf-serving", str(models_root), "--out", str(tmp_path / "deploy")])
    assert (done.exit_code, done.output) == (1, "error: [Errno 13] Permission denied: '/models/dec'\n")
