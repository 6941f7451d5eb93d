"""Tiny trainings that trackers follow, and what they left read back."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from vae_tf.config import Config
from vae_tf.errors import InterruptedRun
from vae_tf.tracking import Tracking, Training
from vae_tf.train import train

EPOCHS = 12


def config(*sets, epochs=EPOCHS):
    return Config.from_dict(
        {
            "data": {"source": "digits"},
            "model": {
                "latent_dim": 3,
                "encoder": {"name": "mlp", "hidden": [8]},
                "decoder": {"name": "mlp", "hidden": [8]},
                "likelihood": "binomial",
            },
            "training": {"epochs": epochs, "batch_size": 700, "learning_rate": 0.01},
            "seed": 3,
        }
    ).override(sets)


def history(run):
    with (run.folder / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value and key != "seconds"} for row in csv.DictReader(file)]


def shown(run, name="validation"):
    """What TensorBoard reads: tag -> [(step, value)], images as PNG."""
    events = EventAccumulator(
        str(run.folder / "tensorboard" / name), tensor_size_guidance=dict.fromkeys(("scalars", "images", "histograms"), 0)
    )
    events.Reload()
    return {tag: [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


class StopAfter(keras.callbacks.Callback):
    """Is the user's Ctrl-C after an epoch, when trackers and checkpoint have it."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def stopped(monkeypatch, folder, after, *, epochs, **options):
    fit = keras.Model.fit
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", lambda self, *a, **k: fit(self, *a, **k | {"callbacks": [*k["callbacks"], StopAfter(after)]}))
        with pytest.raises(InterruptedRun):
            train(config(epochs=epochs), folder, verbose=0, **options)


def said(caplog):
    """What was said about trackers."""
    return [message for message in caplog.messages if message.startswith("the tracker")]


def follow(epochs, error=None, name="recorder", training=None):
    """Play a training of some epochs to a tracker."""
    with Tracking([name]) as tracking:
        tracking.follow(training)
        tracking.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=tf.constant(0.5))))
        tracking.on_train_begin()
        for epoch in range(epochs):
            tracking.on_epoch_end(epoch, {"elbo": -1.0})
        if error is not None:
            raise error


def training(folder, rows=()):
    return Training(folder, config(), None, np.zeros((1, 8, 8, 1)), None, None, list(rows))
