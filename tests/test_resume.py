"""Claims about going on: wherever a training was stopped, it ends with the history and the weights, bit for bit, of one never stopped."""

import csv
import resource
import shutil

import numpy as np
import pytest
import tf_keras as keras
from trainings import LONGER, STEPS, At, config, rows, same_weights, stop, stopped, train, train_with, truncate

from vae_tf.admission import identity
from vae_tf.build import build
from vae_tf.checkpoints import Every, Keeper, Position
from vae_tf.errors import ConfigError, InterruptedRun, RunError
from vae_tf.history import COLUMNS, History
from vae_tf.run import DataSummary, load


def checkpoints(folder):
    return {path.name for path in (folder / "checkpoints").iterdir()}


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """An uninterrupted run, with a tracker; those that are compared with it have none."""
    return train(config(**LONGER), tmp_path_factory.mktemp("runs") / "run", trackers=("tensorboard",))


def test_a_run_stopped_again_and_again_gives_the_numbers_of_an_uninterrupted_one(complete, tmp_path):
    """Before the first step that is kept, between two, at the end of an epoch, in the next, and before the very last step."""
    folder, last = tmp_path / "run", Position(0)
    for step in (2, 5, STEPS, STEPS + 8, 3 * STEPS - 1):
        stopped(step, config(**LONGER), folder, resume=True, checkpoint_steps=3)
        found = sorted(filter(None, map(Position.named, checkpoints(folder))))
        assert last <= found[-1], "it goes forwards"
        last = found[-1]
        with pytest.raises(RunError, match="is not complete: model.weights.h5 is missing; finish it"):
            load(folder)
    assert last == Position(2, 12)
    resumed = train(config(**LONGER), folder, resume=True)
    assert rows(folder) == rows(complete.folder)
    assert same_weights(resumed, complete)


def test_how_often_checkpoints_are_written_changes_no_number(complete, tmp_path):
    often = train(config(**LONGER), tmp_path / "run", checkpoint_minutes=1e-9)
    assert rows(often.folder) == rows(complete.folder)
    assert same_weights(often, complete)
    assert checkpoints(often.folder) == {"epoch-2", "epoch-3-step-13", "epoch-3"}


def test_steps_done_together_change_no_number_and_a_checkpoint_comes_with_the_first_that_reach_its_own(complete, tmp_path):
    folder = tmp_path / "run"
    stopped(STEPS + 12, config(**LONGER, steps_per_execution=4), folder, checkpoint_steps=5)
    assert checkpoints(folder) == {"epoch-1", "epoch-2-step-8"}
    stopped(2 * STEPS, config(**LONGER, steps_per_execution=3), folder, resume=True, checkpoint_steps=1)
    assert checkpoints(folder) == {"epoch-1", "epoch-2-step-8", "epoch-2-step-11"}
    resumed = train(config(**LONGER, steps_per_execution=None), folder, resume=True)
    assert resumed.vae.execution.steps_per_execution > STEPS
    assert rows(folder) == rows(complete.folder)
    assert same_weights(resumed, complete)


def test_what_is_left_to_do_does_not_change_how_it_is_done(tmp_path, monkeypatch):
    """A training long enough to be compiled is compiled when it is resumed near its end: otherwise its numbers would be others."""
    monkeypatch.setattr("vae_tf.execution._WORTH_COMPILING", 3 * STEPS)
    whole = train(config(**LONGER), tmp_path / "whole")
    stopped(2 * STEPS + 5, config(**LONGER), tmp_path / "run", checkpoint_steps=3)
    resumed = train(config(**LONGER), tmp_path / "run", resume=True)
    assert whole.vae.execution == resumed.vae.execution
    assert resumed.vae.execution.jit_compile
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_weights(resumed, whole)


CONDITIONAL = ["model.condition=classes", "model.prior=conditional-normal", "data.corrupt=mask", "data.corruption=0.25"]


def test_a_conditional_denoising_run_with_averaged_weights_resumes_exactly(tmp_path):
    configuration = config(epochs=2, average=0.9, **LONGER).override(["objective.warmup_epochs=1", *CONDITIONAL])
    whole = train(configuration, tmp_path / "whole")
    stopped(STEPS + 5, configuration, tmp_path / "run", checkpoint_steps=2)
    resumed = train(configuration, tmp_path / "run", resume=True)
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_weights(resumed, whole)
    np.testing.assert_array_equal(load(resumed.folder).vae.generate(3, label=[1, 2, 3]), whole.vae.generate(3, label=[1, 2, 3]))


def test_resuming_a_complete_run_changes_nothing(complete):
    before = {path: path.stat().st_mtime_ns for path in complete.folder.rglob("*") if path.is_file()}
    train(config(**LONGER), complete.folder, resume=True)
    assert before == {path: path.stat().st_mtime_ns for path in complete.folder.rglob("*") if path.is_file()}


def test_resuming_where_nothing_was_begun_begins(tmp_path):
    assert train(config(epochs=2), tmp_path / "run", resume=True).folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint_steps": 5, "checkpoint_minutes": 1}, "`checkpoint_steps` and `checkpoint_minutes` exclude each other, got 5 and 1"),
        ({"checkpoint_steps": 0}, "`checkpoint_steps` must be at least 1, got 0"),
        ({"checkpoint_minutes": 0}, "`checkpoint_minutes` must be above 0, got 0"),
        ({"checkpoint_minutes": float("nan")}, "`checkpoint_minutes` must be above 0, got nan"),
    ],
)
def test_a_frequency_that_is_none_is_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(config(), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_due_after_ten_minutes_if_nothing_else_was_said():
    assert [Every().due(10**6, seconds) for seconds in (599, 600)] == [False, True]
    assert [Every(minutes=0.5).due(10**6, seconds) for seconds in (29, 30)] == [False, True]
    assert [Every(steps=7).due(steps, 1e9) for steps in (6, 7)] == [False, True]


def test_a_checkpoint_is_named_as_a_person_counts():
    positions = [Position(0), Position(0, 3), Position(1), Position(1, 120), Position(2)]
    assert [position.name for position in positions] == ["epoch-0", "epoch-1-step-3", "epoch-1", "epoch-2-step-120", "epoch-2"]
    assert [Position.named(position.name) for position in positions] == positions == sorted(positions)
    assert [Position.named(name) for name in (".unfinished", "epoch", "epoch-1-step", "best")] == [None] * 4


@pytest.fixture
def copy(complete, tmp_path):
    """A copy of the complete run without its weights, as if it had been stopped before they were written."""
    folder = shutil.copytree(complete.folder, tmp_path / "copy")
    (folder / "model.weights.h5").unlink()
    return folder


@pytest.fixture(scope="module")
def vae():
    """The model of these runs."""
    return build(config(**LONGER), (8, 8, 1), 2, STEPS)


def restored(vae, folder):
    """Where a resumed training would begin."""
    run = identity(config(**LONGER), DataSummary.read(folder / "data.json"))
    return Keeper(vae, folder / "checkpoints", History(folder / "history.csv"), run=run).restore()


def data_of(checkpoint):
    return checkpoint / "state.data-00000-of-00001"


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda checkpoint: truncate(data_of(checkpoint)),
        lambda checkpoint: truncate(checkpoint / "state.index"),
        lambda checkpoint: flip(data_of(checkpoint)),
        lambda checkpoint: flip(checkpoint / "state.index"),
        lambda checkpoint: data_of(checkpoint).write_bytes(b""),
        lambda checkpoint: data_of(checkpoint).unlink(),
        lambda checkpoint: (checkpoint / "state.index").unlink(),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(vae, copy, caplog, damage):
    damage(copy / "checkpoints" / "epoch-3")
    assert restored(vae, copy) == Position(2)
    assert "checkpoints/epoch-3` is damaged, or of another training (" in caplog.text
    assert len(History(copy / "history.csv").rows) == 2


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A run that was stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    stopped(STEPS + 8, config(**LONGER), folder, checkpoint_steps=3)
    return folder


def test_only_what_may_be_needed_is_kept(vae, halfway):
    assert checkpoints(halfway) == {"epoch-1", "epoch-2-step-3", "epoch-2-step-6"}
    assert restored(vae, halfway) == Position(1, 6)


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [(["epoch-2-step-6"], Position(1, 3)), (["epoch-2-step-6", "epoch-2-step-3"], Position(1)), (["epoch-1"], None)],
)
def test_a_checkpoint_within_an_epoch_counts_with_that_of_its_beginning(vae, halfway, tmp_path, damaged, expected):
    folder = shutil.copytree(halfway, tmp_path / "copy")
    for name in damaged:
        truncate(data_of(folder / "checkpoints" / name))
    if expected is not None:
        assert restored(vae, folder) == expected
        return
    with pytest.raises(RunError, match="all checkpoints in .* are damaged, or of another training; train again in another folder"):
        restored(vae, folder)


def test_what_was_passed_over_does_not_count_as_new(complete, copy):
    """Or what is written after it would be the first to be removed."""
    for name in ("epoch-4", "epoch-5"):
        shutil.copytree(copy / "checkpoints" / "epoch-3", copy / "checkpoints" / name)
    for name in ("epoch-3", "epoch-4", "epoch-5"):
        truncate(data_of(copy / "checkpoints" / name))
    stopped(2 * STEPS + 8, config(**LONGER), copy, resume=True, checkpoint_steps=3)
    assert checkpoints(copy) == {"epoch-2", "epoch-3-step-3", "epoch-3-step-6"}
    assert same_weights(train(config(**LONGER), copy, resume=True), complete)


def test_where_all_checkpoints_are_damaged_the_run_is_refused_and_left_as_it_is(vae, copy):
    for path in (copy / "checkpoints").glob("*/*.data-*"):
        truncate(path)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="all checkpoints in .* are damaged, or of another training; train again in another folder"):
        restored(vae, copy)
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_a_checkpoint_of_another_place_is_passed_over(vae, copy):
    shutil.rmtree(copy / "checkpoints" / "epoch-3")
    shutil.copytree(copy / "checkpoints" / "epoch-2", copy / "checkpoints" / "epoch-3")
    assert restored(vae, copy) == Position(2)


@pytest.mark.parametrize("other", [{"batch_size": 100, "anneal": 0}, {"batch_size": 50}])
def test_checkpoints_of_another_training_are_refused(complete, copy, tmp_path, other):
    """Though the models are alike."""
    with pytest.raises(InterruptedRun):
        train_with([At(40, stop)], config(**other), tmp_path / "other")
    shutil.rmtree(copy / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", copy / "checkpoints")
    with pytest.raises(RunError, match="all checkpoints in .* are damaged, or of another training; train again"):
        train(config(**LONGER), copy, resume=True)


def test_a_first_checkpoint_of_another_model_leaves_nothing_behind(copy):
    """Some of its weights fit."""
    for path in (copy / "checkpoints").iterdir():
        shutil.rmtree(path)
    deeper = build(config(**LONGER).override(["model.decoder.hidden=[8,8]"]), (8, 8, 1), 2, STEPS)
    Keeper(deeper, copy / "checkpoints", History(copy / "history.csv")).save()
    fresh = build(config(**LONGER), (8, 8, 1), 2, STEPS)
    before = fresh.get_weights()
    assert restored(fresh, copy) == Position(0)
    assert all(np.array_equal(one, other) for one, other in zip(before, fresh.get_weights()))


def test_checkpoints_of_another_model_are_refused(copy):
    other = build(config(**LONGER).override(["model.latent_dim=5"]), (8, 8, 1), 2, STEPS)
    with pytest.raises(RunError, match="all checkpoints in .* are damaged, or of another training; train again in another folder"):
        restored(other, copy)


def test_a_first_checkpoint_that_is_damaged_is_no_loss(vae, copy):
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints" / "epoch-0").mkdir(parents=True)
    assert restored(vae, copy) == Position(0)
    assert History(copy / "history.csv").rows == []


def test_checkpoints_of_an_earlier_version_are_refused(vae, copy):
    """They were files; nothing begins anew where there is something that can not be read."""
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").mkdir()
    (copy / "checkpoints" / "epoch-3.index").touch()
    with pytest.raises(RunError, match="all checkpoints in .* are damaged"):
        restored(vae, copy)


def test_a_run_that_died_before_its_first_checkpoint_begins_again(complete, copy):
    shutil.rmtree(copy / "checkpoints")
    train(config(**LONGER), copy, resume=True)
    assert rows(copy) == rows(complete.folder)


def test_what_a_killed_process_was_writing_is_not_taken_for_whole(complete, copy):
    """Even if nothing is missing in it; and it is removed."""
    shutil.rmtree(copy / "checkpoints" / "epoch-3")
    shutil.copytree(copy / "checkpoints" / "epoch-2", copy / "checkpoints" / ".unfinished")
    (copy / ".123-history.csv").write_text("epo")
    resumed = train(config(**LONGER), copy, resume=True)
    assert checkpoints(copy) == {"epoch-2", "epoch-3"}
    assert {path.name for path in copy.glob(".*")} == {".lock"}
    assert same_weights(resumed, complete)


def test_a_history_that_lacks_epochs_is_refused(vae, copy):
    history = copy / "history.csv"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(RunError, match="history.csv` does not hold the 3 epochs of the checkpoint"):
        restored(vae, copy)


def test_a_history_written_before_there_were_guards_is_read_and_continued(complete, copy):
    path = copy / "history.csv"
    with path.open() as file:
        written = list(csv.DictReader(file))
    columns = [name for name in COLUMNS if name not in ("active_units", "rollbacks")]
    with path.open("w") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(written)
    assert [set(row) for row in History(path).rows] == [set(columns)] * 3
    shutil.rmtree(copy / "checkpoints" / "epoch-3")
    resumed = train(config(**LONGER), copy, resume=True)
    assert ["active_units" in row for row in rows(copy)] == [False, False, True]
    assert same_weights(resumed, complete)


@pytest.fixture
def full():
    """Let no file grow beyond four thousand bytes, as on a full disk; a checkpoint is larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("step", [STEPS + 5, 2 * STEPS - 1], ids=["within an epoch", "at its end"])
def test_on_a_full_disk_the_training_stops_and_the_last_checkpoint_stays(vae, tmp_path, full, step):
    folder, last = tmp_path / "run", "epoch-2-step-4" if step < 2 * STEPS - 1 else "epoch-2-step-12"
    message = rf"run` can not be written to \(.*File too large\); make room and go on with --resume, from the last checkpoint: {last}\.$"
    with pytest.raises(RunError, match=message) as caught:
        train_with([At(step, full)], config(**LONGER), folder, checkpoint_steps=4)
    assert "{{" not in str(caught.value)
    assert checkpoints(folder) >= {last, "epoch-1"}
    assert not (folder / "checkpoints" / ".unfinished").exists()
    assert restored(vae, folder).name == last


def test_where_there_is_no_room_for_the_weights_it_is_said_and_they_are_written_later(complete, tmp_path, full):
    full_at_the_end = keras.callbacks.LambdaCallback(on_train_end=lambda logs: full())
    message = r"model.weights.h5` needs 1 MB of disk, and there is less \(File too large\); make room and go on with --resume\.$"
    with pytest.raises(RunError, match=message):
        train_with([full_at_the_end], config(**LONGER), tmp_path / "run")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert same_weights(train(config(**LONGER), tmp_path / "run", resume=True), complete)


def test_where_there_is_no_room_for_the_history_the_last_checkpoint_stays(vae, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    message = r"can not be written to \(.*No space left on device\); make room .*, from the last checkpoint: epoch-1-step-12\.$"
    with pytest.raises(RunError, match=message):
        train_with(
            [At(STEPS, lambda: monkeypatch.setattr(History, "_write", fail))], config(**LONGER), tmp_path / "run", checkpoint_steps=4
        )
    monkeypatch.undo()
    assert restored(vae, tmp_path / "run") == Position(0, 12)


def test_a_folder_that_can_not_be_written_to_is_noticed_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_tf.checkpoints.sync", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    message = r"can not be written to \(\[Errno 28\] No space left on device\); .* from the last checkpoint: none\."
    with pytest.raises(RunError, match=message):
        train_with([At(1, lambda: pytest.fail("it was trained"))], config(), tmp_path / "run")
