"""Posteriors q(z | x): TFP distributions over latents, made of encoder features."""

from vae_tf.posterior.base import ParametricPosterior, Posterior
from vae_tf.posterior.flow import CouplingFlowPosterior, InverseAutoregressivePosterior
from vae_tf.posterior.hierarchy import Hierarchical, Ladder
from vae_tf.posterior.mixture import MixturePosterior
from vae_tf.posterior.normal import DiagonalNormal, FullNormal

__all__ = [
    "POSTERIORS",
    "CouplingFlowPosterior",
    "DiagonalNormal",
    "FullNormal",
    "Hierarchical",
    "InverseAutoregressivePosterior",
    "Ladder",
    "MixturePosterior",
    "ParametricPosterior",
    "Posterior",
]

POSTERIORS = {
    "diagonal-normal": DiagonalNormal,
    "full-normal": FullNormal,
    "mixture": MixturePosterior,
    "coupling-flow": CouplingFlowPosterior,
    "iaf": InverseAutoregressivePosterior,
    "hierarchical": Hierarchical,
    "ladder": Ladder,
}
