"""The claim that a training survives SIGKILL: real processes, killed at random moments, end as one that nobody disturbed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from trainings import rows, same_weights

from vae_tf.checkpoints import Position
from vae_tf.run import load

SETS = {
    "training.batch_size": 20,  # 72 steps in an epoch
    "model.encoder.hidden": [8],
    "model.decoder.hidden": [8],
    "objective.warmup_epochs": 1,
    "training.average": 0.9,
    "training.non_finite": "rollback",
}


def begin(folder, epochs, *options):
    """Start the training of a run, as a person does."""
    sets = [f"--set={key}={value}" for key, value in (SETS | {"training.epochs": epochs}).items()]
    command = [sys.executable, "-m", "vae_tf", "train", "digits", "--run", str(folder), "--checkpoint-steps", "5", *sets, *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def newest(folder):
    """The position of the last checkpoint."""
    return max(filter(None, (Position.named(path.name) for path in folder.glob("checkpoints/*"))), default=Position(0))


def until(process, condition):
    """Wait for a condition, and fail if the process ends before."""
    while not condition():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.0005)


def advance(folder, position, steps):
    """Whether the training has gone further than that many steps."""
    now = newest(folder)
    return 72 * (now.epochs - position.epochs) + now.step - position.step >= steps


def at_the_start(process, folder, rng):
    """Somewhere from the start of Python to the first steps."""
    time.sleep(rng.uniform(0, 8))


def anywhere(process, folder, rng):
    """A random number of steps on, and a random little while later."""
    before, steps = newest(folder), rng.integers(1, 40)
    until(process, lambda: advance(folder, before, steps))
    time.sleep(rng.uniform(0, 0.2))


def in_the_middle_of_a_write(process, folder, rng):
    """While the folder of an unfinished checkpoint is there, more or less full."""
    before, steps = newest(folder), rng.integers(1, 40)
    until(process, lambda: advance(folder, before, steps))
    until(process, (folder / "checkpoints" / ".unfinished").exists)
    time.sleep(rng.choice([0, 0.001, 0.005, 0.02]))


def kill_again_and_again(folder, epochs, moments, rng):
    """Kill one run at each of these moments, let it end, and compare it with one that was not disturbed."""
    undisturbed = begin(folder / "whole", epochs)
    unfinished = 0
    for moment in moments:
        with begin(folder / "killed", epochs, "--resume") as process:
            moment(process, folder / "killed", rng)
            process.kill()
            assert process.wait() == -signal.SIGKILL, "it had ended before; give it more epochs"
        unfinished += (folder / "killed" / "checkpoints" / ".unfinished").exists()
    for process in (undisturbed, begin(folder / "killed", epochs, "--resume")):
        with process:
            told, _ = process.communicate()
            assert process.returncode == 0, told
    assert rows(folder / "killed") == rows(folder / "whole")
    assert same_weights(load(folder / "killed"), load(folder / "whole"))
    kept = {path.name for path in (folder / "killed" / "checkpoints").iterdir()}
    assert f"epoch-{epochs}" in kept
    assert all(Position.named(name) for name in kept), "what killed processes left is gone"
    assert {path.name for path in (folder / "killed").glob(".*")} == {".lock"}
    return unfinished


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_numbers_of_an_uninterrupted_one(tmp_path):
    moments = (anywhere, in_the_middle_of_a_write, anywhere)
    kill_again_and_again(tmp_path, 5, moments, np.random.default_rng(0))


@pytest.mark.kills
@pytest.mark.parametrize("seed", [1, 2])
def test_a_process_killed_two_dozen_times_resumes_to_the_numbers_of_an_uninterrupted_one(tmp_path, seed):
    rng = np.random.default_rng(seed)
    moments = rng.permutation([at_the_start] * 4 + [anywhere] * 10 + [in_the_middle_of_a_write] * 10)
    assert kill_again_and_again(tmp_path, 16, moments, rng) > 0, "no kill hit a write"
