"""Claims about early stopping: when a training ends, with which weights, and that resuming changes neither."""

import numpy as np
import pytest
from click.testing import CliRunner
from trainings import At, config, rows, same_weights, stop, train, train_with, truncate

from vae_tf.cli import main
from vae_tf.errors import InterruptedRun, RunError
from vae_tf.history import History
from vae_tf.patience import Patience, best_epoch
from vae_tf.report.facts import facts
from vae_tf.run import load

STEPS = 4  # an epoch


def history(*losses):
    return [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("patience", "losses", "best", "exhausted"),
    [
        (Patience(None), (3, 4, 5, 6), None, False),
        (Patience(2), (), None, False),
        (Patience(2), (3,), 1, False),
        (Patience(2), (3, 2, 4), 2, False),
        (Patience(2), (3, 2, 4, 2.5), 2, True),
        (Patience(2), (3, 2, 4, 1), 4, False),
        (Patience(1), (3, 3), 1, True),
        (Patience(2), (float("nan"), 5, 4), 3, False),
        (Patience(2), (5, float("inf"), float("nan")), 1, True),
        (Patience(2, first=3), (1, 1), None, False),
        (Patience(2, first=3), (1, 1, 5, 6), 3, False),
        (Patience(2, first=3), (1, 1, 5, 6, 7), 3, True),
    ],
)
def test_patience_is_a_rule_on_the_rows_of_a_history(patience, losses, best, exhausted):
    assert patience.best(history(*losses)) == best
    assert patience.exhausted(history(*losses)) is exhausted


IMPATIENT = config(epochs=40, learning_rate=0.1, anneal=0, patience=2, average=0.5)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """An uninterrupted run that ended early, and its weights, plain and averaged, after each epoch."""
    return train(IMPATIENT, tmp_path_factory.mktemp("runs") / "run")


def test_a_training_ends_when_its_patience_does(ended):
    losses = [row["val_loss"] for row in rows(ended.folder)][1:]  # the warm-up takes two epochs, so the second is the first that counts
    assert len(losses) + 1 < IMPATIENT.training.epochs
    assert int(np.argmin(losses)) == len(losses) - 3
    assert {path.name for path in (ended.folder / "checkpoints").iterdir()} == {f"epoch-{len(losses) - 1 + d}" for d in (0, 1, 2)}


def test_the_weights_are_those_of_a_training_that_ended_with_its_best_epoch(ended, tmp_path):
    best = len(rows(ended.folder)) - 2
    plain = config(epochs=best, learning_rate=0.1, anneal=0, average=0.5)
    assert same_weights(train(plain, tmp_path / "run"), ended)
    loaded = load(ended.folder)
    assert same_weights(loaded, ended)
    x, _ = ended.test_images()
    assert loaded.vae.evaluate(x, verbose=0) == ended.vae.evaluate(x, verbose=0)


def test_a_run_that_ends_early_resumes_exactly(ended, tmp_path, monkeypatch):
    epochs = len(rows(ended.folder))
    for step in (STEPS * (epochs - 2) - 1, STEPS * (epochs - 1) + 2):
        with pytest.raises(InterruptedRun):
            train_with([At(step, stop)], IMPATIENT, tmp_path / "run", resume=True, checkpoint_steps=1)
    with monkeypatch.context() as patch:
        patch.setattr("vae_tf.train._save_weights", lambda *_: stop())
        with pytest.raises(InterruptedRun):
            train(IMPATIENT, tmp_path / "run", resume=True)
    untrained = At(STEPS * epochs + 1, lambda: pytest.fail("it went on although it had ended"))
    resumed = train_with([untrained], IMPATIENT, tmp_path / "run", resume=True)
    assert rows(resumed.folder) == rows(ended.folder)
    assert same_weights(resumed, ended)
    before = (resumed.folder / "model.weights.h5").stat().st_mtime_ns
    train(IMPATIENT, resumed.folder, resume=True)
    assert (resumed.folder / "model.weights.h5").stat().st_mtime_ns == before


def test_best_weights_that_are_damaged_are_no_weights(ended, tmp_path, monkeypatch):
    best = len(rows(ended.folder)) - 2
    with monkeypatch.context() as patch:
        patch.setattr("vae_tf.train._save_weights", lambda *_: stop())
        with pytest.raises(InterruptedRun):
            train(IMPATIENT, tmp_path / "run")
    truncate(tmp_path / "run" / "checkpoints" / f"epoch-{best}" / "state.data-00000-of-00001")
    with pytest.raises(RunError, match=rf"epoch-{best}` is damaged, .*It held the best weights: train again in another folder"):
        train(IMPATIENT, tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "model.weights.h5").exists()


def test_what_ended_early_says_so(ended):
    history = History(ended.folder / "history.csv").rows
    best = best_epoch(ended, history)
    assert best == len(history) - 2
    assert facts(ended, history)["training"].startswith(f"{len(history)} epochs of at most 40, weights of epoch {best}, in ")
    done = CliRunner().invoke(main, ["train", str(ended.folder / "config.yaml"), "--run", str(ended.folder), "--resume"])
    assert f" nats in epoch {best}, the best of {len(history)} epochs, " in done.stdout
