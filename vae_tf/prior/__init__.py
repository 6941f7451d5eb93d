"""Priors p(z), each a deterministic function of standard normal noise: z = from_noise(eps)."""

from vae_tf.prior.base import FromNoise, Prior
from vae_tf.prior.flow import CouplingFlowPrior, InverseAutoregressivePrior
from vae_tf.prior.hierarchy import TopDown
from vae_tf.prior.mixture import MixturePrior
from vae_tf.prior.normal import ConditionalNormal, StandardNormal
from vae_tf.prior.vamp import Inference, VampPrior

__all__ = [
    "PRIORS",
    "ConditionalNormal",
    "CouplingFlowPrior",
    "FromNoise",
    "Inference",
    "InverseAutoregressivePrior",
    "MixturePrior",
    "Prior",
    "StandardNormal",
    "TopDown",
    "VampPrior",
]

PRIORS = {
    "standard-normal": StandardNormal,
    "conditional-normal": ConditionalNormal,
    "mixture": MixturePrior,
    "vampprior": VampPrior,
    "coupling-flow": CouplingFlowPrior,
    "iaf": InverseAutoregressivePrior,
    "top-down": TopDown,
}
