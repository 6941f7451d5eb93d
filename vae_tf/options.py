"""What several commands share."""

import os
import shlex

import click

__all__ = ["DATA_DIR", "again"]

DATA_DIR = click.option("--data-dir", envvar="TFDS_DATA_DIR", help="Folder of prepared tensorflow_datasets sets.")


def again(data_dir: str | None) -> str:
    """Return the option to repeat in the next command, if the environment does not give it."""
    return "" if data_dir is None or os.environ.get("TFDS_DATA_DIR") else f" --data-dir {shlex.quote(data_dir)}"
