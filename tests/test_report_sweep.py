"""Models of several numbers of latents, side by side."""

import numpy as np
import pytest
from click.testing import CliRunner
from reports import LAYERS, pictures, subject_of, trained

from vae_tf.cli import main
from vae_tf.config import preset
from vae_tf.errors import ConfigError
from vae_tf.report import train_sweep
from vae_tf.report.sweep import beyond, shortened, sweep

pytestmark = pytest.mark.usefixtures("fewer_samples")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"), condition="classes")


@pytest.fixture(scope="module")
def swept(run):
    return train_sweep(run, [2, 1, 2], verbose=0)


def test_each_size_becomes_a_run_of_its_own_inside_the_run(run, swept):
    assert [one.vae.prior.latent_dim for one in swept] == [1, 2]
    assert [one.folder for one in swept] == [run.folder / "sweep" / "latents-1", run.folder / "sweep" / "latents-2"]
    assert all(one.config.model.condition == run.config.model.condition for one in swept)


def test_what_is_trained_is_not_trained_again(run, swept, capsys):
    before = {one.folder: (one.folder / "history.csv").read_bytes() for one in swept}
    again = train_sweep(run, [1, 2])
    assert {one.folder: (one.folder / "history.csv").read_bytes() for one in again} == before
    assert "epoch 1/1" not in capsys.readouterr().out
    for one, other in zip(swept, again):
        np.testing.assert_array_equal(one.vae.generate(2, label=0), other.vae.generate(2, label=0))


def test_the_chapter_lays_sizes_side_by_side_with_errors(run, swept):
    subject = subject_of(run)
    found = pictures(sweep(subject, swept))
    assert list(found) == ["Log-likelihood by number of latents", "Samples by number of latents"]
    likelihoods = found["Log-likelihood by number of latents"]
    assert "log p(x | y)" in likelihoods.caption
    assert " ± " in likelihoods.caption
    assert "1 latents: " in likelihoods.alt
    assert "this run itself, 3 latents: " in likelihoods.alt
    assert "The open diamond is this run itself, with its own training, as long as these: 3 latent dimensions" in likelihoods.caption
    assert "this run, trained apart" in likelihoods.content.decode()
    assert "2 latents" in found["Samples by number of latents"].content.decode()


@pytest.mark.parametrize(
    ("sizes", "best", "words"),
    [([2, 5, 10], 2, "larger ones may be better"), ([2, 5], 0, "smaller ones may be better"), ([2, 5, 10], 1, ""), ([1, 2], 0, "")],
)
def test_a_best_size_at_the_edge_leaves_open_what_lies_beyond(sizes, best, words):
    said = beyond(sizes, best)
    assert words in said
    assert bool(said) == bool(words)


def test_a_long_training_is_shortened_and_its_schedule_with_it():
    config = preset("digits-2d")
    whole = shortened(config, 5, steps_per_epoch=22)
    assert (whole.training.epochs, whole.objective["warmup_epochs"]) == (200, 20)
    short = shortened(config, 5, steps_per_epoch=500)
    assert (short.training.epochs, short.objective["warmup_epochs"]) == (10, 1)
    assert (short.model.latent_dim, short.model.encoder) == (5, config.model.encoder)
    assert shortened(config, 5, steps_per_epoch=10_000).training.epochs == 1


def test_a_schedule_as_long_as_the_training_still_fits_it():
    config = preset("digits-2d").override(["objective.warmup_epochs=200"])
    for steps in (7, 23, 170, 333, 1001):
        short = shortened(config, 3, steps)
        assert round(short.objective["warmup_epochs"] * steps) <= short.training.epochs * steps


@pytest.mark.parametrize(
    ("sizes", "message"), [([], "`sizes` must hold numbers of latent dimensions"), ([3, 0], "each at least 1, got \\[3, 0\\]")]
)
def test_sizes_that_are_none_are_refused(run, sizes, message):
    with pytest.raises(ConfigError, match=message):
        train_sweep(run, sizes)


def test_a_model_of_layers_is_refused(tmp_path):
    run = trained(tmp_path, latent_dim=[1, 2], posterior={"name": "ladder", "hidden": [4]}, prior=LAYERS)
    with pytest.raises(ConfigError, match=r"one layer of latents, and this one has 2: \[1, 2\]; sweep a model of one layer"):
        train_sweep(run, [2])
    assert not (run.folder / "sweep").exists()


@pytest.mark.parametrize("text", ["2,x", "0,2", "2,,5", "-1"])
def test_the_command_refuses_what_is_no_list_of_sizes(text):
    done = CliRunner().invoke(main, ["report", "nowhere", f"--sweep-latents={text}"])
    assert done.exit_code == 2
    assert "numbers of at least 1 with commas between them" in done.output
