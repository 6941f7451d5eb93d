"""`python benchmarks/knobs.py [ROW ...]`: turn one knob at a time of a short training, and write `docs/training.md`.

`benchmarks/knobs.yaml` says what is trained: a base with several seeds, whose spread is the yardstick, and rows that differ from it. Each
is compared with the base on the same test images; the error of a difference holds both what other images would change and what other
seeds would. Trainings that were finished are kept, so that the command goes on where it was stopped. What was found stands in
`benchmarks/knobs/ROW.json`; the document is made of all that are there, and so is `docs/images/knobs.png`.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import click
import findings
import numpy as np
import yaml

from vae_tf.config import Config, preset
from vae_tf.files import replacing
from vae_tf.startup import start_tensorflow

HERE = Path(__file__).parent
FOUND, DOCUMENT = HERE / "knobs", HERE.parent / "docs" / "training.md"
_PICTURE = "images/knobs.png"  # beside the document
_BASE, _FIXED, _FEW = "base", "FIXED", "FEW"
_SAMPLES, _EVERY = 200, 5  # of the posterior per image; of the test images, every fifth
_FEW_IMAGES = 6000
_ONE, _ALL = "training.json", "per_image.npz"  # of a training, in its folder
_TICKS = (-1000, -300, -100, -30, -10, -3, -1, 0, 1, 3, 10, 30)
_DIGITS = 6  # of what is stored of each epoch: beyond the rounding of float32


@click.command()
@click.argument("names", metavar="[ROW ...]", nargs=-1)
@click.option("--runs", default="runs/knobs", show_default=True, type=click.Path(path_type=Path), help="Folder for the run folders.")
@click.option("--data-dir", envvar="TFDS_DATA_DIR", help="Folder of prepared tensorflow_datasets sets.")
@click.option("--cores", default=os.cpu_count(), show_default=True, type=click.IntRange(min=1), help="Cores to use.")
@click.option("--trainings", "most", type=click.IntRange(min=1), help="End after so many trainings; the same command goes on.")
@click.option("--list", "listing", is_flag=True, help="List the rows and end.")
@click.option("--document-only", is_flag=True, help="Write docs/training.md of what was found before, and end.")
def main(
    names: tuple[str, ...], runs: Path, data_dir: str | None, cores: int, most: int | None, listing: bool, document_only: bool
) -> None:
    """Train and compare ROWs, all of them by default."""
    rows = read_rows()
    if unknown := [name for name in names if name not in rows]:
        raise click.UsageError(f"there is no row {unknown[0]!r}; --list names all.")
    if listing:
        for name, row in rows.items():
            click.echo(f"{name:<24} {row['knob']}: {' '.join(row['set'])}")
        return
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(cores)
    start_tensorflow()
    done = {name for name in rows if findings.read(FOUND / f"{name}.json").get("key") == key(rows, name)}
    wanted = [] if document_only else [name for name in names or rows if name not in done]
    trained = 0
    trainings = [(part, seed) for name in wanted for part in compared(rows, name) for seed in rows[part]["seeds"]]
    for name, seed in trainings:
        if trained != most and train(name, seed, rows[name], runs, data_dir, cores):
            trained += 1
    for name in wanted:
        conclude(rows, name, runs)
    write_document(rows)


def read_rows() -> dict[str, dict[str, Any]]:
    """Return the rows by name; each sets what the base sets, too."""
    file = yaml.safe_load((HERE / "knobs.yaml").read_text())
    common = {"seeds": [0], "against": _BASE, "alike": False, "preset": file["base"]["preset"]}
    return {name: {**common, **row, "turned": row["set"], "set": [*file["base"]["set"], *row["set"]]} for name, row in file["rows"].items()}


def compared(rows: Mapping[str, Any], name: str) -> tuple[str, str, str]:
    """Return the rows that the finding of a row is made of: the base, what it is compared with, and itself."""
    return _BASE, rows[name]["against"], name


def key(rows: Mapping[str, Any], name: str) -> str:
    """Return what tells the finding of a row from that of another definition of the rows that it is made of."""
    parts = [[training_key(rows[part], seed) for seed in rows[part]["seeds"]] for part in compared(rows, name)]
    return findings.digest([*parts, rows[name]["alike"]])


def training_key(row: Mapping[str, Any], seed: int) -> str:
    """Return what tells a training, and how it was evaluated, from others."""
    return findings.digest([findings.settings(_config(row, seed)), row["turned"], _SAMPLES, _EVERY])


def train(name: str, seed: int, row: Mapping[str, Any], runs: Path, data_dir: str | None, cores: int) -> bool:
    """Train and evaluate a row with one seed, unless that was done; return whether there was anything to do."""
    folder = _folder(runs, name, seed, row)
    if findings.read(folder / _ONE):
        return False
    from vae_tf import patience
    from vae_tf import train as training
    from vae_tf.evaluation import Estimate, PerImage, log_weights
    from vae_tf.history import History
    from vae_tf.latents import active_units, posterior_moments
    from vae_tf.run import HISTORY

    click.echo(f"{name}, seed {seed}: {' '.join(row['turned'])}")
    shutil.rmtree(folder, ignore_errors=True)  # of a training that was stopped: its seconds would not be known
    config = _config(row, seed, _prepared(row, runs, data_dir))
    start = time.process_time()
    run = training.train(config, folder, data_dir=data_dir, trackers=())
    seconds = time.process_time() - start
    x = run.test_images(data_dir)[0][::_EVERY]
    weights = log_weights(run.vae, x, samples=_SAMPLES)
    active = active_units(posterior_moments(run.vae, x)[0])
    history = History(folder / HISTORY).rows
    PerImage(weights.log_likelihood, weights.elbo, weights.effective_samples, PerImage.fingerprint(x)).write(folder / _ALL)
    method = f"importance sampling, {_SAMPLES} posterior samples per image"
    found = {
        "seed": seed,
        "log_likelihood": asdict(Estimate.over(weights.log_likelihood, method)),
        "elbo": asdict(Estimate.over(weights.elbo, f"mean over {_SAMPLES} posterior samples per image")),
        "training_elbo": [round(epoch["elbo"], _DIGITS) for epoch in history],
        "validation_elbo": [round(epoch["val_elbo"], _DIGITS) for epoch in history],
        "kept_epoch": patience.best_epoch(run, history) or len(history),
        "active_units": [int(active.sum()), len(active)],
        "processor_seconds": round(seconds, 1),
        "cores": cores,
        **findings.origin(),
    }
    findings.write(folder / _ONE, found)
    click.echo(f"{name}, seed {seed}: log p(x) {weights.log_likelihood.mean():.2f}, {seconds:.0f} processor seconds")
    return True


def conclude(rows: Mapping[str, Any], name: str, runs: Path) -> None:
    """Compare a row with what it is compared with, if all of their trainings are there."""
    from vae_tf.evaluation import Estimate

    base, others, own = (
        [findings.read(_folder(runs, part, seed, rows[part]) / _ONE) for seed in rows[part]["seeds"]] for part in compared(rows, name)
    )
    if not all((*base, *others, *own)):
        return
    against, spread = rows[name]["against"], float(np.std([one["log_likelihood"]["value"] for one in base], ddof=1))
    found: dict[str, Any] = {"key": key(rows, name), "spread_of_seeds": spread, "trainings": own}
    if name != against:
        values = _mean_per_image(runs, name, rows[name]["seeds"], rows[name])
        compared_seeds = rows[name]["seeds"] if rows[name]["alike"] else rows[against]["seeds"]
        by_images = Estimate.over(
            values - _mean_per_image(runs, against, compared_seeds, rows[against]), f"paired by image, less {against}"
        )
        by_seeds = 0.0 if rows[name]["alike"] else spread * sqrt(1 / len(own) + 1 / len(others))
        error = hypot(by_images.standard_error, by_seeds)
        found |= {"difference": asdict(replace(by_images, standard_error=error)), "errors": [by_images.standard_error, by_seeds]}
    findings.write(FOUND / f"{name}.json", found)


def write_document(rows: Mapping[str, Any]) -> None:
    """Write `docs/training.md`, and its picture, of all that was found; nothing without the base."""
    found = {name: before for name in rows if (before := findings.read(FOUND / f"{name}.json"))}
    if _BASE not in found:
        return
    knobs = {knob: [name for name in found if rows[name]["knob"] == knob] for knob in dict.fromkeys(row["knob"] for row in rows.values())}
    draw([name for name in found if rows[name]["against"] == _BASE != name], found, DOCUMENT.parent / _PICTURE)
    values = {"rows": rows, "found": found, "knobs": knobs, "base": found[_BASE], "samples": _SAMPLES, "picture": _PICTURE, "zip": zip}
    findings.render(HERE / "knobs.md.j2", DOCUMENT, {"mean": _mean, "signed": _signed}, **values)
    click.echo(f"wrote {DOCUMENT}")


def draw(names: Sequence[str], found: Mapping[str, Any], target: Path) -> None:
    """Draw the difference of each row to the base, with 95 % intervals; the axis is linear within a nat, and logarithmic beyond."""
    from matplotlib.figure import Figure

    from vae_tf.plots.comparison import save_figure
    from vae_tf.plots.style import BLUE, INK, styled

    figure = Figure(figsize=(8.6, 1.0 + 0.21 * len(names)), layout="constrained")

    @styled
    def diagram() -> None:
        axes = figure.subplots()
        differences = [found[name]["difference"] for name in names]
        errors = [1.96 * difference["standard_error"] for difference in differences]
        axes.errorbar([difference["value"] for difference in differences], range(len(names)), xerr=errors, fmt="o", color=BLUE, capsize=2)
        axes.axvline(0, color=INK, linestyle=":", linewidth=1.2)
        axes.set_xscale("symlog", linthresh=1)
        low, high = (1.5 * limit for limit in axes.get_xlim())
        axes.set_xlim(low, high)
        ticks = [tick for tick in _TICKS if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:+g}" if tick else "base" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("log p(x) of test images less that of the base, nats; 95 % intervals over images and seeds")
        axes.grid()

    diagram()
    save_figure(target, figure)


def _config(row: Mapping[str, Any], seed: int, places: Mapping[str, Path] | None = None) -> Config:
    assignments = [*row["set"], f"seed={seed}"]
    for word, place in (places or {}).items():
        assignments = [assignment.replace(f"npz:{word}", f"npz:{place}") for assignment in assignments]
    return preset(row["preset"]).override(assignments)


def _folder(runs: Path, name: str, seed: int, row: Mapping[str, Any]) -> Path:
    return runs / f"{name}-{seed}-{training_key(row, seed)}"


def _mean_per_image(runs: Path, name: str, seeds: Sequence[int], row: Mapping[str, Any]) -> np.ndarray:
    """Return log p(x) of each test image, averaged over seeds, [N]."""
    from vae_tf.evaluation import PerImage

    return np.mean([PerImage.read(_folder(runs, name, seed, row) / _ALL).log_likelihood for seed in seeds], 0)


def _prepared(row: Mapping[str, Any], runs: Path, data_dir: str | None) -> dict[str, Path]:
    """Write MNIST binarized once, and its first training images, with the test images that all other rows have."""
    places = {_FIXED: (runs / "mnist-binarized-once.npz").resolve(), _FEW: (runs / f"mnist-{_FEW_IMAGES}.npz").resolve()}
    if not all(place.exists() for place in places.values()):
        from vae_tf import data, pipeline

        images = data.load(preset(row["preset"]).data, 0, data_dir)
        once = pipeline.fixed_images(images.train, images.levels, seed=1, binarize="dynamic").astype(np.uint8)
        test = pipeline.test_images(images, "dynamic").astype(np.uint8)
        with replacing(places[_FIXED]) as path:
            np.savez(path, x_train=once, x_test=test)
        with replacing(places[_FEW]) as path:
            np.savez(path, x_train=images.train.x[:_FEW_IMAGES], x_test=images.test.x)
    return places


def _mean(trainings: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the average over the trainings of a row, one for each seed."""
    values = {
        "log p(x)": [one["log_likelihood"]["value"] for one in trainings],
        "validation ELBO": [one["validation_elbo"][one["kept_epoch"] - 1] for one in trainings],
        "active units": [one["active_units"][0] for one in trainings],
        "processor seconds": [one["processor_seconds"] for one in trainings],
    }
    return float(np.mean(values[name]))


def _signed(value: Mapping[str, Any]) -> str:
    difference, error = value["value"], value["standard_error"]
    if difference == error == 0:
        return "0, exactly"
    digits = 2 if error >= 0.02 else 3
    return f"{difference:+.{digits}f} ± {error:.{digits}f}"


if __name__ == "__main__":
    main()
