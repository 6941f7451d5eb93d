"""The command `tune`: parsing, and what is said at the end."""

from importlib.util import find_spec
from pathlib import Path

import click

from vae_tf import config as configs
from vae_tf.errors import ConfigError
from vae_tf.files import replacing
from vae_tf.options import DATA_DIR, again
from vae_tf.startup import start_tensorflow
from vae_tf.tuning.space import Space

__all__ = ["BEST", "PICTURE", "tune"]

BEST, PICTURE = "best.yaml", "tuning.svg"


@click.command()
@click.argument("preset")
@click.option("--study", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the search, to create or to go on with.")
@click.option(
    "--search",
    "searched",
    multiple=True,
    metavar="SECTION.KEY=VALUES",
    help="A setting to search: values as 8,16,32, or a range as 1e-4..1e-2:log or 50..400:int.  [default: a few, which are printed]",
)
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Override a setting of the preset.")
@click.option("--trials", default=20, show_default=True, type=click.IntRange(min=1), help="Trials that the study shall hold in all.")
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Trials at a time; each gets its share of the cores."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Seed of the suggestions.")
@click.option("--prune/--no-prune", default=True, show_default=True, help="End trials early whose validation ELBO falls behind.")
@DATA_DIR
def tune(
    preset: str,
    folder: Path,
    searched: tuple[str, ...],
    assignments: tuple[str, ...],
    trials: int,
    jobs: int,
    seed: int,
    prune: bool,
    data_dir: str | None,
) -> None:
    """Search for the settings of PRESET, a name or a YAML file, with the highest log p(x) of validation images.

    The same command goes on with a search that was stopped, and a larger --trials with one that is complete.
    """
    base = configs.find(preset).override(assignments)
    space = Space.parse(searched) if searched else Space.default(base)
    if find_spec("optuna") is None:
        raise ConfigError("`tune` needs Optuna, which is not installed; install it with: python -m pip install optuna")
    from vae_tf.tuning import results, search

    own = f"the preset's own values are {'tried first' if space.values_of(base) else 'not among them'}"
    click.echo(f"searching {space} ({own}{'' if searched else '; choose others by --search'})")
    found = search.tune(base, space, folder, trials=trials, jobs=jobs, seed=seed, prune=prune, data_dir=data_dir, say=click.echo)
    start_tensorflow(alone=True)
    from vae_tf.plots.comparison import save_figure
    from vae_tf.plots.tuning import tuning
    from vae_tf.tuning.ranking import table

    click.echo(table(folder, found, space))
    first = results.best(found)
    if first is None:
        raise ConfigError("no trial is complete, so nothing is known of these settings; widen the space, or give more --trials.")
    save_figure(folder / PICTURE, tuning(found, space))
    with replacing(folder / BEST) as path:
        configs.write(space.config(base, first.values), path)
    click.echo(
        f"wrote {folder / PICTURE}, {folder / results.TRIALS} and {folder / BEST}. The best is a complete run: {folder / first.name}."
    )
    click.echo(f"Next: python -m vae_tf evaluate {folder / first.name}{again(data_dir)}")
    click.echo(
        f"Or train it anew, longer or with another seed: python -m vae_tf train {folder / BEST} --run RUN --set seed=1{again(data_dir)}"
    )
