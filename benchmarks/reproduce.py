"""`python benchmarks/reproduce.py [ROW ...]`: train and evaluate the rows of `rows.yaml`, and write `docs/results.md`.

A row that was finished is kept, one that was stopped goes on where it stopped, and a row whose definition changed begins again in a folder
of its own. What was found stands in `benchmarks/results/ROW.json`; the document is made of all that are there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import findings
import numpy as np
import yaml

from vae_tf.config import preset
from vae_tf.evaluation import Evaluation
from vae_tf.files import replacing
from vae_tf.history import History

HERE = Path(__file__).parent
RESULTS, DOCUMENT = HERE / "results", HERE.parent / "docs" / "results.md"
_SHUFFLE, _OMNIGLOT_TEST = 0, 8070


@click.command()
@click.argument("names", metavar="[ROW ...]", nargs=-1)
@click.option("--runs", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder for the run folders.")
@click.option("--data-dir", envvar="TFDS_DATA_DIR", help="Folder of prepared tensorflow_datasets sets.")
@click.option("--omniglot", type=click.Path(exists=True, path_type=Path), help="npz with x_background and x_evaluation, 28 x 28 grey.")
@click.option("--colour", type=click.Path(exists=True, path_type=Path), help="Image folder of 32 x 32 colour images.")
@click.option("--cores", default=os.cpu_count(), show_default=True, type=click.IntRange(min=1), help="Cores to use.")
@click.option("--list", "listing", is_flag=True, help="List the rows and end.")
@click.option("--document-only", is_flag=True, help="Write docs/results.md of what was found before, and end.")
def main(
    names: tuple[str, ...],
    runs: Path,
    data_dir: str | None,
    omniglot: Path | None,
    colour: Path | None,
    cores: int,
    listing: bool,
    document_only: bool,
) -> None:
    """Reproduce ROWs, all of them by default."""
    rows = read_rows()
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise click.UsageError(f"there is no row {unknown[0]!r}; --list names all.")
    if listing:
        for name, row in rows.items():
            click.echo(f"{name:<20} {row['title']}; {row['data']}")
        return
    if not document_only:
        places = {"OMNIGLOT": omniglot and _prepared_omniglot(omniglot, runs / "omniglot.npz"), "COLOUR": colour}
        environment = os.environ | ({"TFDS_DATA_DIR": data_dir} if data_dir else {}) | {"TF_NUM_INTRAOP_THREADS": str(cores)}
        for name in names or rows:
            reproduce(name, rows[name], runs, places, environment, cores)
            write_document(rows)
    write_document(rows)
    click.echo(f"wrote {DOCUMENT}")


def read_rows() -> dict[str, dict[str, Any]]:
    """Return the rows by name, each with the defaults filled in."""
    file = yaml.safe_load((HERE / "rows.yaml").read_text())
    return {name: {"set": [], "annealed": 0, "differs": "", **file["defaults"], **row} for name, row in file["rows"].items()}


def reproduce(name: str, row: dict[str, Any], runs: Path, places: dict[str, Path | None], environment: dict[str, str], cores: int) -> None:
    """Train and evaluate one row, unless that was done, and write what was found."""
    settings = findings.settings(preset(row["preset"]).override(row["set"]))
    key = findings.digest([settings, row["samples"], row["annealed"]])
    result = RESULTS / f"{name}.json"
    if findings.read(result).get("key") == key:
        click.echo(f"{name}: done before")
        return
    assignments = list(row["set"])
    for word, place in places.items():
        if any(word in assignment for assignment in assignments) and place is None:
            click.echo(f"{name}: skipped, for --{word.lower()} is not given")
            return
        assignments = [assignment.replace(word, str(place)) for assignment in assignments]
    folder = runs / f"{name}-{findings.digest(settings)}"
    options = [part for assignment in assignments for part in ("--set", assignment)]
    _run(environment, "train", row["preset"], "--run", str(folder), "--resume", *options)
    _run(environment, "evaluate", str(folder), "--samples", str(row["samples"]), "--annealed", str(row["annealed"]))
    evaluation, history = Evaluation.read(folder / "evaluation.json"), History(folder / "history.csv").rows
    config = yaml.safe_load((folder / "config.yaml").read_text())
    found = {
        "key": key,
        "evaluation": json.loads((folder / "evaluation.json").read_text()),
        "epochs": len(history),
        "minutes": sum(epoch["seconds"] for epoch in history) / 60,
        "validation_elbo": [epoch["val_elbo"] for epoch in history],
        "seed": config["seed"],
        "cores": cores,
        **findings.origin(),
    }
    findings.write(result, found)
    click.echo(f"{name}: log p(x) {evaluation.log_likelihood}")


def write_document(rows: dict[str, dict[str, Any]]) -> None:
    """Write `docs/results.md` of all results that are there."""
    found = {name: before for name in rows if (before := findings.read(RESULTS / f"{name}.json"))}
    findings.render(HERE / "results.md.j2", DOCUMENT, {"suggests": _suggests}, rows=rows, found=found)


def _run(environment: dict[str, str], command: str, *arguments: str) -> None:
    click.echo(f"$ python -m vae_tf {command} {' '.join(arguments)}")
    done = subprocess.run([sys.executable, "-m", "vae_tf", command, *arguments], env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"reproduce: `vae_tf {command}` ended with {done.returncode}; the rows before are kept")


def _suggests(curve: list[float]) -> str:
    """Say what the validation curve suggests about more epochs: its rise over the last quarter of them, in nats."""
    quarter = max(1, len(curve) // 4)
    if len(curve) <= quarter:
        return "too short to say"
    return f"{curve[-1] - curve[-1 - quarter]:+.2f} over the last {quarter} epochs"


def _prepared_omniglot(source: Path, target: Path) -> Path:
    """Write all characters, shuffled, as training and test images of about the sizes of Burda et al. (2016): 24,390 and 8,070."""
    if not target.exists():
        with np.load(source, allow_pickle=False) as file:
            x = np.concatenate([file["x_background"], file["x_evaluation"]])
        x = x[np.random.default_rng(_SHUFFLE).permutation(len(x))]
        with replacing(target) as temporary:
            np.savez(temporary, x_train=x[_OMNIGLOT_TEST:], x_test=x[:_OMNIGLOT_TEST])
    return target.resolve()


if __name__ == "__main__":
    main()
