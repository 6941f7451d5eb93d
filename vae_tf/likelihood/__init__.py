"""Likelihoods p(x | z): TFP distribution layers that turn decoder features into a distribution over images.

The randomness of x given z lives here, and only here: the decoder's features fix a *distribution* over images, with a mean
that one looks at and draws that scatter around it. Adding a likelihood is one class in a file of its own and its line in `LIKELIHOODS`.
"""

from vae_tf.likelihood.base import Likelihood
from vae_tf.likelihood.bernoulli import Bernoulli
from vae_tf.likelihood.beta import Beta
from vae_tf.likelihood.binomial import Binomial
from vae_tf.likelihood.categorical import Categorical
from vae_tf.likelihood.continuous_bernoulli import ContinuousBernoulli
from vae_tf.likelihood.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticMixture
from vae_tf.likelihood.laplace import Laplace, LaplaceLearnedScale
from vae_tf.likelihood.normal import Normal, NormalLearnedScale, NormalPixelScale

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Laplace",
    "LaplaceLearnedScale",
    "Likelihood",
    "Normal",
    "NormalLearnedScale",
    "NormalPixelScale",
]

LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "beta": Beta,
    "binomial": Binomial,
    "categorical": Categorical,
    "continuous-bernoulli": ContinuousBernoulli,
    "discretized-logistic": DiscretizedLogistic,
    "discretized-logistic-mixture": DiscretizedLogisticMixture,
    "laplace": Laplace,
    "laplace-learned-scale": LaplaceLearnedScale,
    "normal": Normal,
    "normal-learned-scale": NormalLearnedScale,
    "normal-pixel-scale": NormalPixelScale,
}
