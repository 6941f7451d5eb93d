"""The command `train`: parsing, and what is said at the end."""

import sys
from pathlib import Path

import click

from vae_tf import config as configs
from vae_tf.options import DATA_DIR, again
from vae_tf.startup import answering_sigterm, start_tensorflow

__all__ = ["train"]

_WEIGHTS = "model.weights.h5"  # `run.WEIGHTS`, without TensorFlow
_TRACKERS = ("mlflow", "tensorboard")


@click.command()
@click.argument("preset")
@click.option("--run", "folder", required=True, type=click.Path(path_type=Path), help="Run folder to create.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Override a setting of the preset.")
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint.")
@click.option(
    "--checkpoint-steps", metavar="N", type=click.IntRange(min=1), help="A checkpoint after N steps too, not only after each epoch."
)
@click.option(
    "--checkpoint-minutes", metavar="M", type=click.FloatRange(min=0, min_open=True), help="Or after M minutes.  [default: 10 minutes]"
)
@click.option(
    "--track",
    "trackers",
    multiple=True,
    default=("tensorboard",),
    show_default=True,
    type=click.Choice(_TRACKERS),
    help="Where to keep what the training shows; may be repeated.",
)
@click.option(
    "--devices", type=click.IntRange(min=1), help="Devices of this machine that share each batch.  [default: all GPUs, or the CPU]"
)
@DATA_DIR
@answering_sigterm()
def train(
    preset: str,
    folder: Path,
    assignments: tuple[str, ...],
    resume: bool,
    checkpoint_steps: int | None,
    checkpoint_minutes: float | None,
    trackers: tuple[str, ...],
    devices: int | None,
    data_dir: str | None,
) -> None:
    """Train PRESET, a name or a YAML file, in a run folder.

    Ends with 75 when SIGTERM asked it to stop, and with 130 after Ctrl-C: a checkpoint was written, and --resume goes on.

    Several machines train together where the environment variable TF_CONFIG names them: the same command on each, with one run folder that
    all of them see. If one ends, all end with 75.
    """
    config = configs.find(preset).override(assignments)
    # A worker that is started again when the training is over would wait for others that do not come.
    cluster = start_tensorflow(alone=resume and (folder / _WEIGHTS).exists(), devices=devices)
    from vae_tf import announce, train

    run = train.train(
        config,
        folder,
        data_dir=data_dir,
        resume=resume,
        verbose=1 if sys.stdout.isatty() else 2,
        checkpoint_steps=checkpoint_steps,
        checkpoint_minutes=checkpoint_minutes,
        trackers=trackers,
        cluster=cluster,
    )
    if cluster.chief:
        click.echo(announce.last_line(run, f"python -m vae_tf evaluate {run.folder}{again(data_dir)}"))
