"""Claims about being stopped from outside: SIGTERM and Ctrl-C are answered after the running step, with a checkpoint."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from trainings import At, config, rows, same_weights, train, train_with

from vae_tf.cli import main
from vae_tf.errors import InterruptedRun, PreemptedRun

STEPS = 4  # an epoch


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """An uninterrupted run."""
    return train(config(), tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(autouse=True)
def the_handlers_stay_as_they_were():
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def send(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "error", "who", "step", "where", "checkpoint"),
    [
        (signal.SIGTERM, PreemptedRun, "by SIGTERM", STEPS + 1, "after step 2 of epoch 2", "epoch-2-step-2"),
        (signal.SIGINT, InterruptedRun, "by the user", 2 * STEPS - 1, "after epoch 2", "epoch-2"),
    ],
    ids=["within an epoch", "in the last step of an epoch"],
)
def test_a_signal_is_answered_with_a_checkpoint(complete, tmp_path, number, error, who, step, where, checkpoint):
    """It comes with one step complete, and the next is the running one."""
    folder = tmp_path / "run"
    with pytest.raises(
        error, match=f"^stopped {who} {where}; all until there is kept: go on with the same command and --resume.$"
    ) as caught:
        train_with([At(step, send(number))], config(), folder)
    assert type(caught.value) is error
    assert (folder / "checkpoints" / checkpoint).is_dir()
    steps = []
    resumed = train_with([At(step + 1, lambda: steps.append("again"))], config(), folder, resume=True)
    assert not steps, "a step that was complete was done again"
    assert rows(folder) == rows(complete.folder)
    assert same_weights(resumed, complete)


def test_a_signal_during_the_validation_is_answered_when_the_epoch_has_ended(tmp_path):
    class InValidation(At):
        def on_test_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)

    with pytest.raises(PreemptedRun, match="after epoch 1; "):
        train_with([InValidation(STEPS, send(signal.SIGTERM))], config(), tmp_path / "run")
    assert [row["epoch"] for row in rows(tmp_path / "run")] == [1]


def test_a_second_ctrl_c_stops_at_once(tmp_path, capfd):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")

    with pytest.raises(InterruptedRun, match="^stopped by the user; what was complete is kept: go on with the same command and --resume"):
        train_with([At(STEPS + 1, twice)], config(), tmp_path / "run")
    assert "writing a checkpoint; Ctrl-C again stops at once" in capfd.readouterr().err
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"epoch-0", "epoch-1"}


def test_a_signal_that_came_too_late_for_a_step_is_not_forgotten(complete, tmp_path, monkeypatch):
    """Such as while the weights are written: what follows in the same process must not go on as if nothing had been asked."""
    from vae_tf import train as module

    save = module._save_weights
    monkeypatch.setattr(module, "_save_weights", lambda *args: (os.kill(os.getpid(), signal.SIGINT), save(*args)))
    with pytest.raises(InterruptedRun, match="stopped by the user at its end; all until there is kept"):
        train(config(), tmp_path / "run")
    assert same_weights(train(config(), tmp_path / "run", resume=True), complete)


def test_what_ignored_ctrl_c_goes_on_ignoring_it(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train_with([At(2, send(signal.SIGINT))], config(), tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "run" / "model.weights.h5").exists()


def test_a_training_in_another_thread_listens_to_nothing(tmp_path):
    seen = []
    asked = At(2, lambda: seen.append(signal.getsignal(signal.SIGTERM)))
    thread = threading.Thread(target=train_with, args=([asked], config(), tmp_path / "run"))
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
    assert (tmp_path / "run" / "model.weights.h5").exists()


@pytest.mark.parametrize(("error", "code"), [(PreemptedRun, 75), (InterruptedRun, 130)])
def test_the_exit_code_tells_who_stopped_it(error, code, monkeypatch, tmp_path):
    def stopped(*args, **kwargs):
        raise error("stopped by somebody: go on with --resume.")

    monkeypatch.setattr("vae_tf.train.train", stopped)
    done = CliRunner().invoke(main, ["train", "digits", "--run", str(tmp_path / "run")])
    assert (done.exit_code, done.stderr) == (code, "stopped by somebody: go on with --resume.\n")


def test_sigterm_while_a_training_is_prepared_has_the_same_exit_code(tmp_path):
    prepared = "train_command.start_tensorflow = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM)"
    program = f"import os, signal; from vae_tf import train_command; from vae_tf.cli import main; {prepared}; main()"
    command = [sys.executable, "-c", program, "train", "digits", "--run", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 75
    assert done.stderr == "stopped by SIGTERM outside of the training's steps; go on with the same command and --resume.\n"


def test_both_frequencies_together_are_refused(tmp_path):
    asked = ["train", "digits", "--run", str(tmp_path / "run"), "--checkpoint-steps", "5", "--checkpoint-minutes", "1"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert "`checkpoint_steps` and `checkpoint_minutes` exclude each other" in done.stderr
