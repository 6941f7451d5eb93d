"""Claims about the evaluation of a run: complete, in files, and the same each time."""

import re

import numpy as np
import pytest

from vae_tf.cli import main
from vae_tf.config import Config
from vae_tf.evaluation import Evaluation, PerImage
from vae_tf.evaluation.of_model import ANNEALED
from vae_tf.evaluation.of_run import evaluate_run
from vae_tf.train import train

ODDS = {"samples": 20, "seed": 1, "prior_images": 50, "verbose": False}


def trained(folder, **model):
    return train(
        Config.from_dict(
            {
                "data": {"source": "digits", "binarize": "dynamic"},
                "model": {"latent_dim": 3, "encoder": {"name": "mlp", "hidden": [16]}, "decoder": {"name": "mlp", "hidden": [16]}, **model},
                "training": {"epochs": 2, "batch_size": 100, "learning_rate": 0.01},
            }
        ),
        folder,
        verbose=0,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def evaluation(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_tf.evaluation.of_model._FAR", 20)
        patch.setattr("vae_tf.evaluation.of_model._NEAR", 10)
        return evaluate_run(run, run.images(), annealed_images=2, **ODDS)


def test_everything_that_can_be_known_is_there(evaluation):
    assert set(evaluation.further) == {
        "what the encoder is worth",
        "information in the latents",
        "log p(x) of test images by annealed importance sampling",
        "log p(x) of images that the model made",
        "samples against test images",
        "training images against test images, as a perfect generator",
        "classes found by latents",
    }
    assert all(np.isfinite([e.value, e.standard_error]).all() for topic in evaluation.further.values() for e in topic.values())
    assert list(evaluation.curves["importance sampling"]) == [1, 10, 20] == list(evaluation.curves["plain Monte Carlo"])
    last = evaluation.curves["importance sampling"][20]
    assert (last.value, last.standard_error) == (evaluation.log_likelihood.value, evaluation.log_likelihood.standard_error)
    assert 1 <= evaluation.effective_samples["importance sampling"].median <= 20
    assert any("vae_tf-classifier 1" in note for note in evaluation.notes)


def test_rate_less_information_is_the_divergence_of_the_aggregated_posterior(evaluation):
    told = evaluation.further["information in the latents"]
    for low, high in (("at least", "at most"), ("at most", "at least")):
        total = told[f"I(x; z), {low}"].value + told[f"KL(q(z) || p(z)), {high}"].value
        assert total == pytest.approx(evaluation.kl.value, abs=4 * evaluation.kl.standard_error + 0.5)


def test_the_files_hold_what_was_returned(run, evaluation):
    assert Evaluation.read(run.folder / "evaluation.json") == evaluation
    each = PerImage.read(run.folder / "evaluation.npz")
    assert each.log_likelihood.mean() == pytest.approx(evaluation.log_likelihood.value)
    assert each.images == PerImage.fingerprint(run.test_images()[0])


def test_the_table_has_an_error_beside_every_estimate(evaluation):
    table = evaluation.table()
    numbers = [e for e in vars(evaluation).values() if hasattr(e, "standard_error")]
    numbers += [e for topic in evaluation.further.values() for e in topic.values()]
    rows = re.findall(r"^ *\S.* +-?\d+\.\d+ \+- \d+\.\d+ +\S+ +\d+ images, ", table, re.MULTILINE)
    assert len(rows) == len(numbers)


def test_the_command_prints_the_table_and_evaluating_again_gives_the_same_numbers(run, evaluation, capsys):
    main(["evaluate", str(run.folder), "--samples", "20", "--seed", "1"], standalone_mode=False)
    first = capsys.readouterr().out
    assert f"{evaluation.log_likelihood.value:.3f} +- {evaluation.log_likelihood.standard_error:.3f}" in first
    found = Evaluation.read(run.folder / "evaluation.json")
    for topic in ("information in the latents", "samples against test images", "classes found by latents"):
        assert found.further[topic] == evaluation.further[topic]


def test_annealed_importance_sampling_is_not_lost_by_an_evaluation_without_it(run, evaluation):
    again = evaluate_run(run, run.images(), **ODDS)
    assert {topic: again.further[topic] for topic in ANNEALED} == {topic: evaluation.further[topic] for topic in ANNEALED}
    assert "annealed importance sampling is from an earlier evaluation of this run" in again.notes


def test_what_can_not_be_measured_is_said(tmp_path):
    """Without classes there are neither features nor classes to find."""
    x = (np.random.default_rng(0).random((120, 6, 5)) < 0.4).astype(np.uint8) * 255
    np.savez(tmp_path / "x.npz", x=x)
    config = Config.from_dict(
        {
            "data": {"source": f"npz:{tmp_path}/x.npz", "binarize": "dynamic"},
            "model": {"latent_dim": 2, "encoder": {"name": "mlp", "hidden": [4]}, "decoder": {"name": "mlp", "hidden": [4]}},
            "training": {"epochs": 1, "batch_size": 50},
        }
    )
    run = train(config, tmp_path / "run", verbose=0)
    notes = evaluate_run(run, run.images(), **ODDS | {"prior_images": 5}).notes
    assert any(note.startswith("sample quality was not measured: ") for note in notes)
    assert any(note.startswith("the accuracy of latents as features was not measured: ") for note in notes)
