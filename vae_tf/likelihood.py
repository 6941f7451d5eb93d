"""Likelihoods p(x | z): TFP distribution layers that turn decoder features into a distribution over images.

The randomness of x given z lives here, and only here: the decoder's features fix a *distribution* over images, with a mean
that one looks at and draws that scatter around it. Adding a likelihood is one class and its line in `LIKELIHOODS`.
"""

from abc import abstractmethod
from typing import ClassVar, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras
from scipy.special import gammaln

from vae_tf.errors import ConfigError, DataError

__all__ = ["LIKELIHOODS", "Bernoulli", "Binomial", "Likelihood", "Normal", "NormalLearnedScale", "NormalPixelScale"]

tfd, tfpl = tfp.distributions, tfp.layers

_LEAST_SCALE = 1e-6  # below it, squared deviations in units of the scale overflow float32


class Likelihood(keras.layers.Layer):
    """p(x | z) given decoder features of z; the values of one image are independent given z.

    Owns the linear map from features to parameters: dense for flat features [N, F], a 1x1 convolution for maps [N, H, W, F].

    Args:
        image_shape: (H, W, C).

    Raises:
        ConfigError: `image_shape` is no such triple.
    """

    params_per_value: ClassVar[int] = 1  # how many parameters describe one value of the image
    discrete: ClassVar[bool] = False  # whether `log_prob` is the logarithm of a probability (else of a density)

    def __init__(self, image_shape: tuple[int, int, int]):
        super().__init__(name="likelihood", dtype="float32")
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ConfigError(f"`image_shape` must be (height, width, channels), each at least 1, got {image_shape}.")
        height, width, channels = image_shape
        self.image_shape = (height, width, channels)
        self.distribution = tfpl.DistributionLambda(self.make_distribution, convert_to_tensor_fn=tfd.Distribution.mean, dtype="float32")

    def build(self, features_shape: tf.TensorShape) -> None:
        """Create the map from features to parameters."""
        height, width, channels = self.image_shape
        size = channels * self.params_per_value
        if len(features_shape) == 2:
            self.parameters = keras.layers.Dense(height * width * size, dtype="float32", name="parameters")
        else:
            self.parameters = keras.layers.Conv2D(size, 1, dtype="float32", name="parameters")
        super().build(features_shape)

    def call(self, features: tf.Tensor, batch_shape: tf.Tensor | None = None) -> tfd.Distribution:
        """Return p(x | z), batch `batch_shape`, event [H, W, C].

        Args:
            features: [N, F] or [N, H, W, F] float.
            batch_shape: int vector whose product is N; [N] when None.
        """
        height, width, channels = self.image_shape
        event = [height, width, channels * self.params_per_value]
        shape = [-1, *event] if batch_shape is None else tf.concat([batch_shape, event], 0)
        return self.distribution(tf.reshape(self.parameters(features), shape))

    @abstractmethod
    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Return the distribution over images [..., H, W, C].

        Args:
            parameters: [..., H, W, C * params_per_value] float32, unconstrained.
        """

    def draw(self, px: tfd.Distribution, uniform: tf.Tensor) -> tf.Tensor:
        """Return one draw x ~ p(x | z) as a deterministic function of noise, by the inverse distribution function.

        Args:
            px: what this layer returned, batch [...].
            uniform: [..., H, W, C] float32, independent uniform draws strictly inside (0, 1).

        Returns:
            [..., H, W, C] float32.
        """
        return px.distribution.quantile(uniform)

    def check(self, x: np.ndarray) -> None:
        """Refuse images that this likelihood gives no probability.

        Args:
            x: [N, H, W, C] float.

        Raises:
            DataError: a wrong shape, or values outside the support.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image_shape:
            raise DataError(f"`x` must have the shape [N, {', '.join(map(str, self.image_shape))}], got {list(x.shape)}.")
        if len(x) == 0:
            raise DataError("`x` must hold at least one image, got none.")
        if not np.isfinite(x).all():
            raise DataError("`x` must be finite, got NaN or infinity; clean the images first.")
        if x.min() < 0 or x.max() > 1:
            raise DataError(f"`x` must lie in [0, 1], got [{x.min():g}, {x.max():g}]; divide by the largest grey level.")


@final
class Bernoulli(Likelihood):
    """p(x | z) = prod_i p_i^x_i (1 - p_i)^(1 - x_i), p = sigmoid(logits(z)), x_i in {0, 1}.

    Source: Kingma and Welling (2014), equation 11.
    """

    discrete = True

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits."""
        return tfd.Independent(tfd.Bernoulli(logits=parameters, dtype=tf.float32), 3)

    def draw(self, px: tfd.Distribution, uniform: tf.Tensor) -> tf.Tensor:
        """Return 1 where uniform > 1 - p."""
        return tf.cast(uniform > 1 - px.mean(), tf.float32)

    def check(self, x: np.ndarray) -> None:
        """Refuse grey values: their 'Bernoulli log-likelihood' is not the logarithm of any probability."""
        super().check(x)
        if not ((x == 0) | (x == 1)).all():
            raise DataError(
                "`x` must hold only 0 and 1 for a Bernoulli likelihood, got grey values; binarize the images "
                "(`data.binarize=dynamic`), or choose a likelihood of grey values (`model.likelihood=normal`)."
            )


@final
class Binomial(Likelihood):
    """p(x | z) = prod_i Binomial(k_i; n, p_i), k = n x, n = levels - 1, p = sigmoid(logits(z)).

    Suits images of few grey levels; one level above black is exactly `Bernoulli`.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2; x is a multiple of 1 / (levels - 1).

    Raises:
        ConfigError: `levels` is missing or below 2.
    """

    discrete = True

    def __init__(self, image_shape: tuple[int, int, int], levels: int | None):
        super().__init__(image_shape)
        if levels is None or levels < 2:
            raise ConfigError(f"`levels` must be at least 2 for a binomial likelihood, got {levels}; images of real values need `normal`.")
        self.levels = levels

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as logits."""
        return tfd.Independent(_BinomialShare(self.levels - 1, parameters), 3)

    def check(self, x: np.ndarray) -> None:
        """Refuse values that are no multiple of 1 / (levels - 1)."""
        super().check(x)
        if not np.allclose(x * (self.levels - 1), np.round(x * (self.levels - 1)), atol=1e-3):
            raise DataError(
                f"`x` must hold multiples of 1/{self.levels - 1} for a binomial likelihood of {self.levels} levels, got values between; "
                "choose `model.likelihood=normal`, or quantize the images."
            )


@final
class Normal(Likelihood):
    """p(x | z) = prod_i N(x_i; loc_i(z), scale^2), with one scale for all values, chosen by hand.

    -log p(x | z) = |x - loc|^2 / (2 scale^2) + const: mean squared error is the special case in which only this scale decides how
    much reconstruction weighs against the KL.

    Args:
        image_shape: (H, W, C).
        scale: standard deviation, in units of the value range [0, 1], at least 1e-6.

    Raises:
        ConfigError: `scale` is below 1e-6 or not finite.

    Source: Kingma and Welling (2014), equation 12.
    """

    def __init__(self, image_shape: tuple[int, int, int], *, scale: float = 0.1):
        super().__init__(image_shape)
        self.scale = _positive("scale", scale)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as loc."""
        return tfd.Independent(tfd.Normal(parameters, self.scale), 3)


@final
class NormalLearnedScale(Likelihood):
    """p(x | z) = prod_i N(x_i; loc_i(z), scale^2), with one scale for all values, learned with the other weights.

    Args:
        image_shape: (H, W, C).
        initial_scale: standard deviation at the start, above `min_scale`.
        min_scale: the scale never falls below it; densities stay finite on images that are reconstructed exactly.

    Raises:
        ConfigError: a scale is below 1e-6 or not finite, or `initial_scale` is not above `min_scale`.

    Source: Rybkin, Daniilidis and Levine (2021), section 3.
    """

    def __init__(self, image_shape: tuple[int, int, int], *, initial_scale: float = 0.5, min_scale: float = 0.01):
        super().__init__(image_shape)
        self.min_scale = _positive("min_scale", min_scale)
        if not min_scale < initial_scale < np.inf:
            raise ConfigError(f"`initial_scale` must be finite and above `min_scale`={min_scale:g}, got {initial_scale:g}.")
        start = keras.initializers.Constant(np.log(initial_scale - min_scale))
        # Owned by the distribution layer, which Keras wants to know the weights that it uses.
        self.log_excess = self.distribution.add_weight("log_excess", shape=(), initializer=start)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the parameters as loc."""
        return tfd.Independent(tfd.Normal(parameters, self.min_scale + tf.exp(self.log_excess)), 3)


@final
class NormalPixelScale(Likelihood):
    """p(x | z) = prod_i N(x_i; f_mu(z)_i, f_sigma(z)_i^2), both from the network.

    Args:
        image_shape: (H, W, C).
        min_scale: f_sigma = min_scale + softplus(.); without it the density of a pixel that never changes grows without bound.

    Raises:
        ConfigError: `min_scale` is below 1e-6 or not finite.

    Source: Kingma and Welling (2014), equation 12; for the bound on scale, Mattei and Frellsen (2018), proposition 1.
    """

    params_per_value = 2

    def __init__(self, image_shape: tuple[int, int, int], *, min_scale: float = 0.01):
        super().__init__(image_shape)
        self.min_scale = _positive("min_scale", min_scale)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the first half of the channels as loc, the second as unconstrained scale."""
        loc, scale = tf.split(parameters, 2, axis=-1)
        return tfd.Independent(tfd.Normal(loc, self.min_scale + tf.nn.softplus(scale)), 3)


LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "binomial": Binomial,
    "normal": Normal,
    "normal-learned-scale": NormalLearnedScale,
    "normal-pixel-scale": NormalPixelScale,
}


def _positive(name: str, value: float) -> float:
    if not _LEAST_SCALE <= value < np.inf:
        raise ConfigError(f"`{name}` must be finite and at least {_LEAST_SCALE:g}, got {value:g}; images span [0, 1], so try 0.1.")
    return value


class _BinomialShare(tfd.Distribution):
    """k / n for k ~ Binomial(n, sigmoid(logits)); a scaled `tfd.Binomial`, since TFP scales densities only."""

    def __init__(self, total_count: int, logits: tf.Tensor):
        parameters = dict(locals())
        self.total_count, self.logits = total_count, logits
        # log(n over k) for all k, in float64: float32 lgamma near n = 255 is off by 1e-4 nats a pixel.
        k = np.arange(total_count + 1)
        self._log_choose = (gammaln(total_count + 1) - gammaln(k + 1) - gammaln(total_count - k + 1)).astype(np.float32)
        super().__init__(
            tf.float32, tfp.distributions.NOT_REPARAMETERIZED, validate_args=False, allow_nan_stats=True, parameters=parameters
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"total_count": tfp.util.ParameterProperties(), "logits": tfp.util.ParameterProperties()}

    def _event_shape(self):
        return tf.TensorShape([])

    def _mean(self):
        return tf.sigmoid(self.logits)

    def _log_prob(self, x):
        return self._log_pmf(x * self.total_count, self.logits)

    def _log_pmf(self, k, logits):
        # k log p + (n - k) log(1 - p) = k logits - n softplus(logits)
        return k * logits - self.total_count * tf.nn.softplus(logits) + tf.gather(self._log_choose, tf.cast(tf.round(k), tf.int32))

    def _quantile(self, uniform):
        # min {k : F(k) >= u}, by counting the levels with F(k) < u
        pmf = tf.exp(self._log_pmf(tf.range(self.total_count, dtype=tf.float32), self.logits[..., None]))
        return tf.reduce_sum(tf.cast(tf.cumsum(pmf, axis=-1) < uniform[..., None], tf.float32), -1) / self.total_count

    def _sample_n(self, n, seed=None):
        uniform = tf.random.stateless_uniform(tf.concat([[n], tf.shape(self.logits)], 0), tfp.random.sanitize_seed(seed))
        return self._quantile(uniform)
