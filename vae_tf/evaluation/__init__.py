"""What a trained model is worth: estimates with their errors."""

from vae_tf.evaluation.annealed import Annealed, Annealing, Bidirectional, annealed, bidirectional
from vae_tf.evaluation.dead_units import WithoutDeadUnits, without_dead_units
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.features import Classifier, classifier
from vae_tf.evaluation.importance import LogWeights, log_weights
from vae_tf.evaluation.information import Information, information
from vae_tf.evaluation.latent_accuracy import LatentAccuracy, latent_accuracy
from vae_tf.evaluation.of_model import evaluate
from vae_tf.evaluation.of_run import evaluate_run
from vae_tf.evaluation.per_image import PerImage
from vae_tf.evaluation.result import CAVEAT, EffectiveSamples, Evaluation
from vae_tf.evaluation.sample_quality import SampleQuality, draw_samples, sample_quality

__all__ = [
    "CAVEAT",
    "Annealed",
    "Annealing",
    "Bidirectional",
    "Classifier",
    "EffectiveSamples",
    "Estimate",
    "Evaluation",
    "Information",
    "LatentAccuracy",
    "LogWeights",
    "PerImage",
    "SampleQuality",
    "WithoutDeadUnits",
    "annealed",
    "bidirectional",
    "classifier",
    "draw_samples",
    "evaluate",
    "evaluate_run",
    "information",
    "latent_accuracy",
    "log_weights",
    "sample_quality",
    "without_dead_units",
]
