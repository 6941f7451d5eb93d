"""`python benchmarks/step_time.py BEFORE AFTER`: the training step of a preset in two checkouts of this repository, side by side.

Each round runs both in processes of their own, one after the other, on one core; what counts is processor time, which other load on the
machine disturbs least. Prints the median of each and the ratio AFTER / BEFORE, in graph mode and compiled by XLA.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import click

_STEP = """
import json, sys, time
import numpy as np, tensorflow as tf
import tf_keras as keras
from vae_tf.build import build
from vae_tf.config import preset
name, jit, steps, repeats = sys.argv[1], sys.argv[2] == "xla", int(sys.argv[3]), int(sys.argv[4])
keras.utils.set_random_seed(0)
vae = build(preset(name).override([f"training.jit_compile={str(jit).lower()}"]), (28, 28, 1), 2, 600)
x = (np.random.default_rng(0).random((100, 28, 28, 1)) < 0.2).astype("float32")
data = tf.data.Dataset.from_tensors(x).cache().repeat()
vae.fit(data, steps_per_epoch=30, verbose=0)
times = []
for _ in range(repeats):
    start = time.process_time()
    vae.fit(data, steps_per_epoch=steps, verbose=0)
    times.append((time.process_time() - start) / steps * 1e3)
print(json.dumps(times))
"""


@click.command()
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
@click.option("--preset", default="mnist", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--steps", default=100, show_default=True)
def main(before: Path, after: Path, preset: str, rounds: int, steps: int) -> None:
    """Measure and print."""
    for mode in ("graph", "xla"):
        times: dict[str, list[float]] = {"before": [], "after": []}
        for number in range(rounds):
            sides = [("before", before), ("after", after)]
            for side, root in sides if number % 2 == 0 else reversed(sides):
                times[side] += _measure(root.resolve(), preset, mode, steps)
        medians = {side: statistics.median(values) for side, values in times.items()}
        ratio = medians["after"] / medians["before"]
        click.echo(f"{preset} {mode}: before {medians['before']:.2f} ms, after {medians['after']:.2f} ms a step, ratio {ratio:.3f}")


def _measure(root: Path, preset: str, mode: str, steps: int) -> list[float]:
    environment = os.environ | {"PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = ["taskset", "-c", "0", sys.executable, "-c", _STEP, preset, mode, str(steps), "3"]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
