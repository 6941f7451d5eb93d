"""`python -m serving`: parsing only. Bad input exits with 2, a failure with 1, each after one line on stderr."""

import logging
from pathlib import Path
from typing import Any

import click

from serving.errors import InvalidArgumentError, ServingError

__all__ = ["main"]

_MOST_IMAGES = 10_000


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ServingError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


class _Path(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:  # to pathlib it would mean the current folder
            raise InvalidArgumentError(f"`{param.name if param else 'path'}` must be a path, got an empty text")
        return super().convert(value, param, ctx)


class _Numbers(click.ParamType):
    name = "NUMBERS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        try:
            return [int(part) if part.strip().lstrip("+-").isdecimal() else float(part) for part in value.split(",")]
        except ValueError:
            rule = "`label` must be a number, or numbers with commas between them"
            remedy = "a class is given by its number, and MODEL_CARD.md of the model lists the classes"
            raise InvalidArgumentError(f"{rule}, got {value!r}; {remedy}") from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Serve exported generators, or ask a server for images."""


@main.command()
@click.argument("models", type=_Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 opens the server to the network.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
def run(models: Path, host: str, port: int) -> None:
    """Serve the folder MODELS, which holds NAME/VERSION/, in TensorFlow Serving's REST dialect."""
    from serving import server

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    server.run(models, host=host, port=port)


@main.command()
@click.option("--url", default="http://localhost:8501", show_default=True, help="Where the server is.")
@click.option("--model", required=True, help="Name of the model.")
@click.option("--count", default=64, show_default=True, type=click.IntRange(1, _MOST_IMAGES), help="Number of images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Equal seeds give equal images, up to rounding.")
@click.option("--label", type=_Numbers(), help="For a model with labels: the number of a class, or the numbers of a vector as 0.5,1,0.")
@click.option("--out", required=True, type=_Path(dir_okay=False, path_type=Path), help="PNG file for the grid of images.")
def generate(url: str, model: str, count: int, seed: int, label: list[float] | None, out: Path) -> None:
    """Ask a server for images and write them as one grid."""
    from serving.client import Client
    from serving.files import write_whole
    from serving.images import encode_png, enlarge, grid

    with Client(url) as client:
        images = client.generate(model, count, seed, label)
    write_whole(out, encode_png(grid(enlarge(images))))
    _, height, width, channels = images.shape
    of_label = "" if label is None else f", label {','.join(map(str, label))}"
    click.echo(f"wrote {out}: {count} images {height}x{width}x{channels} of {model} from {url}, seed {seed}{of_label}")


@main.command("tf-serving")
@click.argument("models", type=_Path(path_type=Path))
@click.option("--out", required=True, type=_Path(file_okay=False, path_type=Path), help="Folder for the files.")
def tf_serving(models: Path, out: Path) -> None:
    """Write what TensorFlow Serving needs to serve the folder MODELS."""
    from serving.tf_serving import write

    for path in write(models, out):
        click.echo(f"wrote {path}")
    click.echo(f"start it with: docker compose -f {out / 'compose.yaml'} up")
