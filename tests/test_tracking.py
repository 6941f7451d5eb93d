"""Claims about trackers: they hear of every epoch, and never stop a training."""

import logging
from types import SimpleNamespace

import pytest
import tensorflow as tf
from followed import config, follow, said

from vae_tf import cli
from vae_tf.errors import ConfigError, InterruptedRun
from vae_tf.tracking import TRACKERS, Tracker, Tracking
from vae_tf.train import train


class Recorder(Tracker):
    """Takes everything in, except in the calls that it is told to fail in."""

    failing = ()

    def __init__(self, training):
        super().__init__(training)
        self.calls, self.taken, self.outcomes = 0, [], []

    def _call(self):
        self.calls += 1
        if self.calls in self.failing:
            raise ConnectionError("the server\nis away")

    def begin(self):
        self._call()

    def epochs(self, rows):
        self._call()
        self.taken += [row["epoch"] for row in rows]

    def end(self, outcome):
        self._call()
        self.outcomes.append(outcome)


@pytest.fixture
def recorder(monkeypatch):
    """Registers a tracker that fails in given calls; returns a tracking, and the tracker once it follows."""
    made = []

    def register(*failing, again_at_once=True):
        kind = type("Failing", (Recorder,), {"failing": failing})
        monkeypatch.setitem(TRACKERS, "recorder", lambda training: made.append(kind(training)) or made[-1])
        TRACKERS["recorder"].needs = None
        if again_at_once:
            monkeypatch.setattr("vae_tf.tracking.follow._PAUSE", 0)
        return made

    return register


def test_what_a_tracker_could_not_take_in_comes_again(recorder, caplog):
    made = recorder(1, 3)  # the first beginning; the first epoch
    follow(4)
    assert made[0].taken == [1, 2, 3, 4]
    assert made[0].outcomes == ["complete"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the tracker `recorder` failed (ConnectionError: the server is away); the training goes on, and it is tried again" in caplog.text


def test_what_a_tracker_lacks_at_the_end_is_said(recorder, caplog):
    made = recorder(*range(2, 100))
    follow(3)
    assert made[0].taken == []
    first, last = said(caplog)
    assert "failed" in first
    assert last == "the tracker `recorder` lacks the end of this training, or more (ConnectionError: the server is away)"


def test_a_tracker_that_is_slow_to_fail_is_asked_less_often(recorder, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("vae_tf.tracking.follow.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def wait(self):
        self.calls += 1
        clock[0] += 1  # of every call, a second
        raise TimeoutError

    monkeypatch.setattr(Recorder, "_call", wait)
    made = recorder(again_at_once=False)
    follow_each_s, epochs = 1, 40
    with Tracking(["recorder"]) as tracking:
        tracking.follow(None)
        tracking.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=tf.constant(0.5))))
        for epoch in range(epochs):
            clock[0] += follow_each_s
            tracking.on_epoch_end(epoch, {})
    assert 3 <= made[0].calls <= 6


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyboardInterrupt(), "stopped"), (InterruptedRun("enough"), "stopped"), (RuntimeError("no"), "failed")]
)
def test_trackers_hear_how_a_training_ended(recorder, error, outcome):
    made = recorder()
    with pytest.raises(type(error)):
        follow(2, error)
    assert made[0].outcomes == [outcome]


def test_who_stops_a_training_does_not_wait_for_a_tracker_that_is_away(recorder):
    made = recorder(*range(2, 100))
    with pytest.raises(KeyboardInterrupt):
        follow(2, KeyboardInterrupt())
    assert made[0].calls == 3  # begun, failed, and failed to begin again


def test_a_training_goes_on_when_its_curves_can_not_be_written(tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".hidden").write_text("")  # what a killed process left
    short = config(epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.io, "TFRecordWriter", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        run = train(short, folder, verbose=0)
    assert (run.folder / "model.weights.h5").exists()
    failed, lacks = said(caplog)
    assert "the tracker `tensorboard` failed (OSError: [Errno 28] No space left on device); the training goes on" in failed
    assert "lacks the end" in lacks


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        (["tensorbord"], "`trackers` 'tensorbord' does not exist. Did you mean 'tensorboard'?"),
        (["tensorboard", "mlflow"], "`trackers` 'mlflow' needs the package mlflow, which is not installed: `pip install mlflow-skinny"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused_before_anything_is_written(trackers, message, tmp_path, monkeypatch):
    monkeypatch.setattr("vae_tf.tracking.follow.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        train(config(), tmp_path / "run", verbose=0, trackers=trackers)
    assert not (tmp_path / "run").exists()


def test_the_command_line_knows_all_trackers():
    (option,) = (parameter for parameter in cli.train.params if parameter.name == "trackers")
    assert sorted(option.type.choices) == sorted(TRACKERS)
