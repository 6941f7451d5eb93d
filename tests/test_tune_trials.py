"""Claims about the trials of a search: each is a run, its value has an error, and its process can end in any way."""

import asyncio
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from searches import BASE, CHECKED, SMALL, Killed, Toy, in_this_process, tuned

from vae_tf import config as configs
from vae_tf.cli import main
from vae_tf.errors import InterruptedRun
from vae_tf.files import locked
from vae_tf.run import load
from vae_tf.train import train
from vae_tf.tuning import children, search, worker
from vae_tf.tuning.ranking import less_the_best, ranked, table
from vae_tf.tuning.record import COMPLETE, FAILED, PRUNED, RUNNING
from vae_tf.tuning.results import best
from vae_tf.tuning.space import Space
from vae_tf.tuning.study import Study

TRAINED_SPACE = Space.parse(["training.learning_rate=0.001,0.01,1e30", "model.latent_dim=2,3"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A search that trains; some of its trials diverge."""
    folder, lines = tmp_path_factory.mktemp("studies") / "study", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "answer", in_this_process)
        trials = tuned(folder, 4, space=TRAINED_SPACE, lines=lines)
    return folder, trials, lines


def test_each_trial_is_a_run_and_its_value_is_that_of_the_weights_that_it_keeps(trained):
    folder, trials, _ = trained
    first = best(trials)
    run = load(folder / first.name)
    assert run.config == TRAINED_SPACE.config(BASE, first.values)
    with np.load(folder / first.name / "validation.npz") as arrays:
        per_image = arrays["log_likelihood"]
    assert len(per_image) == first.outcome["images"] == run.data.validation
    assert first.outcome["value"] == pytest.approx(per_image.mean())
    assert first.outcome["standard_error"] == pytest.approx(per_image.std(ddof=1) / np.sqrt(len(per_image)))
    assert first.outcome["value"] > first.last_elbo  # 100 samples against one
    with (folder / first.name / "history.csv").open() as file:
        assert {int(row["epoch"]): float(row["val_elbo"]) for row in csv.DictReader(file)} == first.elbo


def test_a_trial_that_diverges_is_said_and_the_search_goes_on(trained):
    _, trials, lines = trained
    failed = [trial for trial in trials if trial.state == FAILED]
    assert failed
    assert {trial.values["training.learning_rate"] for trial in failed} == {"1e30"}
    assert failed[0].number < max(trial.number for trial in trials if trial.state == COMPLETE)
    assert "the training diverged" in failed[0].outcome["error"]
    (line,) = [line for line in lines if f"trial {failed[0].number}:" in line]
    assert "failed with training.learning_rate=1e30 model.latent_dim=" in line
    assert "optimizer step" in line


def test_a_search_that_is_stopped_goes_on_to_the_same_numbers(trained, tmp_path, monkeypatch):
    epochs = 0

    async def dies(request, log, environment, goes_on=None):
        def dying(epoch, elbo):
            nonlocal epochs
            epochs += 1
            if epochs == 2:
                raise Killed
            return goes_on(epoch, elbo)

        return worker.respond(request, dying)

    monkeypatch.setattr(search, "answer", dies)
    with pytest.raises(Killed):
        tuned(tmp_path / "study", 1, space=TRAINED_SPACE)
    assert [trial.state for trial in Study(tmp_path / "study", BASE, TRAINED_SPACE).trials()] == [RUNNING]
    monkeypatch.setattr(search, "answer", in_this_process)
    lines = []
    again = tuned(tmp_path / "study", 1, space=TRAINED_SPACE, lines=lines)
    assert lines[0] == "trial 0 goes on where it was stopped"
    journal = tmp_path / "study" / "study.journal"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:4]))  # the run is complete, and the study forgot
    again += tuned(tmp_path / "study", 1, space=TRAINED_SPACE)
    for one, two in zip(again, [trained[1][0]] * 2, strict=True):
        assert (one.values, one.state, one.elbo) == (two.values, two.state, two.elbo)
        assert {**one.outcome, "seconds": 0} == {**two.outcome, "seconds": 0}


def test_a_pruned_trial_keeps_its_history_and_could_be_trained_to_its_end(tmp_path):
    request = {"config": BASE.to_dict(), "folder": str(tmp_path / "run"), "data_dir": None}
    written = []

    def until(last):
        def goes_on(epoch, elbo):
            written.append((epoch, len((tmp_path / "run" / "history.csv").read_text().splitlines()) - 1))
            return epoch < last

        return goes_on

    outcome = worker.respond(request, until(2))
    assert (outcome["state"], outcome["epochs"]) == (PRUNED, 2)
    outcome = worker.respond(request, until(9))
    assert (outcome["state"], outcome["epochs"]) == (COMPLETE, 3)
    assert written == [(1, 1), (2, 2), (1, 2), (2, 2), (3, 3)]  # an epoch is written down before it is told


@pytest.mark.parametrize(
    ("changes", "of_trial", "error"),
    [
        (["data.source=npz:nowhere.npz"], False, "nowhere.npz"),
        (["training.batch_size=9999"], True, "`training.batch_size` must be in 1..1455"),
        ([], True, "ResourceExhaustedError: OOM when allocating tensor"),
    ],
)
def test_what_is_wrong_with_one_trial_is_told_from_what_would_stop_every_one(changes, of_trial, error, tmp_path, monkeypatch):
    if error.startswith("Resource"):

        def too_large(*arguments, **options):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith shape")

        monkeypatch.setattr("vae_tf.tuning.trial.train", too_large)
    request = {"config": BASE.override(changes).to_dict(), "folder": str(tmp_path / "run"), "data_dir": None}
    answer = worker.respond(request, lambda epoch, elbo: True)
    assert answer["of_trial"] is of_trial
    assert error in answer["error"]


# What is told


def test_the_table_has_the_best_first_and_paired_errors(trained):
    folder, trials, _ = trained
    order = ranked(trials)
    states = [trial.state for trial in order]
    assert states == sorted(states, key=[COMPLETE, PRUNED, FAILED].index)
    values = [trial.outcome["value"] for trial in order if trial.state == COMPLETE]
    assert values == sorted(values, reverse=True)
    differences = less_the_best(folder, order)
    assert set(differences) == {trial.number for trial in order if trial.state == COMPLETE} - {order[0].number}
    for trial in order[1 : len(values)]:
        assert differences[trial.number].value == pytest.approx(trial.outcome["value"] - values[0])
        one, two = (np.load(folder / name / "validation.npz")["log_likelihood"] for name in (trial.name, order[0].name))
        assert differences[trial.number].standard_error == pytest.approx((one - two).std(ddof=1) / np.sqrt(len(one)))
    head, first, *_ = table(folder, trials, TRAINED_SPACE).splitlines()
    assert head.split() == [
        *("trial", "log", "p(x)", "less", "the", "best", "last", "ELBO", "epochs", "minutes", "state"),
        "training.learning_rate",
        "model.latent_dim",
    ]
    assert f"{values[0]:.3f} +- " in first
    assert "100 samples of the posterior per image" in table(folder, trials, TRAINED_SPACE)


def test_the_rows_of_the_csv_file_are_the_trials(trained):
    folder, trials, _ = trained
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["trial"]), row["state"]) for row in rows] == [(trial.number, trial.state) for trial in trials]
    first = best(trials)
    assert float(rows[first.number]["log_likelihood"]) == first.outcome["value"]
    assert float(rows[first.number]["last_elbo"]) == first.last_elbo
    assert rows[first.number]["model.latent_dim"] == first.values["model.latent_dim"]
    assert all("diverged" in row["error"] for row in rows if row["state"] == FAILED)


def test_the_command_tells_what_it_found_and_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", in_this_process)
    options = ["--search=training.learning_rate=0.001..0.01:log", *(f"--set={text}" for text in SMALL), "--trials=2"]
    study = tmp_path / "study"
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(study), *options])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "searching training.learning_rate=0.001..0.01:log (the preset's own values are tried first)\n[1/2] trial 0, the best so far: "
    )
    assert f"Next: python -m vae_tf evaluate {study}/trial-00" in done.stdout
    assert f"python -m vae_tf train {study / 'best.yaml'} --run RUN --set seed=1" in done.stdout
    assert {"best.yaml", "trials.csv", "tuning.svg", "study.journal"} <= {path.name for path in study.iterdir()}
    runs = [load(study / name) for name in ("trial-000", "trial-001")]
    assert configs.read(study / "best.yaml") in [run.config for run in runs]
    monkeypatch.setattr(search, "answer", None)  # nothing is left to do
    again = CliRunner().invoke(main, ["tune", "digits", "--study", str(study), *options])
    assert again.exit_code == 0
    assert "log p(x)" in again.stdout


# Processes


def test_a_search_waits_for_no_other_machine(tmp_path, monkeypatch):
    """TF_CONFIG is for trainings: the trials of a search are each of one process."""
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["one:1", "two:2"]}, "task": {"type": "worker", "index": 0}}')
    monkeypatch.setattr("vae_tf.cluster.connect", None)
    checked = worker.respond({"configs": [BASE.to_dict()], "base": BASE.to_dict(), "data_dir": None}, None)
    assert checked["settled"] == 0

    async def fails(request, *arguments):
        return checked if "configs" in request else {"error": "the training diverged.", "of_trial": True}

    monkeypatch.setattr(search, "answer", fails)
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(tmp_path / "study"), "--trials=1"])
    assert done.stderr.startswith("error: no trial is complete")


def stub(tmp_path, monkeypatch, *lines):
    """Put a script in the place of Python."""
    script = tmp_path / "worker"
    script.write_text("\n".join(["#!/bin/sh", "read request", *lines, ""]))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def asked(goes_on=None):
    with tempfile.TemporaryFile() as log:
        return asyncio.run(children.answer({}, log, {}, goes_on))


def test_a_worker_is_told_whether_to_go_on(tmp_path, monkeypatch):
    stub(tmp_path, monkeypatch, """echo '{"epoch": 3, "elbo": -2.5}'""", "read word", """echo "{\\"word\\": \\"$word\\"}" """)
    seen = []
    assert asked(lambda epoch, elbo: seen.append((epoch, elbo))) == {"word": "prune"}
    assert asked(lambda epoch, elbo: True) == {"word": "go on"}
    assert seen == [(3, -2.5)]


@pytest.mark.parametrize(
    ("line", "how"),
    [("kill -9 $$", "by SIGKILL"), ("exit 3", "with exit code 3"), ("exec 1>&-; sleep 0.2; exit 1", "with exit code 1")],
)
def test_a_worker_that_dies_costs_its_trial_alone(line, how, tmp_path, monkeypatch):
    stub(tmp_path, monkeypatch, line)
    assert asked() == {"error": f"its process ended {how}, perhaps for want of memory", "of_trial": True}


def test_a_worker_that_is_told_to_stop_stops_the_search(tmp_path, monkeypatch):
    stub(tmp_path, monkeypatch, "kill -TERM $$")
    assert asked() == {"error": "its process was stopped by SIGTERM.", "of_trial": False}


def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", Toy())
    tuned(tmp_path / "study", trials=1)
    stub(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid", """echo '{"epoch": 1, "elbo": -2.5}'""", "sleep 60")

    async def interrupted(request, log, environment, goes_on=None):
        if "configs" in request:
            return CHECKED
        return await children.answer(request, log, environment, lambda epoch, elbo: os.kill(os.getpid(), signal.SIGINT) or True)

    monkeypatch.setattr(search, "answer", interrupted)
    with pytest.raises(InterruptedRun, match="what was complete is kept: the same command goes on from there"):
        tuned(tmp_path / "study", trials=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def command(study, *more):
    options = [f"--set={text}" for text in (*SMALL, "training.epochs=40")]
    options += ["--search=model.latent_dim=2,3", "--trials=2", "--jobs=2", *more]
    return [sys.executable, "-m", "vae_tf", "tune", "digits", "--study", str(study), *options]


@pytest.mark.slow
def test_a_search_killed_with_its_trials_running_goes_on_to_the_same_numbers(tmp_path):
    """Its workers end with it, in whatever way it ends."""
    study = tmp_path / "study"
    killed = subprocess.Popen(command(study), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not list(study.glob("trial-00?/checkpoints/epoch-2")):
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    for folder in study.glob("trial-00?"):
        while True:
            with suppress(BlockingIOError), locked(folder):
                break
            time.sleep(0.1)
    done = subprocess.run(command(study), capture_output=True, text=True, check=True)
    assert "goes on where it was stopped" in done.stdout
    assert (study / "trial-000" / "config.yaml").read_text() != (study / "trial-001" / "config.yaml").read_text()
    for name in ("trial-000", "trial-001"):
        run, whole = (
            load(study / name),
            train(configs.read(study / name / "config.yaml"), tmp_path / name, verbose=0),
        )
        assert all(np.array_equal(one, two) for one, two in zip(run.vae.trainable_variables, whole.vae.trainable_variables))
