"""The command line: one line for what went wrong, one screen for what a folder holds."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import export.recipe
from export.cli import main


@pytest.fixture(autouse=True)
def own_signal_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_an_export_ends_with_what_was_written_and_the_next_command(run_folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export.recipe, "export", lambda *args: exported)
    result = run(run_folder, exported.parent.parent, "--name", "other")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith(f"exported: {exported} (")
    assert lines[1].startswith("largest difference from the run, saved_model: mean ")
    assert lines[2].startswith("largest difference from the run, onnx: mean ")
    assert lines[3] == f"next: python -m serving run {exported.parent.parent}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "MODELS"], "Missing option '--name'"),
        (["RUN", "--name", "x"], "Missing argument 'MODELS'"),
        (["RUN", "MODELS", "--name", "../x"], "error: `name` must start with a letter or digit"),
        (["--name", "a..b", "RUN", "MODELS"], "error: `name` must start with a letter or digit"),
        (["RUN", "MODELS", "--name", "x", "--version", "0"], "error: `version` must lie between 1 and 9223372036854775807, got 0"),
        (["RUN", "MODELS", "--name", "x", "--version", str(2**63)], "between 1 and 9223372036854775807, got 9223372036854775808"),
        (["RUN", "MODELS", "--name", "x", "--version", "one"], "'one' is not a valid integer"),
        (["RUN", "MODELS", "--name", "digits", "--version", "1"], "error: `version` 1 of digits exists already"),
        (["nowhere", "MODELS", "--name", "x"], "'nowhere' does not exist"),
        (["MODELS", "MODELS", "--name", "x"], "is no run folder: config.yaml is missing"),
        (["RUN", "MODELS/digits/1/model.onnx", "--name", "x"], "model.onnx` is no folder"),
        (["inspect"], "Missing argument 'DIR'"),
        (["inspect", "nowhere"], "error: `nowhere` is no exported folder: manifest.json: No such file or directory"),
        (["inspect", "RUN"], "is no exported folder: manifest.json"),
        (["inspect", "MODELS/digits"], "name MODELS/NAME/VERSION"),
        (["inspect", "MODELS/digits/1/model.onnx"], "is no exported folder: manifest.json: Not a directory"),
    ],
)
def test_bad_input_is_answered_in_words(run_folder: Path, exported: Path, arguments: list[str], message: str):
    models = exported.parent.parent
    before = sorted(models.rglob("*"))
    result = run(*(argument.replace("RUN", str(run_folder)).replace("MODELS", str(models)) for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(models.rglob("*")) == before


def test_a_disk_error_is_one_line_and_a_failure(run_folder: Path, tmp_path: Path):
    result = run(run_folder, "/proc/models", "--name", "digits")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "error: /proc/models: No such file or directory."


def test_an_interruption_says_that_nothing_was_written(run_folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export.recipe, "export", interrupt)
    result = run(run_folder, exported.parent.parent, "--name", "other")
    assert (result.exit_code, result.stderr) == (130, "error: interrupted; no version was written.\n")


def test_an_export_that_is_told_to_end_leaves_nothing(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export.recipe.saved_model, "save", lambda *args: os.kill(os.getpid(), signal.SIGTERM))
    result = run(run_folder, tmp_path / "models", "--name", "digits")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, "error: interrupted; no version was written.")
    assert not list(tmp_path.iterdir())


def test_inspect_tells_a_stranger_everything_in_one_screen(exported: Path):
    result = run("inspect", exported)
    assert result.exit_code == 0
    for text in (
        "digits, version 1, exported 20",
        "z ~ N(0, I), 3 values",
        "8 x 8 x 1",
        "trained on values in [0, 1], and its means and draws lie there too",
        "-123.45 +- 0.67 nats per test image (100 images; importance sampling)",
        "serving_default: z float32 [batch, 3] -> mean float32 [batch, 8, 8, 1]",
        "sample: z float32 [batch, 3], seed int32 [batch] -> x float32 [batch, 8, 8, 1]",
        "onnx: mean ",
        "digits: 1000 images for training",
        "tensorflow 2.",
        "model.onnx",
    ):
        assert text in result.stdout
    assert len(result.stdout.splitlines()) <= 40
    assert max(map(len, result.stdout.splitlines())) <= 140


def test_inspect_names_the_file_whose_checksum_does_not_hold(exported: Path, tmp_path: Path):
    folder = shutil.copytree(exported, tmp_path / "1")
    (folder / "saved_model.pb").write_bytes(b"other")
    result = run("inspect", folder)
    assert result.exit_code == 2
    assert [line.split()[-1] for line in result.stdout.splitlines() if "saved_model.pb" in line] == ["changed"]
    assert result.stderr == (
        f"error: `{folder / 'saved_model.pb'}` is changed: the folder is not what its manifest says; export the version again.\n"
    )


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("provenance", {}, "  provenance    not recorded in a form that is known here"),
        ("provenance", {"data": [], "evaluation": {"log_likelihood": 1}}, "  log p(x)      not recorded in a form that is known here"),
        ("files", {}, ""),
        ("signatures", {}, ""),
        ("formats", {}, ""),
    ],
)
def test_inspect_shows_what_there_is_of_a_manifest_that_says_little(exported: Path, tmp_path: Path, key: str, value: dict, shown: str):
    manifest = json.loads((exported / "manifest.json").read_bytes()) | {"files": {}, key: value}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    result = run("inspect", tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("digits, version 1, exported 20")
    assert shown in result.stdout


@pytest.mark.parametrize("arguments", [["inspect", "EXPORTED"], ["nowhere", "models", "--name", "x"], ["--help"]])
def test_inspection_and_mistakes_do_not_wait_for_tensorflow(exported: Path, arguments: list[str]):
    code = "import sys; sys.modules['tensorflow'] = None; sys.argv[0] = 'export'\nfrom export.cli import main; main(standalone_mode=True)"
    root = Path(export.recipe.__file__).parent.parent
    given = [argument.replace("EXPORTED", str(exported)) for argument in arguments]
    done = subprocess.run([sys.executable, "-c", code, *given], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if "nowhere" in arguments else 0), done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_both_uses():
    text = run("--help").stdout
    assert "python -m export RUN MODELS --name NAME [--version N]" in text
    assert "python -m export inspect DIR" in text
