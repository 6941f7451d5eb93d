"""Claims about searches: what is suggested is fixed by the seed, and nothing is lost whenever a search is stopped."""

import asyncio
import csv
import json
import os
import pickle
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

from vae_tf import config as configs
from vae_tf.cli import main
from vae_tf.errors import ConfigError, InterruptedRun, RunError
from vae_tf.files import locked
from vae_tf.plots.style import svg
from vae_tf.plots.tuning import tuning
from vae_tf.run import load
from vae_tf.train import train
from vae_tf.tuning import children, search, worker
from vae_tf.tuning.ranking import less_the_best, ranked, table
from vae_tf.tuning.record import COMPLETE, FAILED, PRUNED, RUNNING
from vae_tf.tuning.results import best
from vae_tf.tuning.search import tune
from vae_tf.tuning.space import Space
from vae_tf.tuning.study import Study

SMALL = ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latent_dim=2", "training.jit_compile=false"]
SMALL += ["training.batch_size=300", "training.epochs=3", "objective.warmup_epochs=0"]
BASE = configs.preset("digits").override(SMALL)
SPACE = Space.parse(["training.learning_rate=1e-3..1e-1:log", "model.latent_dim=2,3", "training.batch_size=200..400:int"])


CHECKED = {"settled": 0, "images": "a fingerprint"}


class Killed(BaseException):
    """Ends a search as a signal would: nothing catches it."""


async def in_this_process(request, log, environment, goes_on=None):
    return worker.respond(request, goes_on)


class Toy:
    """Trains nothing: the nearer the learning rate is to 10**best, the better, and the more the more epochs; dies after `lives` epochs."""

    def __init__(self, lives=np.inf, epochs=4, best=-2):
        self.lives, self.epochs, self.best, self.at_once, self.most = lives, epochs, best, 0, 0

    async def __call__(self, request, log, environment, goes_on=None):
        if "configs" in request:
            return CHECKED
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        value = -abs(np.log10(request["config"]["training"]["learning_rate"]) - self.best)
        spent = {"epochs": self.epochs, "seconds": 60.0}
        try:
            for epoch in range(1, self.epochs + 1):
                await asyncio.sleep(0)
                go_on = goes_on(epoch, value - 1 / epoch)
                self.lives -= 1
                if self.lives <= 0:
                    raise Killed
                if not go_on:
                    return {"state": PRUNED, **spent, "epochs": epoch}
        finally:
            self.at_once -= 1
        return {"state": COMPLETE, "value": value, "standard_error": 0.1, "images": 162, **spent}


@pytest.fixture
def toy(monkeypatch):
    def use(**options):
        made = Toy(**options)
        monkeypatch.setattr(search, "answer", made)
        return made

    use()
    return use


def tuned(folder, trials=14, base=BASE, space=SPACE, lines=None, **options):
    return tune(base, space, folder, trials=trials, say=(lambda line: None) if lines is None else lines.append, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search by the toy that was never stopped, into the trials that are more than random draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "answer", Toy())
        return tuned(tmp_path_factory.mktemp("studies") / "study")


# What is searched


@pytest.mark.parametrize(
    ("text", "read", "ends"),
    [
        ("model.latent_dim=8,16,32", "model.latent_dim=8,16,32", ("8", "16", "32")),
        ("training.learning_rate=1e-4..1e-2:log", "training.learning_rate=0.0001..0.01:log", ("0.0001", "0.01", "0.001")),
        ("training.batch_size=50..400:int:log", "training.batch_size=50..400:log:int", ("50", "400")),
        ("training.anneal=0..1", "training.anneal=0..1", ("0", "1", "0.5")),
        ("model.encoder.hidden=[8],[8, 8]", "model.encoder.hidden=[8],[8, 8]", ("[8]", "[8, 8]")),
        ("model.posterior=full-normal,{name: mixture, components: 2}", None, ("full-normal", "{name: mixture, components: 2}")),
        ("training.average=null,0.9", "training.average=null,0.9", ("null", "0.9")),
    ],
)
def test_a_setting_reads_as_it_is_written(text, read, ends):
    (setting,) = Space.parse([text]).settings
    assert str(setting) == (read or text)
    assert tuple(setting.text(value) for value in setting.ends) == ends
    assert str(Space.parse([str(setting)])) == str(setting)


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        (
            ["training.learning_rate"],
            "`--search` must be section.key=VALUES: values with commas between them, such as model.latent_dim=8,16,32",
        ),
        (["=1,2"], "`--search` must be section.key=VALUES"),
        (["model.latent_dim="], "`--search` must be section.key=VALUES"),
        (["model.latent_dim=8"], "has one value, 8, and nothing to choose from; give it by --set model.latent_dim=8"),
        (["model.latent_dim=8,16,8"], "has a value twice: 8,16,8"),
        (["model.encoder.hidden=[8,[8,8]"], "are no YAML; quote them or close their brackets"),
        (["training.anneal=1..0"], "a range must begin below its end, and both be finite; got 1..0"),
        (["training.anneal=0..inf"], "a range must begin below its end, and both be finite; got 0..inf"),
        (["training.anneal=0..nan"], "a range must begin below its end, and both be finite"),
        (["training.anneal=0..1:log"], "with :log a range must begin above 0; got 0..1"),
        (["training.batch_size=50..99.5:int"], "with :int both ends must be whole numbers; got 50..99.5"),
        (["training.anneal=0..x"], "a range must be two numbers with two points between them; got '0..x'"),
        (["training.anneal=0..1..2"], "a range must be two numbers with two points between them"),
        (["training.anneal=0..1:cubic"], "behind a range stand :log, :int or both; got :cubic"),
        (["training.anneal=0,1", "training.anneal=0..1"], "training.anneal stands there 2 times; put all of its values into one"),
        (["seed=1,2,3"], "would find luck, not a setting"),
        (["data.binarize=none,dynamic"], "would change the images by which trials are compared"),
        (["training.rate=1e-3..1e-2:log"], "training.rate=0.001 can not work: unknown key `training.rate`. Known: anneal,"),
        (["trainig.epochs=2,3"], "unknown section `trainig`. Did you mean 'training'?"),
        (
            ["training.batch_size=50..400"],
            "can not work: `training.batch_size`: Input should be a valid integer, got a number with a fractional",
        ),
        (["training.batch_size=50..400"], "Where only whole numbers work, write training.batch_size=50..400:int."),
        (["training.anneal=0..2"], "training.anneal=2 can not work: `training.anneal`: Input should be less than or equal to 1"),
        (["model.latent_dim=8,many"], "model.latent_dim=many can not work"),
    ],
)
def test_a_space_that_can_not_work_is_refused_at_once(searched, message, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", None)
    options = [f"--search={text}" for text in searched]
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(tmp_path / "study"), *options])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: `--search` ")
    assert message in line
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        ("training.batch_size=100,5000", "training.batch_size=5000 can not work: `training.batch_size` must be in 1..1455"),
        ("objective.warmup_epochs=0..9:int", "warmup_epochs=9 can not work: the schedule of `objective` would end after 9 epochs"),
        ("model.encoder.width=8,16", "width=8 can not work: model.encoder 'mlp': unknown key `width`"),
        ("model.prior=standard-normal,vampire", "model.prior=vampire can not work: `model.prior` 'vampire' does not exist"),
        ("model.likelihood=binomial,normal", "model.likelihood=normal can not work: probabilities of discrete values, densities"),
        ("model.condition=null,classes", "model.condition=classes can not work: probabilities of discrete values, densities"),
        ("objective.beta=1..4", "objective.beta=1 can not work: objective 'elbo': unknown key `beta`"),
    ],
)
def test_a_space_whose_models_can_not_be_built_is_refused_before_anything_is_trained(searched, message, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", in_this_process)
    with pytest.raises(ConfigError) as caught:
        tuned(tmp_path / "study", space=Space.parse([searched]))
    assert message in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("name", configs.preset_names())
def test_every_preset_has_a_space_of_its_own_that_holds_it(name):
    preset = configs.preset(name)
    space = Space.default(preset)
    assert {"training.learning_rate", "training.batch_size"} <= {setting.key for setting in space.settings}
    assert space.config(preset, space.values_of(preset)) == preset
    assert len(list(space.ends(preset))) >= 2 * len(space.settings)


# What is suggested


def test_the_settings_of_the_preset_come_first_where_they_are_in_the_space(toy, tmp_path):
    assert tuned(tmp_path / "in", trials=1)[0].values == {
        "training.learning_rate": 0.001,
        "model.latent_dim": "2",
        "training.batch_size": 300,
    }
    (other,) = tuned(tmp_path / "out", trials=1, space=Space.parse(["model.latent_dim=3,4"]))
    assert other.values["model.latent_dim"] in ("3", "4")


def test_suggestions_are_a_function_of_the_seed(whole, toy, tmp_path):
    assert tuned(tmp_path / "same") == whole
    other = tuned(tmp_path / "other", seed=1)
    assert other[0].values == whole[0].values
    assert all(one.values != two.values for one, two in zip(other[1:], whole[1:]))


def test_what_is_suggested_follows_from_what_was_found(whole, toy, tmp_path):
    """The first ten are drawn at random; what follows knows them."""
    toy(best=-4)
    others = tuned(tmp_path / "study")
    assert [trial.values for trial in others[:10]] == [trial.values for trial in whole[:10]]
    assert all(one.values != two.values for one, two in zip(others[10:], whole[10:]))


def test_a_search_killed_again_and_again_comes_to_the_same_study(whole, toy, tmp_path):
    for lives in (1, 2, 9, 4, 12, 3, 7, 1, 1):
        toy(lives=lives)
        with pytest.raises(Killed):
            tuned(tmp_path / "study")
    toy()
    assert tuned(tmp_path / "study") == whole


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.35, 0.6, 0.8, 0.999])
def test_a_journal_that_ends_in_the_middle_of_a_line_is_continued(whole, toy, tmp_path, share):
    tuned(tmp_path / "study")
    journal = tmp_path / "study" / "study.journal"
    written = journal.read_bytes()
    journal.write_bytes(written[: int(share * len(written))])
    assert tuned(tmp_path / "study") == whole


def test_the_lock_of_a_process_that_is_gone_holds_nobody_up(toy, tmp_path):
    tuned(tmp_path / "study", trials=2)
    (tmp_path / "study" / "study.journal.lock").symlink_to(tmp_path / "study" / "study.journal")
    started = len(tuned(tmp_path / "study", trials=3))
    assert started == 3
    assert not list((tmp_path / "study").glob("*.lock*.rename"))


def test_more_trials_go_on_from_those_there_are(whole, toy, tmp_path):
    assert tuned(tmp_path / "study", trials=5) == whole[:5]
    assert tuned(tmp_path / "study") == whole
    assert tuned(tmp_path / "study", trials=3) == whole


def test_nothing_is_tried_twice_and_a_small_space_comes_to_its_end(toy, tmp_path):
    lines = []
    trials = tuned(
        tmp_path / "study", trials=30, space=Space.parse(["model.latent_dim=2,3", "training.batch_size=300..302:int"]), lines=lines
    )
    tried = [tuple(trial.values.items()) for trial in trials]
    assert len(tried) == len(set(tried)) == 6
    assert lines[-1] == "all that there is to try was tried, in 6 trials"


def test_trials_side_by_side_give_one_study(toy, tmp_path):
    running = toy()
    trials = tuned(tmp_path / "study", jobs=3)
    assert running.most == 3
    assert [trial.number for trial in trials] == list(range(14))
    assert {trial.state for trial in trials} <= {COMPLETE, PRUNED}
    assert len({tuple(trial.values.values()) for trial in trials}) == 14


def test_what_runs_side_by_side_shares_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert children.share_of_cores(1) == {}
    assert children.share_of_cores(3)["TF_NUM_INTRAOP_THREADS"] == "2"
    assert children.share_of_cores(20)["TF_NUM_INTRAOP_THREADS"] == "1"
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    assert "TF_NUM_INTRAOP_THREADS" not in children.share_of_cores(3)


def test_trials_that_fall_behind_are_pruned_unless_that_is_not_wanted(whole, toy, tmp_path):
    pruned = [trial for trial in whole if trial.state == PRUNED]
    assert pruned
    assert all(trial.number >= 5 and trial.outcome["epochs"] < 4 for trial in pruned)
    others = tuned(tmp_path / "study", prune=False)
    assert {trial.state for trial in others} == {COMPLETE}


def test_no_trial_is_pruned_before_the_schedules_have_settled(toy, tmp_path, monkeypatch):
    made = toy()

    async def settles_late(request, *arguments):
        return CHECKED | {"settled": 2.5} if "configs" in request else await made(request, *arguments)

    monkeypatch.setattr(search, "answer", settles_late)
    pruned = [trial for trial in tuned(tmp_path / "study") if trial.state == PRUNED]
    assert {trial.outcome["epochs"] for trial in pruned} == {3}


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": BASE.override(["training.epochs=4"])}, r"another search \(base.training.epochs is 3 there and 4 here\)"),
        ({"space": Space.parse(["model.latent_dim=2,4"])}, r"another search \(search.training.learning_rate is 'training"),
        ({"seed": 1}, r"another search \(seed is 0 there and 1 here\); choose another folder for --study"),
    ],
)
def test_a_folder_of_another_search_is_refused(changes, message, toy, tmp_path):
    tuned(tmp_path / "study", trials=1)
    before = (tmp_path / "study" / "study.journal").read_bytes()
    with pytest.raises(RunError, match=message):
        tuned(tmp_path / "study", trials=2, **changes)
    assert (tmp_path / "study" / "study.journal").read_bytes() == before


def test_images_that_changed_are_refused(toy, tmp_path, monkeypatch):
    tuned(tmp_path / "study", trials=1)
    monkeypatch.setitem(CHECKED, "images", "another")
    with pytest.raises(RunError, match="the images of `digits` are not those of the search in .*; restore them"):
        tuned(tmp_path / "study", trials=2)


def test_a_search_from_before_there_was_a_setting_goes_on(toy, tmp_path):
    tuned(tmp_path / "study", trials=1)
    journal = tmp_path / "study" / "study.journal"
    assert '"average":null,' in journal.read_text()
    journal.write_text(journal.read_text().replace('"average":null,', ""))
    assert len(tuned(tmp_path / "study", trials=2)) == 2


def test_a_folder_of_something_else_is_refused(toy, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(RunError, match="exists and holds no search; choose another for --study, nothing was changed"):
            tuned(place)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_two_searches_can_not_share_a_folder(toy, tmp_path):
    tuned(tmp_path / "study", trials=1)
    with locked(tmp_path / "study"), pytest.raises(RunError, match="is being searched by another process"):
        tuned(tmp_path / "study", trials=2)


@pytest.mark.parametrize(
    "line", [b"not json\n", b"[]\n", b'{"op_code": 99}\n', b'{"op_code": 4}\n', b'{"op_code": 6, "trial_id": 0, "state": 7}\n']
)
def test_a_damaged_journal_is_refused(line, toy, tmp_path):
    tuned(tmp_path / "study", trials=1)
    with (tmp_path / "study" / "study.journal").open("ab") as file:
        file.write(line * 2)
    with pytest.raises(RunError, match=r"study.journal` is damaged .*; restore it, or choose another --study"):
        tuned(tmp_path / "study", trials=2)


def test_loading_a_study_runs_no_code(toy, tmp_path, monkeypatch):
    tuned(tmp_path / "study", trials=2)
    for line in (tmp_path / "study" / "study.journal").read_text().splitlines():
        json.loads(line)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    trials = tuned(tmp_path / "study", trials=2)
    for trial in trials:
        (tmp_path / "study" / trial.name).mkdir()
        np.savez(tmp_path / "study" / trial.name / "validation.npz", log_likelihood=np.array([print], dtype=object))
    with pytest.raises(RunError, match="validation.npz` is missing or damaged .*Object arrays cannot be loaded"):
        less_the_best(tmp_path / "study", trials)


def test_a_search_without_optuna_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("vae_tf.tuning.command.find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(tmp_path / "study")])
    assert done.exit_code == 2
    assert done.stderr == "error: `tune` needs Optuna, which is not installed; install it with: python -m pip install optuna\n"


# What is trained

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


def test_what_would_stop_every_trial_stops_the_search_and_loses_nothing(whole, toy, tmp_path, monkeypatch):
    made = toy()

    async def full(request, *arguments):
        if request.get("folder", "").endswith("trial-003"):
            return {"error": "the disk is full.", "of_trial": False}
        return await made(request, *arguments)

    monkeypatch.setattr(search, "answer", full)
    with pytest.raises(RunError, match=r"trial 3 was stopped: the disk is full. The same command goes on from there\."):
        tuned(tmp_path / "study")
    monkeypatch.setattr(search, "answer", made)
    assert tuned(tmp_path / "study") == whole


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


def test_the_picture_shows_every_trial_in_every_panel(whole):
    figure = tuning(whole, SPACE)
    curves, *panels = [axes for axes in figure.axes if axes.axison]
    assert len(curves.lines) == len(whole)
    assert sum(line.get_marker() == "v" for line in curves.lines) == sum(trial.state == PRUNED for trial in whole)
    assert [axes.get_xlabel() for axes in panels] == [setting.key for setting in SPACE.settings]
    for axes in panels:
        assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() in "o*v") == len(whole)
    assert len({line.get_marker() for line in panels[0].lines} & set("o*v")) == 3  # told apart without colour
    assert b"pruned or failed" in svg(figure)


def test_the_command_tells_what_it_found_and_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", in_this_process)
    options = ["--search=training.learning_rate=0.001..0.01:log", *(f"--set={text}" for text in SMALL), "--trials=2"]
    study = tmp_path / "study"
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(study), *options])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "searching training.learning_rate=0.001..0.01:log (its own values come first)\n[1/2] trial 0, the best so far: "
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


def test_a_search_in_which_nothing_is_complete_says_so(tmp_path, monkeypatch):
    async def fails(request, *arguments):
        return CHECKED if "configs" in request else {"error": "the training diverged.", "of_trial": True}

    monkeypatch.setattr(search, "answer", fails)
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(tmp_path / "study"), "--trials=2"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: no trial is complete")
    assert "[2/2] trial 1: failed with training.learning_rate=" in done.stdout
    assert "(no trial is complete)" in done.stdout


# Processes


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


def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(tmp_path, monkeypatch, toy):
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
    while killed.poll() is None and not list(study.glob("trial-00?/checkpoints/epoch-2.index")):
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
