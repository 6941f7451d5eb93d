"""Claims about the moving average of the weights."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras
from trainings import config, same_weights, train

from vae_tf.config import Config
from vae_tf.errors import ConfigError, InterruptedRun
from vae_tf.history import History
from vae_tf.model import VAE
from vae_tf.run import load

DECAY = 0.5


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    return train(config(average=DECAY), tmp_path_factory.mktemp("runs") / "run")


def test_the_last_weights_are_the_moving_average_of_every_step(averaged, tmp_path, monkeypatch):
    seen = []
    apply_gradients = keras.optimizers.Adam.apply_gradients

    def recording(optimizer, pairs):
        pairs = list(pairs)
        seen[:] = seen or [[variable.numpy() for _, variable in pairs]]  # before the first step
        apply_gradients(optimizer, pairs)
        seen.append([variable.numpy() for _, variable in pairs])

    monkeypatch.setattr(keras.optimizers.Adam, "apply_gradients", recording)
    monkeypatch.setattr("vae_tf.build.VAE.compile", _eager(monkeypatch))
    plain = train(config(), tmp_path / "run")
    monkeypatch.undo()
    average = seen[0]
    for weights in seen[1:]:
        average = [DECAY * old + (1 - DECAY) * new for old, new in zip(average, weights)]
    assert not same_weights(averaged, plain)
    for expected, variable in zip(average, averaged.vae.trainable_variables):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-3, atol=1e-5)


def _eager(monkeypatch):
    compile_ = VAE.compile
    return lambda vae, *args, **kwargs: compile_(vae, *args, run_eagerly=True, **kwargs | {"jit_compile": False})


def test_the_run_that_is_loaded_has_the_average(averaged):
    assert same_weights(averaged, load(averaged.folder))


def test_a_resumed_run_has_the_average_of_an_uninterrupted_one(averaged, tmp_path, monkeypatch):
    add = History.add

    def interrupted(history, epoch, values):
        if epoch == 2:
            raise KeyboardInterrupt
        add(history, epoch, values)

    monkeypatch.setattr(History, "add", interrupted)
    with pytest.raises(InterruptedRun):
        train(config(average=DECAY), tmp_path / "run")
    monkeypatch.undo()
    assert same_weights(averaged, train(config(average=DECAY), tmp_path / "run", resume=True))


def test_a_run_that_died_between_its_last_checkpoint_and_its_weights_still_gets_the_average(averaged, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_tf.train._save_weights", killed)
    with pytest.raises(InterruptedRun):
        train(config(average=DECAY), tmp_path / "run")
    monkeypatch.undo()
    assert same_weights(averaged, train(config(average=DECAY), tmp_path / "run", resume=True))


@pytest.mark.parametrize("average", [0, 1, 1.5, True, "much"])
def test_a_decay_that_is_none_is_refused(average):
    values = replace(config()).to_dict()
    with pytest.raises(ConfigError, match=r"`training.average`"):
        Config.from_dict(values | {"training": values["training"] | {"average": average}})
