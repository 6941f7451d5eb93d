"""`python benchmarks/scaling.py`: what two processes gain over one, and what of a step is communication, side by side in one go.

Every side trains the same global batches: one process with one thread, one with two, two of one thread each over the loopback interface,
and these two without the sum of gradients, which tells what the sum costs. Each process has cores of its own. All are started first; then
rounds go through models and sides in turn, one side at work at a time. What counts is the median.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import click

_CONV = {"name": "conv", "filters": [32, 64], "hidden": 256}
_MLP = {"name": "mlp", "hidden": [200, 200]}
WORKS: dict[str, dict[str, Any]] = {
    "MLP 784-200-200-50, batch 100": {"network": _MLP, "latents": 50, "batch": 100, "steps": 300, "xla": True},
    "MLP 784-200-200-50, batch 1000": {"network": _MLP, "latents": 50, "batch": 1000, "steps": 50, "xla": True},
    "convolutional, batch 128": {"network": _CONV, "latents": 40, "batch": 128, "steps": 24, "xla": False},
}
SIDES = {"1 x 1": [[0]], "1 x 2": [[0, 1]], "2 x 1": [[0], [1]], "2 x 1, no sum": [[0], [1]]}  # cores of each process
_IMAGES = 10_000


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each side runs each model.")
@click.option("--quick", is_flag=True, help="A few steps in one round, to see whether it runs; the numbers mean nothing.")
def main(rounds: int, quick: bool) -> None:
    """Measure and print a table in Markdown."""
    if len(os.sched_getaffinity(0)) < 2:
        raise click.ClickException("two cores are needed, one for each process.")
    found: dict[tuple[str, str], list[float]] = {(name, side): [] for name in WORKS for side in SIDES}
    with contextlib.ExitStack() as stack:
        sides = {side: _Side(stack, side) for side in SIDES}
        for name, work in WORKS.items():
            for one in sides.values():
                parameters = one.run(name, 2 if quick else work["steps"])[1]  # compiles
            work["parameters"] = parameters
        for number in range(1 if quick else rounds):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))
            for name, work in WORKS.items():
                steps = 2 if quick else work["steps"]
                for side in order:
                    seconds, _ = sides[side].run(name, steps)
                    found[name, side].append(steps * work["batch"] / seconds)
                    click.echo(f"{name}, {side}: {found[name, side][-1]:,.0f} images per second", err=True)
    click.echo(f"{_processor()}, 2 cores, {date.today().isoformat()}; images per second, medians of {1 if quick else rounds} round(s).\n")
    click.echo("| model | parameters | 1 x 1 thread | 1 x 2 threads | 2 x 1 thread | to 1 x 1 | to 1 x 2 | bytes a step | communication |")
    click.echo("|---|---|---|---|---|---|---|---|---|")
    for name, work in WORKS.items():
        one, two, pair, silent = (statistics.median(found[name, side]) for side in SIDES)
        sent = 4 * work["parameters"] * 2 * (2 - 1) / 2
        click.echo(
            f"| {name} | {work['parameters']:,} | {one:,.0f} | {two:,.0f} | {pair:,.0f} | {pair / one:.2f} | {pair / two:.2f} "
            f"| {sent / 1e6:.2f} MB | {1 - pair / silent:.0%} |"
        )


class _Side:
    """Its processes, which wait to be told what to run."""

    def __init__(self, stack: contextlib.ExitStack, side: str):
        cores = SIDES[side]
        with contextlib.ExitStack() as sockets:
            opened = [sockets.enter_context(socket.socket()) for _ in cores]
            for one in opened:
                one.bind(("127.0.0.1", 0))
            workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in opened]
        self.processes = []
        available = sorted(os.sched_getaffinity(0))
        for index, own in enumerate(cores):
            told = {"cores": [available[core] for core in own], "sum": "no sum" not in side}
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "_SCALING": json.dumps(told)}
            if len(cores) > 1:
                environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
            process = subprocess.Popen(
                [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            self.processes.append(process)

    def run(self, name: str, steps: int) -> tuple[float, int]:
        """Return the seconds that so many steps take, and the number of parameters."""
        for process in self.processes:
            process.stdin.write(json.dumps([name, steps]) + "\n")
            process.stdin.flush()
        answers = [process.stdout.readline() for process in self.processes]
        if not all(answers):
            raise click.ClickException("a process has ended; what it said stands above.")
        seconds, parameters = zip(*map(json.loads, answers))
        return max(seconds), parameters[0]


def _trial(told: dict[str, Any]) -> None:
    """Run what comes on standard input."""
    os.sched_setaffinity(0, told["cores"])
    import numpy as np
    import tensorflow as tf
    import tf_keras as keras

    from vae_tf import pipeline
    from vae_tf.build import build
    from vae_tf.cluster import connect
    from vae_tf.config import Config
    from vae_tf.images import Split

    tf.config.threading.set_intra_op_parallelism_threads(len(told["cores"]))
    tf.config.threading.set_inter_op_parallelism_threads(len(told["cores"]))
    cluster = connect()
    split = Split(np.random.default_rng(0).integers(0, 256, (_IMAGES, 28, 28, 1), np.uint8))

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun_s = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.took_s = time.perf_counter() - self.begun_s

    made: dict[str, Any] = {}
    for line in sys.stdin:
        name, steps = json.loads(line)
        work = WORKS[name]
        if name not in made:
            config = Config.from_dict(
                {
                    "data": {"source": "tfds:mnist", "binarize": "dynamic"},
                    "model": {"latent_dim": work["latents"], "encoder": work["network"], "decoder": work["network"]},
                    "training": {"jit_compile": work["xla"], "batch_size": work["batch"]},
                }
            )
            with cluster.strategy.scope():
                keras.utils.set_random_seed(0)
                vae = build(config, (28, 28, 1), 2, _IMAGES // work["batch"])
            if not told["sum"]:
                vae.optimizer.aggregate_gradients = list  # each process goes its own way
            batch = work["batch"]
            made[name] = (
                vae,
                cluster.batches(
                    lambda share, pieces, batch=batch: pipeline.training_batches(
                        split, 256, batch_size=batch, seed=0, binarize="dynamic", share=share, pieces=pieces
                    )
                ),
            )
        vae, batches = made[name]
        clock = Clock()
        vae.fit(batches, steps_per_epoch=steps, epochs=1, verbose=0, callbacks=[clock])
        print(json.dumps([clock.took_s, sum(weight.shape.num_elements() for weight in vae.trainable_variables)]), flush=True)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "processor")


if __name__ == "__main__":
    if "_SCALING" in os.environ:
        _trial(json.loads(os.environ["_SCALING"]))
    else:
        main()
