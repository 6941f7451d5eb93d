"""`python benchmarks/training.py`: the same training by this project and by others, side by side in one go.

Three models (benchmarks/peers/work.py), each written out by each side: `vae.fit` and the command line of this project with their default
settings, PyTorch, JAX, and Keras after its official example. A side trains whole epochs on the same images in memory, in a process of its
own and on the same processors; rounds go through all sides in turn, since a machine is not always equally busy. Every side draws its
binarization and its noise anew in each step and keeps no metric but the running loss. What counts is the median epoch, without the first.

The others are requirements of this benchmark only. Keras is there where TensorFlow is. PyTorch and JAX go into an environment of their own:

    python -m venv peers && peers/bin/pip install --requirement benchmarks/requirements.txt
    python benchmarks/training.py --peers-python peers/bin/python

On Linux `torch` brings CUDA libraries of several GB along unless its build for CPUs is asked for, as PyTorch's page on installation says;
that build is what was measured. `torch.compile` needs a C++ compiler. A side that is not installed is shown as such.
"""

import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
from peers.process import Failure, Runner
from peers.table import TOLERANCE, Row, markdown
from peers.trial import Benchmark, Trial
from peers.work import WORKS

OURS, COMMAND, FROM_DISK = "vae_tf fit", "vae_tf command-line", "vae_tf from-disk"
TORCH = ("torch eager", "torch compile", "torch bfloat16", "torch compile-bfloat16")
CONVOLUTIONAL = ("vae_tf fit-float32", "torch channels-last", "torch compile-channels-last")
KERAS = tuple(f"keras {way}" for way in ("tf_keras", "tf_keras-xla", "tf_keras-bfloat16", "keras", "keras-graph", "keras-bfloat16"))
ALL = (OURS, COMMAND, *TORCH, "jax scan", "jax step", *KERAS)
SECTIONS = ("training", "data", "memory", "evaluation")
_WHOLE_SET, _TEST_SET, _EVALUATED, _SAMPLES = 60_000, 10_000, 220, 5000
_QUICK_STEPS, _QUICK_EVALUATED, _QUICK_SAMPLES = 3, 30, 100


@click.command()
@click.option("--model", "models", multiple=True, type=click.Choice(list(WORKS)), help="Repeatable; all unless given.")
@click.option(
    "--section",
    "sections",
    multiple=True,
    type=click.Choice(SECTIONS),
    default=SECTIONS[:1],
    show_default=True,
    help="Repeatable: training by all sides; and of this project, images from memory against from disk, a whole set in memory, evaluation.",
)
@click.option(
    "--row", "patterns", multiple=True, metavar="PATTERN", default=("*",), help="Repeatable: rows such as 'vae_tf fit' or 'torch *'."
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each side runs.")
@click.option("--epochs", default=4, show_default=True, type=click.IntRange(2), help="Of each run; the first one warms up.")
@click.option("--images", type=click.IntRange(1), help="Of an epoch; unless given, as many as take some seconds.")
@click.option(
    "--threads", default=len(os.sched_getaffinity(0)), show_default=True, type=click.IntRange(1), help="Processors that a side may use."
)
@click.option("--timeout", default=900, show_default=True, type=click.IntRange(1), help="Seconds after which a side is stopped.")
@click.option(
    "--peers-python", default=sys.executable, type=click.Path(path_type=Path), help="Python with torch and jax; this one unless given."
)
@click.option(
    "--data-dir", envvar="TFDS_DATA_DIR", help="Folder of prepared tensorflow_datasets sets, for MNIST; without it, random images."
)
@click.option("--json", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write all that was measured to this file.")
@click.option("--quick", is_flag=True, help="A few steps of each side in one round, to see whether it runs; the numbers mean nothing.")
def main(
    models: tuple[str, ...],
    sections: tuple[str, ...],
    patterns: tuple[str, ...],
    rounds: int,
    epochs: int,
    images: int | None,
    threads: int,
    timeout: int,
    peers_python: Path,
    data_dir: str | None,
    target: Path | None,
    quick: bool,
) -> None:
    """Measure and print tables in Markdown."""
    runner = Runner(threads, timeout)
    benchmark = Benchmark(runner, peers_python, data_dir, lambda text: click.echo(text, err=True))
    found: dict[str, Any] = {"machine": _machine(threads), "date": date.today().isoformat(), "trials": [], "evaluation": []}
    click.echo(f"{found['machine']}, {found['date']}.")
    rounds, epochs = (1, 2) if quick else (rounds, epochs)
    for trial in _trials(sections, models or tuple(WORKS), patterns, images, quick):
        benchmark.run(trial, rounds, epochs)
        table = markdown(WORKS[trial.model], trial.rows, trial.images, benchmark.limit)
        click.echo(f"\n{_caption(trial, rounds, epochs, benchmark.limit)}\n\n{table}")
        found["trials"].append(asdict(trial))
        _write(target, found | {"limit_flop_per_s": benchmark.limits})
    for model in ("mlp", "conv") if "evaluation" in sections else ():
        if model in (models or WORKS):
            found["evaluation"].append(_evaluated(benchmark, model, quick))
            _write(target, found | {"limit_flop_per_s": benchmark.limits})


def _trials(sections: tuple[str, ...], models: tuple[str, ...], patterns: tuple[str, ...], images: int | None, quick: bool) -> list[Trial]:
    """Return what is to be measured, without evaluation."""
    planned = []
    if "training" in sections:
        planned += [(WORKS[model].title, model, WORKS[model].images, ALL if model == "mlp" else (*ALL, *CONVOLUTIONAL)) for model in models]
    if "data" in sections and "conv" in models:
        planned.append(("Images from memory and from disk", "conv", WORKS["conv"].images, (OURS, FROM_DISK)))
    if "memory" in sections:
        planned += [
            (f"A set of {_WHOLE_SET:,} images in memory, {model}", model, _WHOLE_SET, (OURS, COMMAND))
            for model in models
            if model != "residual"
        ]
    trials = []
    for title, model, count, names in planned:
        count = _QUICK_STEPS * WORKS[model].batch if quick else images or count
        rows = [Row(*name.split(" ")) for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
        trials.append(Trial(title, model, count, rows))
    return [trial for trial in trials if trial.rows]


def _caption(trial: Trial, rounds: int, epochs: int, limit: float) -> str:
    work, steps = WORKS[trial.model], trial.images // WORKS[trial.model].batch
    return (
        f"**{trial.title}**: {trial.source} images, {work.parameters:,} parameters, batches of {work.batch}, Adam; {rounds} round(s) of "
        f"{epochs} epochs of {steps} steps. {work.flop / 1e9:.3g} GFLOP a step; limit: {limit / 1e9:.0f} GFLOP/s. "
        f"Losses agree within {TOLERANCE:.0%}."
    )


def _evaluated(benchmark: Benchmark, model: str, quick: bool) -> dict[str, Any]:
    """Measure the importance sampling of this project on some images, and say what a whole test set would take."""
    count, samples = (_QUICK_EVALUATED, _QUICK_SAMPLES) if quick else (_EVALUATED, _SAMPLES)
    try:
        found = benchmark.runner(
            sys.executable, "peers.vae_tf_evaluation", model=model, images=benchmark.images(model, count)[0], samples=samples
        )
    except Failure as failure:
        click.echo(f"\nImportance sampling, {model}: no numbers: {failure}")
        return {"model": model, "failure": str(failure)}
    minutes = (found["start_s"] + _TEST_SET * found["image_s"]) / 60
    click.echo(
        f"\nImportance sampling, {model}: {samples:,} samples for each of {count} images took {found['seconds']:.1f} s. "
        f"{_TEST_SET:,} images would take {minutes:.1f} minutes at that rate; peak memory {found['peak_bytes'] / 1e6:,.0f} MB."
    )
    return {"model": model, "minutes": minutes, **found}


def _machine(threads: int) -> str:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{threads} threads on {len(names)} cores of {names[0] if names else platform.machine()}, Python {platform.python_version()}"


def _write(target: Path | None, found: dict[str, Any]) -> None:
    if target is not None:
        target.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
