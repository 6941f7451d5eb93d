"""The command line: parsing only. Every command imports what it needs when it runs, so that mistakes are answered at once."""

import logging
import signal
from pathlib import Path
from typing import Any

import click

from export.errors import ArtifactError, ExportError
from vae_tf.errors import VaeTfError

__all__ = ["main"]

FAILURE, BAD_INPUT, INTERRUPTED = 1, 2, 130


class _SamePath(click.Context):
    """Of a command that has no name of its own."""

    @property
    def command_path(self) -> str:
        return self.parent.command_path if self.parent else super().command_path


class _Export(click.Command):
    context_class = _SamePath


class _Group(click.Group):
    """Takes anything that is no subcommand as an export, and answers what went wrong in one line, without a traceback."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        return super().resolve_command(ctx, args) if args[0] in self.commands else ("", run, args)

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
            return
        except ExportError as error:
            code, message = error.exit_code, str(error)
        except VaeTfError as error:
            code, message = BAD_INPUT, str(error)
        except OSError as error:
            code, message = FAILURE, f"{error.filename or 'file'}: {error.strerror or error}."
        except KeyboardInterrupt:
            code, message = INTERRUPTED, "interrupted; no version was written."
        click.echo(f"error: {message}", err=True)
        ctx.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
def main() -> None:
    """Export the generator of a trained run, or look at an exported folder.

    \b
    python -m export RUN MODELS --name NAME [--version N]
        write MODELS/NAME/VERSION/: SavedModel, ONNX, manifest, model card
    python -m export inspect DIR
        say what an exported folder holds, and whether its files are intact
    """


@click.command(cls=_Export)
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("models", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the model.")
@click.option("--version", type=int, help="Number of the version; by default the next.")
def run(run: Path, models: Path, name: str, version: int | None) -> None:
    """Write the generator of RUN as MODELS/NAME/VERSION/, verified."""
    from export.artifact import check_target

    check_target(models, name, version)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end an export is to interrupt it: nothing may be left over
    from vae_tf.startup import start_tensorflow

    start_tensorflow()
    progress = logging.getLogger("export")  # not the root: TensorFlow has much to say
    progress.handlers, progress.propagate = [logging.StreamHandler()], False
    progress.setLevel(logging.INFO)
    from export import export
    from export.manifest import Manifest
    from export.summary import parity_line

    folder = export(run, models, name, version)
    manifest = Manifest.read(folder)
    click.echo(f"exported: {folder} ({sum(file.bytes for file in manifest.files.values()) / 1e6:.1f} MB)")
    for form in manifest.formats:
        click.echo(f"largest difference from the run, {form}: {parity_line(manifest, form)}")
    click.echo(f"next: python -m serving run {models}")


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def inspect(folder: Path) -> None:
    """Say what the exported folder DIR holds, and whether its files are intact."""
    from export.manifest import Manifest
    from export.summary import summarise

    manifest = Manifest.read(folder)
    damage = manifest.damage(folder)
    click.echo(summarise(manifest, damage))
    if damage:
        path, problem = next(iter(damage.items()))
        raise ArtifactError(f"`{folder / path}` is {problem}: the folder is not what its manifest says; export the version again.")
