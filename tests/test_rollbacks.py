"""Claims about trainings that went back to an earlier state: they end, and resume to the bits of those never stopped."""

from dataclasses import replace

import numpy as np
import pytest
from trainings import LONGER, STEPS, Spoil, config, rows, same_weights, stopped, train_with

from vae_tf.errors import RunError
from vae_tf.run import load

ROLLING = {"non_finite": "rollback", "average": 0.9, **LONGER}
SPOILT = (9, STEPS + 2, STEPS + 9)  # once in the first epoch, twice in the second; noticed in the next step


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory):
    """An uninterrupted run with rollbacks."""
    return train_with(map(Spoil, SPOILT), config(**ROLLING), tmp_path_factory.mktemp("runs") / "run")


def test_rollbacks_are_counted_and_the_training_ends(rolled_back):
    history = rows(rolled_back.folder)
    assert [row["rollbacks"] for row in history] == [1, 2, 0]
    assert np.isfinite([value for row in history for value in row.values()]).all()
    assert all(np.isfinite(weight).all() for weight in load(rolled_back.folder).vae.get_weights())


def test_a_run_stopped_about_its_rollbacks_gives_the_numbers_of_an_uninterrupted_one(rolled_back, tmp_path):
    """Before the first, in the step that is spoilt and not yet noticed, right after a rollback, between two, and an epoch later."""
    for step in (5, STEPS + 2, STEPS + 3, STEPS + 6, 2 * STEPS + 3):
        stopped(step, config(**ROLLING), tmp_path / "run", *map(Spoil, SPOILT), resume=True, checkpoint_steps=1)
    resumed = train_with(map(Spoil, SPOILT), config(**ROLLING), tmp_path / "run", resume=True)
    assert rows(resumed.folder) == rows(rolled_back.folder)
    assert same_weights(resumed, rolled_back)


def test_a_run_that_was_stopped_goes_on_with_rollbacks_as_if_they_had_been_chosen_at_first(rolled_back, tmp_path):
    plain = replace(config(**ROLLING), training=replace(config(**ROLLING).training, non_finite="stop"))
    with pytest.raises(RunError, match=r"in epoch 1, batch 10 \(optimizer step 10\).*`training.non_finite=rollback`, also with --resume"):
        train_with(map(Spoil, SPOILT), plain, tmp_path / "run", checkpoint_steps=1)
    resumed = train_with(map(Spoil, SPOILT), config(**ROLLING), tmp_path / "run", resume=True)
    assert load(resumed.folder).config.training.non_finite == "rollback"
    assert rows(resumed.folder) == rows(rolled_back.folder)
    assert same_weights(resumed, rolled_back)
