"""Variational autoencoders on TensorFlow: train with `model.fit`, know the likelihood, ship a generator of noise.

The shape alphabet, used everywhere: S samples, B batch, D latent, H W C image (height, width, channels), N any number of rows.
Log densities are per example, in nats. Images are float32 in [0, 1].

Names are loaded when first used, so that a command line can answer a mistake before TensorFlow has started.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "VAE": "model",
    "Generator": "generator",
    "Classes": "condition",
    "Vector": "condition",
    "DiagonalNormal": "posterior",
    "FullNormal": "posterior",
    "MixturePosterior": "posterior",
    "CouplingFlowPosterior": "posterior",
    "InverseAutoregressivePosterior": "posterior",
    "Hierarchical": "posterior",
    "Ladder": "posterior",
    "Bernoulli": "likelihood",
    "Binomial": "likelihood",
    "Normal": "likelihood",
    "NormalLearnedScale": "likelihood",
    "NormalPixelScale": "likelihood",
    "Beta": "likelihood",
    "Categorical": "likelihood",
    "ContinuousBernoulli": "likelihood",
    "DiscretizedLogistic": "likelihood",
    "DiscretizedLogisticMixture": "likelihood",
    "Laplace": "likelihood",
    "LaplaceLearnedScale": "likelihood",
    "StandardNormal": "prior",
    "ConditionalNormal": "prior",
    "MixturePrior": "prior",
    "VampPrior": "prior",
    "CouplingFlowPrior": "prior",
    "InverseAutoregressivePrior": "prior",
    "TopDown": "prior",
    "Inference": "prior",
    "Elbo": "objective",
    "ImportanceWeighted": "objective",
    "ControlledCapacity": "objective",
    "FreeBits": "objective",
    "Renyi": "objective",
    "TotalCorrelation": "objective",
    "InfoVae": "objective",
    "DipVae": "objective",
    "MLPEncoder": "networks",
    "MLPDecoder": "networks",
    "ConvEncoder": "networks",
    "ConvDecoder": "networks",
    "ResidualEncoder": "networks",
    "ResidualDecoder": "networks",
    "FiniteGuard": "guards",
    "CollapseGuard": "guards",
    "VaeTfError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "RunError": "errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vae_tf' has no attribute {name!r}")
    return getattr(import_module(f"vae_tf.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
