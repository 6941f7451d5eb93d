"""The command line: parsing only. Every command imports what it needs when it runs, so that mistakes are answered at once."""

import sys
from pathlib import Path
from typing import Any

import click

from vae_tf import config as configs
from vae_tf.errors import VaeTfError

__all__ = ["main"]

_DATA_DIR = click.option("--data-dir", envvar="TFDS_DATA_DIR", help="Folder of prepared tensorflow_datasets sets.")
_RUN = click.argument("run", type=click.Path(path_type=Path))
BAD_INPUT, INTERRUPTED = 2, 130


class _OneLine(click.Group):
    """Answers what the user can mend in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VaeTfError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(INTERRUPTED if type(error).__name__ == "Interrupted" else BAD_INPUT)
        except OSError as error:
            click.echo(f"error: {error.strerror}: {error.filename}", err=True)
            ctx.exit(1)


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train variational autoencoders, know their likelihood, look at them."""


@main.command()
@click.argument("preset")
@click.option("--run", "folder", required=True, type=click.Path(path_type=Path), help="Run folder to create.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Override a setting of the preset.")
@click.option("--resume", is_flag=True, help="Continue from the last complete epoch.")
@_DATA_DIR
def train(preset: str, folder: Path, assignments: tuple[str, ...], resume: bool, data_dir: str | None) -> None:
    """Train PRESET (a name, or a YAML file) in a run folder."""
    config = (configs.read(preset) if preset.endswith((".yaml", ".yml")) else configs.preset(preset)).override(assignments)
    from vae_tf.train import train

    run = train(config, folder, data_dir=data_dir, resume=resume, verbose=1 if sys.stdout.isatty() else 2)
    click.echo(f"trained: {run.folder}; next: python -m vae_tf evaluate {run.folder}")
