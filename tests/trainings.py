"""Small trainings for tests: what they are, how they are disturbed, and what is compared."""

import csv

import numpy as np
import pytest
import tf_keras as keras

from vae_tf.config import Config
from vae_tf.errors import InterruptedRun
from vae_tf.train import train as train_as_a_user

LONGER = {"batch_size": 100}  # a training of more steps, and how many an epoch of it has
STEPS = 14


def config(epochs=3, **training):
    """A configuration of four steps in an epoch."""
    return Config.from_dict(
        {
            "data": {"source": "digits", "binarize": "dynamic"},
            "model": {"latent_dim": 2, "encoder": {"name": "mlp", "hidden": [8]}, "decoder": {"name": "mlp", "hidden": [8]}},
            "objective": {"name": "elbo", "warmup_epochs": 2},
            "training": {"epochs": epochs, "batch_size": 300, "learning_rate": 0.01, "steps_per_execution": 1, **training},
            "seed": 3,
        }
    )


def rows(folder):
    """The history of a run, all columns but the seconds."""
    with (folder / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value and key != "seconds"} for row in csv.DictReader(file)]


def same_weights(first, second):
    """Whether two runs have the same bits."""
    return all(np.array_equal(a, b) for a, b in zip(first.vae.trainable_variables, second.vae.trainable_variables))


def train(*args, **kwargs):
    """Train without a word and without trackers, on which no number depends."""
    return train_as_a_user(*args, **{"verbose": 0, "trackers": ()} | kwargs)


def train_with(callbacks, *args, **kwargs):
    """Train with further callbacks, after the others; what spoils comes first."""
    fit, callbacks = keras.Model.fit, list(callbacks)
    first, last = ([one for one in callbacks if isinstance(one, Spoil) is spoils] for spoils in (True, False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", lambda self, *a, **k: fit(self, *a, **k | {"callbacks": [*first, *k["callbacks"], *last]}))
        return train(*args, **kwargs)


class At(keras.callbacks.Callback):
    """Does something after an optimizer step."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == self.step:
            self.action()


def stop():
    """Stop where it is, as a second Ctrl-C does."""
    raise KeyboardInterrupt


class Spoil(keras.callbacks.Callback):
    """Makes a weight NaN after an optimizer step, as an infinite gradient would."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == self.step:
            bias = self.model.posterior.parameters.bias
            bias.assign(bias * np.nan)


def truncate(path):
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def stopped(step, configuration, folder, *callbacks, **kwargs):
    """Train until a step, and stop there at once: what was not kept is lost."""
    with pytest.raises(InterruptedRun, match="stopped by the user; what was complete is kept: go on with .* --resume"):
        train_with([*callbacks, At(step, stop)], configuration, folder, **kwargs)
