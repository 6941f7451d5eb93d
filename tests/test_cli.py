"""Claims about the command line of vae_tf: the walk works, and mistakes get one line."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from vae_tf import plots
from vae_tf.cli import main
from vae_tf.errors import LostWorker
from vae_tf.run import load
from vae_tf.startup import start_tensorflow

TINY = [f"--set={s}" for s in ("training.epochs=2", "objective.warmup_epochs=1", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]")]


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = invoke("train", "digits", "--run", folder, *TINY)
    assert done.exit_code == 0, done.output
    return folder


def test_train_says_what_it_made_and_what_comes_next(run, tmp_path):
    done = invoke("train", "digits", "--run", tmp_path / "again", *TINY)
    told = rf"^trained {tmp_path / 'again'}: validation elbo -\d+\.\d\d nats in the last of 2 epochs, .* Next: python -m vae_tf evaluate "
    assert re.search(told, done.stdout, re.MULTILINE)


def test_a_configuration_file_can_be_trained(run, tmp_path):
    done = invoke("train", run / "config.yaml", "--run", tmp_path / "copy")
    assert done.exit_code == 0
    assert load(tmp_path / "copy").config == load(run).config


def test_evaluate_report_and_sample(run, tmp_path):
    done = invoke("evaluate", run, "--samples", 5)
    assert done.exit_code == 0, done.output
    assert "importance sampling, 5 posterior samples per image" in done.stdout
    assert invoke("report", run).exit_code == 0
    assert (run / "evaluation.json").exists()
    assert (run / "report.html").exists()
    out = tmp_path / "samples.png"
    assert invoke("sample", run, "--count", 4, "--seed", 3, "--out", out).exit_code == 0
    assert np.asarray(Image.open(out)).std() > 0


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A run whose model is given the class, and one whose model is given a vector of two numbers."""
    folder = tmp_path_factory.mktemp("labelled")
    assert invoke("train", "digits", "--run", folder / "classes", *TINY, "--set=model.condition=classes").exit_code == 0
    x, y = np.random.default_rng(0).random((40, 4, 4)), np.random.default_rng(1).random((40, 2))
    np.savez(folder / "images.npz", x=x, y=y)
    sets = [f"--set=data.source=npz:{folder}/images.npz", "--set=model.likelihood=normal", "--set=training.batch_size=8"]
    done = invoke("train", "digits", "--run", folder / "vector", *TINY, *sets, "--set=model.condition=vector")
    assert done.exit_code == 0, done.output
    return folder


def test_sample_draws_the_class_that_is_asked_for_or_all_in_turn(labelled, tmp_path):
    vae = load(labelled / "classes").vae
    for option, labels, columns, said in (
        ([], np.arange(20) % 10, 10, "20 images, seed 3, one class in each column."),
        (["--label", "7"], 7, None, "20 images, seed 3, label 7."),
    ):
        done = invoke("sample", labelled / "classes", "--count", 20, "--seed", 3, *option, "--out", tmp_path / "a.png")
        assert said in done.stdout, done.output
        expected = plots.image_grid(vae.generate(20, 3, labels), columns)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected[..., 0])


def test_sample_fills_whole_rows_of_classes_if_nobody_says_how_many(labelled, tmp_path):
    done = invoke("sample", labelled / "classes", "--out", tmp_path / "a.png")
    assert "60 images, seed 0, one class in each column." in done.stdout, done.output


def test_sample_reads_a_vector(labelled, tmp_path):
    vae = load(labelled / "vector").vae
    assert invoke("sample", labelled / "vector", "--count", 4, "--label", "0.5,-1", "--out", tmp_path / "a.png").exit_code == 0
    expected = plots.image_grid(vae.generate(4, 0, np.array([0.5, -1], np.float32)))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected[..., 0])


@pytest.mark.parametrize("kind", ["classes", "vector"])
def test_a_conditional_run_is_evaluated_and_reported(labelled, kind):
    done = invoke("evaluate", labelled / kind, "--samples", 3)
    assert done.exit_code == 0, done.output
    assert "given the label y of each: log p(x | y)" in done.stdout
    done = invoke("report", labelled / kind)
    assert done.exit_code == 0, done.output or repr(done.exception)


@pytest.mark.parametrize(
    ("run_name", "label", "message"),
    [
        ("classes", "10", "`label` must be a class from 0 to 9, or its name (['0', '1', "),
        ("classes", "-1", "`label` must be a class from 0 to 9"),
        ("classes", "seven", "got 'seven'."),
        ("classes", "", "got ''."),
        ("vector", None, "`label` must be given, 2 numbers with commas between them: labels are vectors."),
        ("vector", "1", "`label` must be 2 finite numbers with commas between them, got '1'."),
        ("vector", "1,nan", "`label` must be 2 finite numbers"),
        ("vector", "a,b", "`label` must be 2 finite numbers"),
    ],
)
def test_a_label_that_is_none_gets_one_line(labelled, tmp_path, run_name, label, message):
    option = [] if label is None else ["--label", label]
    done = invoke("sample", labelled / run_name, *option, "--out", tmp_path / "a.png")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "a.png").exists()


def test_a_label_for_a_model_without_labels_is_refused(run, tmp_path):
    done = invoke("sample", run, "--label", "7", "--out", tmp_path / "a.png")
    assert done.exit_code == 2
    assert "`label` must be left out" in done.stderr
    assert "was trained without labels; got '7'" in done.stderr


@pytest.fixture
def damaged(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "damaged")
    weights = copy / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    return copy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "mnits", "--run", "{new}"], "error: `preset` 'mnits' does not exist. Did you mean 'mnist'?"),
        (["train", "none.yaml", "--run", "{new}"], "error: `none.yaml` can not be read: No such file"),
        (["train", "digits", "--run", "{new}", "--set", "training.epoch=3"], "unknown key `training.epoch`. Did you mean 'epochs'?"),
        (["train", "digits", "--run", "{new}", "--set", "training.epochs=few"], "`training.epochs`: "),
        (["train", "digits", "--run", "{new}", "--set", "objective.warmup_epochs=999"], "would end after 999 epochs"),
        (["train", "digits", "--run", "{new}", "--set", "model.likelihood=bernoulli"], "only 0 and 1 for a Bernoulli"),
        (["train", "mnist", "--run", "{new}", "--data-dir", "{empty}"], "the set 'mnist' is not prepared in {empty}"),
        (["train", "digits", "--run", "{new}", "--set", "data.source=folder:{empty}"], "`data.source`"),
        (["train", "digits", "--run", "{new}", "--set", "data.source=npz:{new}.npz"], "`data.source`"),
        (["train", "digits", "--run", "{run}"], "holds a run already"),
        (
            ["train", "digits", "--run", "{run}", "--resume"],
            "another configuration (model.encoder.hidden is [8] there and [128, 128] here)",
        ),
        (["train", "digits", "--run", "{new}", "--set", "training.batch_size=2000000000"], "`training.batch_size` must be in 1..1455"),
        (["evaluate", "{new}"], "is no run folder: config.yaml is missing"),
        (["evaluate", "{damaged}"], "model.weights.h5` is damaged"),
        (["report", "{empty}"], "is no run folder"),
        (["sample", "{new}"], "is no run folder"),
    ],
)
def test_a_mistake_gets_one_line_and_changes_nothing(arguments, message, run, damaged, tmp_path):
    (tmp_path / "empty").mkdir()
    places = {"new": tmp_path / "new", "run": run, "damaged": damaged, "empty": tmp_path / "empty"}
    done = invoke(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message.format(**places) in line
    assert done.stdout == ""
    assert not places["new"].exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "{run}", "--count", "0"], "0 is not in the range"),
        (["sample", "{run}", "--seed", "-1"], "-1 is not in the range"),
        (["evaluate", "{run}", "--samples", "0"], "0 is not in the range"),
        (["evaluate", "{run}", "--seed", "9223372036854775807"], "is not in the range"),
        (["evaluate", "{run}", "--samples", "many"], "'many' is not a valid integer"),
        (["train", "digits"], "Missing option '--run'"),
        (["trian", "digits"], "No such command 'trian'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_starts(arguments, message, run):
    done = invoke(*(argument.format(run=run) for argument in arguments))
    assert done.exit_code == 2
    assert message in done.stderr


def test_images_can_not_be_written_where_there_is_a_file(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = invoke("sample", run, "--out", tmp_path / "file" / "samples.png")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_what_is_no_file_is_left_alone(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = invoke("sample", run, "--count", 1, "--out", tmp_path / "pipe")
    assert done.exit_code == 1
    assert "is no regular file, and is left alone" in done.stderr
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    assert invoke("sample", run, "--count", 1, "--out", tmp_path / "link.png").exit_code == 0
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "target.png").is_file()


def test_standard_error_holds_the_answer_and_no_notices_of_tensorflow(tmp_path):
    done = subprocess.run([sys.executable, "-m", "vae_tf", "evaluate", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["evaluate", "{new}"], 2, "is no run folder"),
        (["report", "{new}"], 2, "is no run folder"),
        (["sample", "{new}"], 2, "is no run folder"),
        (["compare", "{new}", "{new}"], 2, "error: "),
        (["train", "digits", "--run", "{new}"], 75, "host2 did not come"),
    ],
)
def test_no_command_but_a_training_waits_for_other_workers(command, code, message, tmp_path, monkeypatch):
    def wait(*arguments):
        raise LostWorker("host2 did not come")

    monkeypatch.setattr("vae_tf.cluster.meet", wait)
    told = {"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(told))
    done = invoke(*(word.format(new=tmp_path / "new") for word in command))
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert ("waiting for host2" in done.stderr) == (code == 75)


def test_who_is_not_part_of_a_cluster_is_alone(monkeypatch):
    """As an export: what TF_CONFIG says does not count."""
    monkeypatch.setenv("TF_CONFIG", "{")
    assert start_tensorflow().workers == start_tensorflow(alone=True).workers == 1


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith shape")])
def test_what_the_machine_can_not_do_is_one_line(tmp_path, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("vae_tf.train.train", fail)
    done = invoke("train", "digits", "--run", tmp_path / "run")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {type(error).__name__}: ")


def test_the_next_command_repeats_the_data_folder(run, tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    done = invoke("evaluate", run, "--samples", 2, "--data-dir", tmp_path)
    assert f"python -m vae_tf report {run} --data-dir {tmp_path}" in done.stdout
