"""What a trained model is worth: estimates with their errors."""

from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.evaluate import CAVEAT, Evaluation, evaluate
from vae_tf.evaluation.importance import LogWeights, log_weights

__all__ = ["CAVEAT", "Estimate", "Evaluation", "LogWeights", "evaluate", "log_weights"]
