"""Claims about what a training says: its first and last line, the bar, and the time that is left."""

from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from followed import config, history

from vae_tf import announce, cli, progress
from vae_tf.checkpoints import Position
from vae_tf.cluster import Cluster
from vae_tf.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run."""
    return train(config(), tmp_path_factory.mktemp("runs") / "run", verbose=0, trackers=[])


def test_the_first_line_says_what_will_run(trained):
    alone = Cluster.alone()
    line, last = (
        announce.first_line(trained.folder, trained.config, trained.vae, trained.images(), alone, steps=2, begun=begun)
        for begun in (Position(4, 1), Position(12))
    )
    parameters = sum(np.prod(weight.shape) for weight in trained.vae.trainable_variables)
    assert "\n" not in line
    assert line.startswith(f"resuming {trained.folder}: {announce._count(int(parameters))} parameters (mlp, 3 latents, ")
    for part in (
        "binomial likelihood, elbo)",
        "digits 1,455 + 162 validation images of 8 x 8",
        "float32, no XLA, 2 steps a call, from",
    ):
        assert part in line
    assert line.endswith("from step 2 of epoch 5 on, 12 epochs of 2 steps of 700")
    assert last.endswith("nothing left of 12 epochs of 2 steps of 700")


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (1234, "1.23 k"), (92_160, "92.2 k"), (1_100_000, "1.1 M")])
def test_numbers_of_parameters_are_short(number, text):
    assert announce._count(number) == text


def test_the_last_line_has_the_result_and_the_next_command(trained):
    found = f"validation elbo {history(trained)[-1]['val_elbo']:.2f} nats in the last of 12 epochs"
    line = announce.last_line(trained, "python -m vae_tf evaluate RUN")
    assert line.startswith(f"trained {trained.folder}: {found}, ")
    assert line.endswith("Next: python -m vae_tf evaluate RUN")


def test_the_last_line_tells_the_epoch_whose_weights_the_run_has(trained, monkeypatch):
    monkeypatch.setattr(announce, "best_epoch", lambda run, rows: 2)
    line = announce.last_line(trained, "")
    assert f"validation elbo {history(trained)[1]['val_elbo']:.2f} nats in epoch 2, the best of 12 epochs, " in line


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (274, "4 min 34 s"), (7500, "2 h 5 min")])
def test_durations_are_in_two_units(seconds, text):
    assert progress.duration(seconds) == text


class FakeBar:
    """What is asked of tqdm."""

    def __init__(self, total, initial, **options):
        self.total, self.n, self.initial, self.text, self.closed = total, initial, initial, "", False

    def set_postfix_str(self, text, refresh):
        self.text = text

    def update(self, count):
        self.n += count

    def close(self):
        self.closed = True


def test_the_bar_counts_all_steps_of_the_training(monkeypatch):
    """Also where several steps are executed at once, and where earlier epochs were of another process."""
    made = []
    monkeypatch.setattr(progress, "tqdm", lambda **options: made.append(FakeBar(**options)) or made[-1])
    with progress.narration(1) as (bar,):
        bar.set_params({"epochs": 4, "steps": 10})
        for epoch in (2, 3):
            bar.on_epoch_begin(epoch)
            for last in (3, 7, 9):
                bar.on_train_batch_end(last, {"elbo": -3.25})
                assert (made[0].n, made[0].total) == (10 * epoch + last + 1, 40)
            bar.on_epoch_end(epoch, {"val_elbo": -3.5})
        assert not made[0].closed
    assert (made[0].initial, made[0].text, made[0].closed) == (24, "elbo -3.25, val_elbo -3.50", True)


def test_a_bar_is_finished_however_the_training_ends(monkeypatch):
    made = []
    monkeypatch.setattr(progress, "tqdm", lambda **options: made.append(FakeBar(**options)) or made[-1])

    def interrupted():
        with progress.narration(1) as (bar,):
            bar.set_params({"epochs": 4, "steps": 10})
            bar.on_epoch_begin(0)
            bar.on_train_batch_end(0, {"elbo": -3.25})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert made[0].closed


def test_a_log_says_how_much_time_is_left_by_the_epochs_of_this_process(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    with progress.narration(2) as (narrator,):
        narrator.set_params({"epochs": 10, "steps": 1})
        narrator.on_train_begin()
        for epoch, took_s in ((6, 50), (7, 20), (8, 30), (9, 10)):  # six were there already; the first of this process compiles
            clock[0] += took_s
            narrator.on_epoch_end(epoch, {"elbo": -2.0})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 7/10  elbo -2.00",
        "epoch 8/10  elbo -2.00  40 s left",
        "epoch 9/10  elbo -2.00  25 s left",
        "epoch 10/10  elbo -2.00",
    ]


def test_the_command_line_begins_and_ends_with_a_line(tmp_path):
    sets = [
        "training.epochs=1",
        "training.jit_compile=false",
        "objective.warmup_epochs=0",
        "model.encoder.hidden=[8]",
        "model.decoder.hidden=[8]",
    ]
    arguments = ["train", "digits", "--run", str(tmp_path / "run"), *(f"--set={item}" for item in sets)]
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 0, done.output
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(f"training {tmp_path}/run: ")
    assert last.startswith(f"trained {tmp_path}/run: validation elbo ")
