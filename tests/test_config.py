"""Claims about configurations: presets are complete, overrides are checked, and mistakes are answered by name."""

import numpy as np
import pytest

from vae_tf import config as configs
from vae_tf.build import build_model, build_objective, build_piece
from vae_tf.config import Config
from vae_tf.errors import ConfigError
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.objective import Elbo

MINIMAL = {"data": {"source": "digits"}, "model": {"latent_dim": 2}}
every_preset = pytest.mark.parametrize("name", configs.preset_names())


@every_preset
def test_a_preset_survives_writing_and_reading(name, tmp_path):
    config = configs.preset(name)
    configs.write(config, tmp_path / "config.yaml")
    assert configs.read(tmp_path / "config.yaml") == config


@every_preset
@pytest.mark.parametrize(("shape", "levels"), [((8, 8, 1), 17), ((7, 5, 3), 2)])
def test_any_preset_builds_for_any_images(name, shape, levels):
    vae = build_model(configs.preset(name), shape, levels, label_size=10)
    label = None if vae.condition is None else np.zeros([1, *vae.condition.label.shape[1:]], vae.condition.label.dtype.as_numpy_dtype)
    assert vae.generate(1, label=label).shape == (1, *shape)
    build_objective(configs.preset(name), steps_per_epoch=3)


def test_the_promised_presets_are_there():
    assert {"digits", "digits-2d", "mnist", "mnist-2d", "mnist-conv", "binarized-mnist"} <= set(configs.preset_names())


def test_overrides_apply_in_order_and_read_yaml():
    config = Config.from_dict(MINIMAL).override(["training.epochs=3", "training.learning_rate=1e-4", "model.encoder.hidden=[5, 6]"])
    assert (config.training.epochs, config.training.learning_rate) == (3, 1e-4)
    assert config.model.encoder == {"name": "mlp", "hidden": [5, 6]}
    config = config.override(["model.likelihood=normal", "model.likelihood.scale=0.2"])
    assert config.model.likelihood == {"name": "normal", "scale": 0.2}


def test_an_error_message_stays_short_whatever_came():
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(MINIMAL).override([f"data.binarize={list(range(10_000))}"])
    assert len(str(caught.value)) < 300


def test_a_configuration_can_not_be_changed():
    with pytest.raises(AttributeError):
        Config.from_dict(MINIMAL).seed = 1


def test_epochs_become_steps():
    config = Config.from_dict(MINIMAL | {"objective": {"name": "elbo", "warmup_epochs": 2.5}})
    assert build_objective(config, steps_per_epoch=10) == Elbo(warmup_steps=25)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epoch=3", r"unknown key `training.epoch`. Did you mean 'epochs'\?"),
        ("trainng.epochs=3", r"unknown section `trainng`. Did you mean 'training'\?"),
        ("data.binarise=dynamic", "unknown key `data.binarise`. Did you mean 'binarize'"),
        ("colour=3", "unknown key `colour`. Known: data, model, objective, seed, training"),
        ("training.epochs=many", "`training.epochs`: .*integer.*, got 'many'"),
        ("training.epochs=0", "`training.epochs`: .*greater than or equal to 1, got 0"),
        ("training.learning_rate=-1", "`training.learning_rate`: .*greater than 0, got -1"),
        ("training.jit_compile=perhaps", "`training.jit_compile`: .*boolean"),
        ("data.binarize=static", "`data.binarize`: .*'none' or 'dynamic', got 'static'"),
        ("data.channels=2", "`data.channels`: .*1 or 3, got 2"),
        ("data.validation=1.5", "`data.validation`: .*less than 1, got 1.5"),
        ("model.latent_dim=", "`model.latent_dim`: .*integer"),
        ("model.latent_dim=[20, 0]", "`model.latent_dim.1`: .*greater than or equal to 1, got 0"),
        ("model.latent_dim=[]", "`model.latent_dim`: .*at least 1 item"),
        ("data.corruption=0.25", "`data.corruption` 0.25 corrupts nothing: set `data.corrupt=mask` too, or leave it out"),
        ("data.corrupt=mask", "`data.corrupt` 'mask' needs a level, got none; set `data.corruption=0.25`"),
        ("data={source: digits, corrupt: mask, corruption: 1}", "`data.corruption` must be below 1 for 'mask', a share of pixels; got 1"),
        ("data={source: digits, corrupt: normal, corruption: 0}", "`data.corruption`: .*greater than 0, got 0"),
        ("data={source: digits, corrupt: blur, corruption: 0.1}", "`data.corrupt`: .*'mask', 'salt-and-pepper' or 'normal', got 'blur'"),
        ("model.likelihood={scale: 1}", "`model.likelihood`: .*needs a `name`"),
        ("model.likelihood=[1]", "`model.likelihood`: .*dictionary, got"),
        ("data=3", "`data`: "),
        ("seed=-1", "`seed`: .*greater than or equal to 0, got -1"),
        ("training.epochs", "`--set` must be section.key=value, got 'training.epochs'"),
        ("=3", "`--set` must be section.key=value"),
        ("training.epochs=true", "`training.epochs`: .*must be a number, got True"),
        ("training.learning_rate=.inf", "`training.learning_rate`: .*finite"),
        ("model.latent_dim=99999999999", "`model.latent_dim`: .*less than or equal to 65536"),
        ("seed=2020-13-45", "is no YAML"),
        ("seed=" + "[" * 3000, "is no YAML"),
        ("model.encoder.hidden=[3", r"the value '\[3' is no YAML"),
    ],
)
def test_refuses_an_override(assignment, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_dict(MINIMAL).override([assignment])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "bernouli"}, r"`model.likelihood` 'bernouli' does not exist. Did you mean 'bernoulli'\?"),
        ({"name": "normal", "sigma": 0.1}, "model.likelihood 'normal': unknown key `sigma`. Known: scale"),
        ({"name": "normal", "scale": "wide"}, "model.likelihood 'normal': `scale`: .*number.*, got 'wide'"),
        ({"name": "bernoulli", "scale": 1}, "model.likelihood 'bernoulli': unknown key `scale`. There are none here"),
        ({"name": "bernoulli", "image_shape": [1, 1, 1]}, "unknown key `image_shape`"),
    ],
)
def test_refuses_a_piece(spec, message):
    with pytest.raises(ConfigError, match=message):
        build_piece("model.likelihood", LIKELIHOODS, spec, image_shape=(2, 2, 1), levels=2)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"name": "elbo", "warmup_epochs": 30}, "would end after 30 epochs, but `training.epochs` is 20; train for longer or shorten it"),
        ({"name": "elbo", "warmup_epochs": "long"}, "`objective.warmup_epochs` must be a number of epochs, got 'long'"),
        ({"name": "elbo", "warmup_epochs": float("inf")}, "`objective.warmup_epochs` must be a number of epochs, got inf"),
        ({"name": "elbo", "weight": float("nan")}, "`weight`: .*finite"),
        ({"name": "elbow"}, "`objective` 'elbow' does not exist. Did you mean 'elbo'"),
        ({"name": "iwae", "samples": 0}, "`samples` must be from 1 to 10000, got 0"),
        ({"name": "iwae", "weight": 2}, "unknown key `weight`"),
    ],
)
def test_refuses_an_objective(objective, message):
    with pytest.raises(ConfigError, match=message):
        build_objective(Config.from_dict(MINIMAL | {"objective": objective}), steps_per_epoch=10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {latent_dim: 2}", "`data` is required and missing"),
        ("data: {source: digits}\nmodel: {}", "`model.latent_dim` is required and missing"),
        ("[1, 2]", "must be a mapping with the sections data, model, training, objective, seed"),
        ("data: {source", "is no YAML"),
        ("", "must be a mapping"),
        ("!!python/object/apply:os.system [echo]", "is no YAML"),
    ],
)
def test_refuses_a_file(text, message, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        configs.read(path)


def test_refuses_missing_and_binary_files_and_unknown_presets(tmp_path):
    with pytest.raises(ConfigError, match="can not be read: No such file"):
        configs.read(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is no text file"):
        configs.read(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="`preset` 'mnits' does not exist. Did you mean 'mnist'"):
        configs.preset("mnits")


def test_a_source_as_others_may_read_it_holds_no_folders():
    assert configs.without_folders("folder:/home/someone/photos") == "folder:photos"
    assert configs.without_folders("npz:data/x.npz") == "npz:x.npz"
    assert configs.without_folders("tfds:mnist") == "tfds:mnist"
