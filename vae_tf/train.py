"""Training: fit a configuration into a run folder, epoch by epoch, so that it can be stopped and resumed exactly."""

from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf import config as configs
from vae_tf import data
from vae_tf.build import build
from vae_tf.config import Config
from vae_tf.errors import InterruptedRun, RunError
from vae_tf.files import replacing
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.run import CHECKPOINTS, CONFIG, DATA, HISTORY, WEIGHTS, DataSummary, Run, load

__all__ = ["train"]

VALIDATION_BATCH = 500


def train(config: Config, folder: str | Path, *, data_dir: str | None = None, resume: bool = False, verbose: int = 2) -> Run:
    """Train a configuration in a run folder and return the complete run.

    The run owns the process's random state: it seeds the initial weights with `keras.utils.set_random_seed(config.seed)`.

    Args:
        config: the complete configuration.
        folder: the run folder; created.
        data_dir: where `tensorflow_datasets` keeps prepared sets; None for its default.
        resume: continue from the last complete epoch in `folder`; from the beginning when there is none.
        verbose: Keras's progress: 1 a bar, 2 a line per epoch, 0 silent.

    Raises:
        ConfigError: the configuration can not work.
        DataError: the data are missing, unreadable or out of range.
        RunError: `folder` holds another run, or is damaged.
        InterruptedRun: the user pressed Ctrl-C.
    """
    folder = Path(folder)
    _check_folder(folder, config, resume)
    if resume and (folder / WEIGHTS).exists():
        return load(folder)
    images = data.load(config.data, config.seed, data_dir)
    summary = DataSummary.of(images, config)
    if (folder / DATA).exists():
        DataSummary.read(folder / DATA).require(summary)

    keras.utils.set_random_seed(config.seed)
    steps = data.steps_per_epoch(images.train, config.training.batch_size)
    vae = build(config, images.image_shape, summary.levels, steps)
    seen = partial(data.fixed_images, levels=images.levels, seed=config.seed, binarize=config.data.binarize)
    validation = seen(images.validation)
    for x in (seen(images.train.take(np.arange(min(1000, summary.train)))), validation):
        vae.likelihood.check(x)

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / CONFIG) as path:
        configs.write(config, path)
    summary.write(folder / DATA)

    history = History(folder / HISTORY)
    keeper = _Keeper(vae, folder / CHECKPOINTS, history)
    first_epoch = keeper.restore() if resume else 0
    batches = data.training_batches(
        images.train,
        images.levels,
        batch_size=config.training.batch_size,
        seed=config.seed,
        binarize=config.data.binarize,
        first_epoch=first_epoch,
    )
    try:
        vae.fit(
            batches,
            epochs=config.training.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps,
            validation_data=tf.data.Dataset.from_tensor_slices(validation).batch(VALIDATION_BATCH),
            callbacks=[keeper, keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False)],
            verbose=verbose,
        )
    except KeyboardInterrupt:
        raise InterruptedRun(
            f"stopped by the user after {len(history.rows)} complete epochs; go on with the same command and --resume."
        ) from None
    with replacing(folder / WEIGHTS) as path:
        vae.save_weights(path)
    return Run(folder, config, summary, vae)


@final
class _Keeper(keras.callbacks.Callback):
    """Writes history and checkpoint after each epoch. History first: its rows beyond the checkpoint are dropped on restoring."""

    def __init__(self, vae: VAE, folder: Path, history: History):
        super().__init__()
        self.history, self.epochs = history, tf.Variable(0, dtype=tf.int64)
        vae.optimizer.build(vae.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=vae, optimizer=vae.optimizer, epochs=self.epochs)
        self.manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)

    def restore(self) -> int:
        """Restore the last checkpoint and return the number of complete epochs, 0 when there is none."""
        if self.manager.latest_checkpoint is None:
            return 0
        try:
            self.manager.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        except (tf.errors.OpError, IndexError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"`{self.manager.latest_checkpoint}` is damaged ({reason}); remove it to go on from the one before.") from None
        epochs = int(self.epochs.numpy())
        self.history.keep(epochs)
        return epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.history.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.history.add(epoch + 1, logs or {})
        self.epochs.assign(epoch + 1)
        self.manager.save(checkpoint_number=epoch + 1)


def _check_folder(folder: Path, config: Config, resume: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CONFIG).exists():
        raise RunError(f"`{folder}` exists and is no run folder; choose another for --run, nothing was changed.")
    if not resume:
        raise RunError(f"`{folder}` holds a run already; choose another for --run, or continue it with --resume.")
    stored = configs.read(folder / CONFIG)
    if stored != config:
        raise RunError(f"`{folder}` holds a run of another configuration ({_difference(stored, config)}); choose another for --run.")


def _difference(stored: Config, given: Config) -> str:
    old, new = _flat(stored.to_dict()), _flat(given.to_dict())
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
