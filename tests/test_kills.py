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

STEPS = 72  # an epoch; what a call from Python takes, and whether XLA compiles a step, is left to the program
SETS = {
    "training.batch_size": 20,
    "objective.warmup_epochs": 1,
    "training.average": 0.9,
    "training.non_finite": "rollback",
}
DENSE = SETS | {f"model.{part}.hidden": [8] for part in ("encoder", "decoder")}
CONVOLUTIONAL = SETS | {f"model.{part}": "{name: conv, filters: [8, 16], hidden: 32}" for part in ("encoder", "decoder")}


def begin(folder, sets, *options):
    """Start the training of a run, as a person does."""
    command = [sys.executable, "-m", "vae_tf", "train", "digits", "--run", str(folder), "--checkpoint-steps", "5", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command += [f"--set={key}={value}" for key, value in sets.items()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def newest(folder):
    """The position of the last checkpoint."""
    return max(filter(None, (Position.named(path.name) for path in folder.glob("checkpoints/*"))), default=Position(0))


def until(process, condition):
    """Wait for a condition, and fail if the process ends before."""
    while not condition():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.0002)


def advance(folder, position, steps):
    """Whether the training has gone further than that many steps."""
    now = newest(folder)
    return STEPS * (now.epochs - position.epochs) + now.step - position.step >= steps


def at_the_start(process, folder, rng):
    """Somewhere from the start of Python to the first checkpoint."""
    before, last_s = newest(folder), time.monotonic() + rng.uniform(0, 8)
    until(process, lambda: time.monotonic() >= last_s or advance(folder, before, 1))


def anywhere(process, folder, rng):
    """A random number of steps on, and a random little while later."""
    before, steps = newest(folder), rng.integers(1, 40)
    until(process, lambda: advance(folder, before, steps))
    time.sleep(rng.uniform(0, 0.2))


def in_a_checkpoint(process, folder, rng):
    """While the folder of an unfinished checkpoint is there: still empty, or with one or more of its files."""
    before, steps, files = newest(folder), rng.integers(1, 40), rng.integers(0, 4)
    until(process, lambda: advance(folder, before, steps))
    unfinished = folder / "checkpoints" / ".unfinished"
    until(process, lambda: unfinished.exists() and len([*unfinished.rglob("*")]) >= files)


def in_the_history(process, folder, rng):
    """While the history is written, if that is caught within three epochs."""
    before = newest(folder)
    until(process, lambda: advance(folder, before, 1))
    until(process, lambda: any(folder.glob(".*-history.csv")) or advance(folder, before, 3 * STEPS))


def in_the_weights(process, folder, rng):
    """While the weights are written at the end, or shortly after."""
    weights = folder / "model.weights.h5"
    until(process, lambda: any(folder.glob(f".*-{weights.name}")) or weights.exists())


def kill_again_and_again(folder, sets, moments, rng):
    """Kill one run at each of these moments, let it end, and compare it with one that was not disturbed.

    Returns how many were killed while they wrote, and prints where each was.
    """
    killed, whole, epochs = folder / "killed", folder / "whole", sets["training.epochs"]
    undisturbed = begin(whole, sets)
    caught = 0
    for number, moment in enumerate(moments, 1):
        with begin(killed, sets, "--resume") as process:
            moment(process, killed, rng)
            process.kill()
            assert process.wait() == -signal.SIGKILL, "it had ended before; give it more epochs"
        left = [path for pattern in ("checkpoints/.unfinished", "checkpoints/.unfinished/**/*", ".[0-9]*") for path in killed.glob(pattern)]
        caught += bool(left)
        written = [f"{path.name} of {path.stat().st_size} bytes" for path in left]
        print(f"kill {number} {moment.__name__}: last checkpoint {newest(killed).name}", *written, sep=", ", flush=True)
    for process in (undisturbed, begin(killed, sets, "--resume")):
        with process:
            told, _ = process.communicate()
            assert process.returncode == 0, told
            print(*[line for line in told.splitlines() if line.startswith(("training ", "resuming "))], sep="\n")
    assert rows(killed) == rows(whole)
    assert [row["epoch"] for row in rows(killed)] == list(range(1, epochs + 1))
    assert same_weights(load(killed), load(whole))
    kept = {path.name for path in (killed / "checkpoints").iterdir()}
    assert f"epoch-{epochs}" in kept
    assert all(Position.named(name) for name in kept), "what killed processes left is gone"
    assert {path.name for path in killed.glob(".*")} == {".lock"}
    return caught


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_numbers_of_an_uninterrupted_one(tmp_path):
    moments = (anywhere, in_a_checkpoint, in_the_weights)
    kill_again_and_again(tmp_path, DENSE | {"training.epochs": 5}, moments, np.random.default_rng(0))


@pytest.mark.kills
@pytest.mark.parametrize("sets", [DENSE, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_a_process_killed_two_dozen_times_resumes_to_the_numbers_of_an_uninterrupted_one(tmp_path, sets):
    """The dense one has steps enough to be compiled by XLA when it starts, and not enough are left by half of its time."""
    rng = np.random.default_rng(1)
    moments = [*rng.permutation([at_the_start] * 3 + [anywhere] * 9 + [in_a_checkpoint] * 10 + [in_the_history] * 3), in_the_weights]
    assert kill_again_and_again(tmp_path, sets | {"training.epochs": 22}, moments, rng) > 0, "no kill hit a write"
