"""What a trained model is worth: estimates with their errors."""

from vae_tf.evaluation.annealed import Annealed, Bidirectional, annealed, bidirectional
from vae_tf.evaluation.dead_units import WithoutDeadUnits, without_dead_units
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.evaluate import evaluate
from vae_tf.evaluation.importance import LogWeights, log_weights
from vae_tf.evaluation.information import Information, information
from vae_tf.evaluation.per_image import PerImage
from vae_tf.evaluation.result import CAVEAT, EffectiveSamples, Evaluation

__all__ = [
    "CAVEAT",
    "Annealed",
    "Bidirectional",
    "EffectiveSamples",
    "Estimate",
    "Evaluation",
    "Information",
    "LogWeights",
    "PerImage",
    "WithoutDeadUnits",
    "annealed",
    "bidirectional",
    "evaluate",
    "information",
    "log_weights",
    "without_dead_units",
]
