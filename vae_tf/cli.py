"""The command line: parsing only. A command imports what it needs when it runs, so that mistakes are answered at once."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from vae_tf.errors import ConfigError, InterruptedRun, PreemptedRun, VaeTfError
from vae_tf.options import DATA_DIR, again
from vae_tf.startup import start_tensorflow
from vae_tf.train_command import train
from vae_tf.tuning.command import tune

__all__ = ["main"]

_COLUMNS = 20  # of classes
_COUNT = 64
_RUN = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))


class _OneLine(click.Group):
    """Answers what the user can mend in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PreemptedRun as stop:
            code, line = os.EX_TEMPFAIL, str(stop)
        except (InterruptedRun, KeyboardInterrupt) as stop:
            code, line = 130, str(stop) or "stopped by the user."
        except VaeTfError as error:
            code, line = 2, f"error: {error}"
        except OSError as error:
            code, line = 1, f"error: {error.filename or 'file'}: {error.strerror or error}."
        except Exception as error:
            if not isinstance(error, MemoryError) and not type(error).__module__.startswith("tensorflow"):
                raise
            # Too much was asked of the machine: a size that fits no memory, a kernel that refuses a shape.
            code, line = 1, f"error: {type(error).__name__}: {(str(error).splitlines() or ['out of memory'])[0][:300]}"
        click.echo(line, err=True)
        return ctx.exit(code)


def _sizes(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Read numbers of latents with commas between them."""
    try:
        sizes = tuple(int(part) for part in (value or "").split(",") if value)
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise click.BadParameter(f"must be numbers of at least 1 with commas between them, such as 2,5,10; got {value!r}.")
    return sizes


def _annealed(context: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 1:
        raise click.BadParameter("must be 0 for none, or at least 2, for one image has no standard error; got 1.")
    return value


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train variational autoencoders, know their likelihood, look at them."""


@main.command()
@_RUN
@click.option(
    "--samples", default=1000, show_default=True, type=click.IntRange(min=1), help="Samples per image in the estimates of log p(x)."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 2), help="Seed of the noise.")
@click.option(
    "--annealed",
    callback=_annealed,
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Test images, and as many that the model makes, for the slow check by annealed importance sampling; 100 are a good number.",
)
@DATA_DIR
def evaluate(run: Path, samples: int, seed: int, annealed: int, data_dir: str | None) -> None:
    """Estimate the log-likelihood of RUN's test images and all else that can be known of it, with standard errors."""
    start_tensorflow()
    from vae_tf import evaluation as evaluations
    from vae_tf import run as runs

    complete = runs.load(run)
    evaluation = evaluations.evaluate_run(complete, complete.images(data_dir), samples=samples, seed=seed, annealed_images=annealed)
    click.echo(evaluation.table())
    click.echo(f"wrote {run / runs.EVALUATION}. Next: python -m vae_tf report {run}{again(data_dir)}")


@main.command()
@click.argument("run_folders", metavar="RUN RUN ...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", default="comparison.svg", show_default=True, type=click.Path(path_type=Path, dir_okay=False), help="SVG or PNG file."
)
def compare(run_folders: tuple[Path, ...], out: Path) -> None:
    """Lay evaluated runs side by side: differences of log p(x) to the first, with paired standard errors over the same test images."""
    start_tensorflow()
    from vae_tf.evaluation import compare
    from vae_tf.plots.comparison import comparison, save_figure

    if out.suffix not in (".svg", ".png", ".pdf"):
        raise ConfigError(f"`--out` must end in .svg, .png or .pdf, got {str(out)!r}.")
    found = compare.compare(run_folders)
    click.echo(found.table())
    names, values, differences = zip(*((entry.run, entry.log_likelihood, entry.difference) for entry in found.entries))
    beside = out.with_suffix(".json")
    if beside.exists() and not compare.is_comparison(beside):
        raise ConfigError(f"`--out` must be another file: {out} would put its numbers in {beside}, which is there and is no comparison.")
    save_figure(out, comparison(names, values, differences))
    found.write(beside)
    click.echo(f"wrote {out} and {beside}.")


@main.command()
@_RUN
@click.option(
    "--sweep-latents",
    "sizes",
    callback=_sizes,
    metavar="SIZES",
    help="Also train small models of these numbers of latents, such as 2,5,10,20,50, in RUN/sweep, and lay them side by side.",
)
@DATA_DIR
def report(run: Path, sizes: tuple[int, ...], data_dir: str | None) -> None:
    """Write RUN/report.html: pictures that explain this model on its data."""
    start_tensorflow()
    from vae_tf import report
    from vae_tf import run as runs

    complete = runs.load(run)
    swept = report.train_sweep(complete, sizes, data_dir, verbose=1 if sys.stdout.isatty() else 2) if sizes else []
    page = report.write_report(complete, complete.images(data_dir), swept=swept)
    known = (run / runs.EVALUATION).exists()
    following = (
        f"python -m export {run} models --name NAME"
        if known
        else f"python -m vae_tf evaluate {run}{again(data_dir)}, and a report with its numbers"
    )
    click.echo(f"wrote {page}. Next: {following}")


@main.command()
@_RUN
@click.option(
    "--count", type=click.IntRange(1, 10_000), help="Number of images.  [default: 64; of all classes in turn, as many as fill whole rows]"
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Equal seeds give equal images (up to rounding), also from a server.",
)
@click.option(
    "--label",
    metavar="LABEL",
    help="For a model with a condition: a class by name or number, or the numbers of a vector as 0.5,1,0. Without it, all classes in turn.",
)
@click.option("--out", default="samples.png", show_default=True, type=click.Path(path_type=Path, dir_okay=False), help="PNG file to write.")
def sample(run: Path, count: int | None, seed: int, label: str | None, out: Path) -> None:
    """Draw images from RUN's prior: the means of p(x | z), as a grid."""
    start_tensorflow()
    from vae_tf import plots
    from vae_tf import run as runs

    complete = runs.load(run)
    labels = complete.labels(count or _COUNT, label)
    classes = 0 if labels is None or label is not None else int(labels.max()) + 1
    columns = classes if 1 <= classes <= _COLUMNS else None
    if count is None:
        count = _COUNT - _COUNT % (columns or 1)
        labels = labels if labels is None else labels[:count]
    plots.save_png(out, plots.image_grid(complete.vae.generate(count, seed, labels), columns))
    given = f", label {label}" if label is not None else ", one class in each column" if columns else ""
    click.echo(f"wrote {out}: {count} images, seed {seed}{given}.")


main.add_command(train)
main.add_command(tune)
