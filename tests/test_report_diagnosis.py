"""Diagnosis: every rule speaks where something is wrong, and is silent where nothing is."""

import numpy as np
import pytest
from reports import subject_of, trained

from vae_tf.evaluation import Estimate
from vae_tf.report.diagnosis import diagnosis
from vae_tf.report.diagnosis.of_estimates import few_effective_samples, missed, unsettled
from vae_tf.report.diagnosis.of_latents import collapsed, holed
from vae_tf.report.diagnosis.of_sigma import misplaced_sigma, saturated_sigma
from vae_tf.report.diagnosis.of_training import late_warm_up, overfitting, unfinished
from vae_tf.report.sigma import SigmaLoss

pytestmark = pytest.mark.usefixtures("fewer_samples")


def rows(validation, training=None, kl=20.0):
    """A history of losses, with a KL of 20 nats."""
    training = validation if training is None else training
    return [{"epoch": i + 1, "loss": t, "val_loss": v, "val_kl": kl} for i, (t, v) in enumerate(zip(training, validation))]


SCATTER = np.random.default_rng(0).standard_normal(20)
FALLING, FLAT = np.linspace(200, 100, 20), np.full(20, 100.0)

CASES = {
    "all latents idle": (collapsed, (np.full(4, 0.001), np.zeros(4, bool)), "Posterior collapse"),
    "a layer idle": (collapsed, (np.ones(3), np.array([False, True, True]), {"z2": 1, "z1": 2}), "No dimension of z2 is active"),
    "most latents idle": (collapsed, (np.r_[5.0, np.zeros(3)], np.arange(4) < 1), "3 of 4 latent dimensions do not vary"),
    "some latents idle": (collapsed, (np.r_[np.ones(3), 0], np.arange(4) < 3), None),
    "every layer in use": (collapsed, (np.ones(3), np.ones(3, bool), {"z2": 1, "z1": 2}), None),
    "a curve that rises": (unsettled, ([(1, -95.0), (100, -90.0), (1000, -89.0)],), "--samples 10000"),
    "a curve that rises by half a decade": (unsettled, ([(1000, -90.0), (5000, -89.8)],), "rose by 0.20 nats"),
    "a curve that has settled": (unsettled, ([(1, -95.0), (100, -90.0), (1000, -89.9)],), None),
    "a rise over hardly more samples": (unsettled, ([(100, -90.1), (1000, -90.0), (5000, -89.95), (5001, -89.85)],), None),
    "no curve": (unsettled, ([],), None),
    "one sample counts": (few_effective_samples, (1.2, 1000), "Of 1,000 posterior samples of an image, 1.2 count"),
    "samples enough": (few_effective_samples, (30.0, 1000), None),
    "hardly any samples": (few_effective_samples, (3.0, 4), "estimated with 4 posterior samples"),
    "an encoder that misses": (
        missed,
        ({"plain": Estimate(5.2, 2.1, 180, "nats", "")},),
        "plain found 5.20 ± 2.10 nats more",
    ),
    "an encoder that finds all": (missed, ({},), None),
    "many holes": (holed, (0.2, 0.01), "Of draws from the prior 20% are farther"),
    "few holes": (holed, (0.11, 0.01), None),
    "validation falls back": (overfitting, (rows(np.r_[FALLING, FLAT + 5]),), "best around epoch 21 and has risen by 1.7"),
    "a few epochs fall back": (overfitting, (rows(np.array([110.0, 100.0, 105.0])),), "best at epoch 2 and has risen by 5.0"),
    "one lucky epoch": (overfitting, (rows(np.r_[FALLING, FLAT[:10], 96.0, FLAT[:9]]),), None),
    "validation that scatters": (overfitting, (rows(FLAT + 3 * SCATTER),), None),
    "a gain within the scatter": (unfinished, (rows(FLAT + 3 * SCATTER),), None),
    "validation far behind": (overfitting, (rows(FLAT, FLAT - 15),), "15.0 nats behind training, with a KL of 20.0"),
    "validation far behind clean images": (overfitting, (rows(FLAT, FLAT - 15), True), None),
    "validation of few images far behind": (overfitting, (rows(FLAT, FLAT - 15), False, 6.0), None),
    "validation is NaN": (unfinished, (rows(np.r_[FLAT, np.nan]),), None),
    "validation follows": (overfitting, (rows(FALLING, FALLING - 2),), None),
    "too short to tell": (overfitting, (rows(FLAT[:1], FLAT[:1] - 15),), None),
    "still gaining": (unfinished, (rows(FALLING),), "fell by 10.5 nats from the 2 epochs before to the last 2"),
    "a last epoch that gains": (unfinished, (rows(np.array([110.0, 100.0])),), "in the last epoch"),
    "levelled off": (unfinished, (rows(FLAT),), None),
    "a single epoch": (unfinished, (rows(FLAT[:1]),), None),
    "a warm-up to the very end": (late_warm_up, (19, 20), "settled at epoch 19, and the training ended at epoch 20"),
    "a warm-up that was cut off": (late_warm_up, (30, 20), "would settle after epoch 30"),
    "a warm-up in time": (late_warm_up, (10, 20), None),
    "no schedule": (late_warm_up, (0, 1), None),
    "one sigma at its bound": (saturated_sigma, (np.array(0.0101), 0.01), "Sigma is within 5 % of the bound, 0.01"),
    "many sigmas at their bound": (saturated_sigma, (np.r_[np.full(3, 0.01), np.ones(7)], 0.01), "Of all values 30% have a sigma"),
    "few sigmas at their bound": (saturated_sigma, (np.r_[0.01, np.ones(19)], 0.01), None),
    "one sigma above": (saturated_sigma, (np.array(0.1), 0.01), None),
    "a sigma far from its best": (
        misplaced_sigma,
        (SigmaLoss(1520.0, 9.0, 0.4, 0.1),),
        "0.25 times the model's own the ELBO",
    ),
    "a sigma near its best": (misplaced_sigma, (SigmaLoss(0.5, 0.01, 0.4, 0.38),), None),
    "a sigma that may be at its best": (misplaced_sigma, (SigmaLoss(2.0, 1.0, 0.4, 0.3),), None),
    "no sigma to misplace": (misplaced_sigma, (None,), None),
    "no sigma": (saturated_sigma, (None, None), None),
    "no bound": (saturated_sigma, (np.array(0.1), None), None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_speaks_only_where_something_is_wrong(case):
    rule, given, words = CASES[case]
    finding = rule(*given)
    if words is None:
        assert finding is None
    else:
        assert words in " ".join((finding.title, finding.seen, finding.means, finding.advice))
        assert all(text.endswith(".") for text in (finding.seen, finding.means, finding.advice))


def test_a_run_is_diagnosed_by_its_own_history_and_decoder(tmp_path):
    """Two epochs that gain, a sigma that starts at its bound, and a warm-up that takes all of the training."""
    run = trained(
        tmp_path,
        training={"epochs": 3, "learning_rate": 0.01, "anneal": 0},
        likelihood={"name": "normal-learned-scale", "min_scale": 0.3, "initial_scale": 0.301},
    )
    titles = [finding.title for finding in diagnosis(subject_of(run))]
    assert "Sigma at its lower bound" in titles
    assert "The warm-up hardly ended" not in titles
    run.vae.compile(objective=type(run.vae.objective)(warmup_steps=9))
    assert "The warm-up hardly ended" in [finding.title for finding in diagnosis(subject_of(run))]
