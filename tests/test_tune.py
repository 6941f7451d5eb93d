"""Claims about searches: what is suggested is fixed by the seed, and nothing is lost whenever a search is stopped."""

import json
import pickle
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from searches import BASE, CHECKED, SPACE, Killed, Toy, tuned

from vae_tf.cli import main
from vae_tf.errors import RunError
from vae_tf.files import locked
from vae_tf.plots.style import svg
from vae_tf.plots.tuning import tuning
from vae_tf.tuning import children, search
from vae_tf.tuning.ranking import less_the_best
from vae_tf.tuning.record import COMPLETE, PRUNED
from vae_tf.tuning.space import Space


@pytest.fixture
def toy(monkeypatch):
    def use(**options):
        made = Toy(**options)
        monkeypatch.setattr(search, "answer", made)
        return made

    use()
    return use


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search by the toy that was never stopped, into the trials that are more than random draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "answer", Toy())
        return tuned(tmp_path_factory.mktemp("studies") / "study")


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
    for lives in (1, 2, 7, 3, 8, 2, 1, 1):
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


@pytest.mark.parametrize("searched", [["model.latent_dim=1..40:log:int"], ["model.latent_dim=1..8:int", "training.batch_size=200,300"]])
def test_what_can_be_counted_is_tried_to_its_end_however_often_the_search_is_stopped(searched, toy, tmp_path):
    space, lines = Space.parse(searched), []
    trials = tuned(tmp_path / "study", trials=60, space=space, lines=lines)
    every = [space.at(place) for place in range(space.size)]
    assert {tuple(trial.values.items()) for trial in trials} == {tuple(values.items()) for values in every}
    assert len(trials) == space.size
    assert lines[-1] == f"all that there is to try was tried, in {space.size} trials"
    for wanted in range(9, 60, 10):
        again = tuned(tmp_path / "again", trials=wanted, space=space)
    assert again == trials


def test_a_range_too_narrow_for_more_trials_ends_the_search(toy, tmp_path):
    lines = []
    trials = tuned(tmp_path / "study", trials=9, space=Space.parse(["training.learning_rate=0.001..0.001002"]), lines=lines)
    assert {SPACE.settings[0].text(trial.values["training.learning_rate"]) for trial in trials} == {"0.001", "0.001001", "0.001002"}
    assert lines[-1] == "nothing new was suggested, in 3 trials"


def test_trials_side_by_side_give_one_study(toy, tmp_path):
    running = toy()
    trials = tuned(tmp_path / "study", jobs=3)
    assert running.most == 3
    assert [trial.number for trial in trials] == list(range(14))
    assert {trial.state for trial in trials} <= {COMPLETE, PRUNED}
    assert len({tuple(trial.values.values()) for trial in trials}) == 14


def test_what_runs_side_by_side_shares_the_cores(monkeypatch):
    monkeypatch.setattr(children, "available", lambda: 8)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert children.share_of_cores(1) == {}
    assert children.share_of_cores(3)["TF_NUM_INTRAOP_THREADS"] == "2"
    assert children.share_of_cores(20)["TF_NUM_INTRAOP_THREADS"] == "1"
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    assert "TF_NUM_INTRAOP_THREADS" not in children.share_of_cores(3)


def test_trials_that_fall_behind_are_pruned_unless_that_is_not_wanted(whole, toy, tmp_path):
    pruned = [trial for trial in whole if trial.state == PRUNED]
    assert pruned
    assert all(trial.number >= 5 and trial.outcome["epochs"] < BASE.training.epochs for trial in pruned)
    others = tuned(tmp_path / "study", prune=False)
    assert {trial.state for trial in others} == {COMPLETE}


def test_no_trial_is_pruned_before_the_schedules_have_settled(toy, tmp_path, monkeypatch):
    made = toy()

    async def settles_late(request, *arguments):
        return CHECKED | {"settled": 2.5} if "configs" in request else await made(request, *arguments)

    monkeypatch.setattr(search, "answer", settles_late)
    pruned = [trial for trial in tuned(tmp_path / "study", base=BASE.override(["training.epochs=5"])) if trial.state == PRUNED]
    assert {trial.outcome["epochs"] for trial in pruned} == {3}


def test_no_trial_is_pruned_after_its_last_epoch(toy, tmp_path, monkeypatch):
    """Its value is known as soon as it is estimated, and nothing would be saved."""
    made = toy()

    async def settles_at_the_end(request, *arguments):
        return CHECKED | {"settled": BASE.training.epochs} if "configs" in request else await made(request, *arguments)

    monkeypatch.setattr(search, "answer", settles_at_the_end)
    assert {trial.state for trial in tuned(tmp_path / "study")} == {COMPLETE}


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


# What is told


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


def test_a_search_in_which_nothing_is_complete_says_so(tmp_path, monkeypatch):
    async def fails(request, *arguments):
        return CHECKED if "configs" in request else {"error": "the training diverged.", "of_trial": True}

    monkeypatch.setattr(search, "answer", fails)
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(tmp_path / "study"), "--trials=2"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: no trial is complete")
    assert "[2/2] trial 1: failed with training.learning_rate=" in done.stdout
    assert "(no trial is complete)" in done.stdout
