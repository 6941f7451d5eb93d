"""Logistic distributions, and mixtures of them, rounded to grey levels; what falls beyond black or white counts as black or white."""

from typing import final

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.errors import ConfigError
from vae_tf.likelihood.grey import GreyDistribution, GreyLikelihood, least_level, softmax

__all__ = ["DiscretizedLogistic", "DiscretizedLogisticMixture"]

tfd = tfp.distributions

_LEAST_SCALE = 1 / 8  # of a grey level: a level can have the probability 0.964, and gradients stay moderate


@final
class DiscretizedLogistic(GreyLikelihood):
    """p(x | z) = prod_i P(k_i - 1/2 < n X_i < k_i + 1/2), X_i ~ Logistic(loc_i(z), scale_i(z)), k = n x, n = levels - 1.

    The first level takes all that lies below it and the last all that lies above, so probabilities sum to one. The mean that is
    returned is that of X clipped to [0, 1] before it is rounded: within half a grey level of the exact mean.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2.

    Raises:
        ConfigError: `levels` is missing or below 2.

    Source: Kingma et al. (2016), Improving variational inference with inverse autoregressive flow; Salimans et al. (2017), section 2.1.
    """

    @property
    def params_per_pixel(self) -> int:
        """Loc and scale of each channel."""
        return 2 * self.image_shape[-1]

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read the first half of the channels as loc, the second as unconstrained scale."""
        loc, scale = tf.split(parameters, 2, axis=-1)
        return tfd.Independent(_Logistic(self.levels - 1, *_in_levels(loc, scale, self.levels - 1)), 3)


@final
class DiscretizedLogisticMixture(GreyLikelihood):
    """p(x | z) = prod_pixels sum_m w_m prod_c P_m(k_c | k_b, b < c), discretized logistics P_m, loc_cm + sum_{b<c} a_cbm (x_b - 1/2).

    One component is chosen for all channels of a pixel, and its loc of a channel depends linearly on the channels before it (red,
    green, blue), by coefficients a in (-1, 1). Edges as in `DiscretizedLogistic`.

    The mean that is returned puts the earlier channels of a component at their means. For grey images it is within half a grey level
    of the exact mean. A later channel, where black or white clips, may be further off, within a component by half of E|s - E s|,
    s = sum_b a_cb x_b, and by a_cb times the errors of the means before it.

    Args:
        image_shape: (H, W, C).
        levels: number of grey levels, at least 2.
        components: of the mixture, at least 1.

    Raises:
        ConfigError: `levels` is missing or below 2, or `components` below 1.

    Source: Salimans, Karpathy, Chen and Kingma (2017), sections 2.1 and 2.2.
    """

    def __init__(self, image_shape: tuple[int, int, int], levels: int | None, *, components: int = 10):
        super().__init__(image_shape, levels)
        if components < 1:
            raise ConfigError(f"`components` must be at least 1, got {components}; the source has 5 to 10.")
        self.components = components
        channels = self.image_shape[-1]
        self._rows = [1, channels, channels, channels * (channels - 1) // 2]  # logits, loc, scale, coupling

    @property
    def params_per_pixel(self) -> int:
        """Of each component: its weight, loc and scale of each channel, and a coefficient for each pair of channels."""
        return self.components * sum(self._rows)

    def make_distribution(self, parameters: tf.Tensor) -> tfd.Distribution:
        """Read, in this order, each with the components innermost: logits, loc, unconstrained scale, unconstrained coupling."""
        rows = tf.reshape(parameters, tf.concat([tf.shape(parameters)[:-1], [sum(self._rows), self.components]], 0))
        logits, loc, scale, coupling = tf.split(rows, self._rows, axis=-2)
        top = self.levels - 1
        return tfd.Independent(_PixelMixture(top, logits[..., 0, :], *_in_levels(loc, scale, top), tf.tanh(coupling)), 2)


@final
class _Logistic(GreyDistribution):
    def __init__(self, top: int, loc: tf.Tensor, scale: tf.Tensor):
        self.loc, self.scale = loc, scale
        super().__init__(top, loc=loc, scale=scale)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {name: tfp.util.ParameterProperties() for name in ("top", "loc", "scale")}

    def _mean(self):
        return _clipped_mean(self.loc, self.scale, self.top)

    def _log_prob(self, x):
        return _log_probability(tf.round(x * self.top), self.loc, self.scale, self.top)

    def _quantile(self, uniform):
        latent = self.loc + self.scale * (tf.math.log(uniform) - tf.math.log1p(-uniform))
        return tf.clip_by_value(tf.math.ceil(latent - 0.5), 0, self.top) / self.top


@final
class _PixelMixture(GreyDistribution):
    """The event is one pixel, [C]; parameters are [..., K], [..., C, K], [..., C, K] and [..., C (C - 1) / 2, K]."""

    def __init__(self, top: int, logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, coupling: tf.Tensor):
        self.logits, self.loc, self.scale, self.coupling = logits, loc, scale, coupling
        super().__init__(top, logits=logits, loc=loc, scale=scale, coupling=coupling)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        ranks = {"top": 0, "logits": 1, "loc": 2, "scale": 2, "coupling": 2}
        return {name: tfp.util.ParameterProperties(event_ndims=rank) for name, rank in ranks.items()}

    def _event_shape(self):
        return tf.TensorShape([self.loc.shape[-2]])

    def _component(self, channel: int, earlier: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return loc and scale of a channel, [..., K], given the levels of the channels before it."""
        loc, pairs = self.loc[..., channel, :], channel * (channel - 1) // 2
        for other, level in enumerate(earlier):
            loc += self.coupling[..., pairs + other, :] * (level - self.top / 2)
        return loc, self.scale[..., channel, :]

    def _mean(self):
        means: list[tf.Tensor] = []
        for channel in range(self.loc.shape[-2]):
            means.append(self.top * _clipped_mean(*self._component(channel, means), self.top))
        weights = softmax(self.logits)
        return tf.stack([tf.reduce_sum(weights * mean, -1) for mean in means], -1) / self.top

    def _log_prob(self, x):
        levels = tf.unstack(tf.round(x * self.top)[..., None], axis=-2)
        log_joint = tf.nn.log_softmax(self.logits)
        for channel, level in enumerate(levels):
            log_joint += _log_probability(level, *self._component(channel, levels[:channel]), self.top)
        return tf.reduce_logsumexp(log_joint, -1)

    def _quantile(self, uniform):
        """Draw channel by channel; what was drawn says which component it may have been."""
        log_weights, drawn = self.logits, list[tf.Tensor]()
        for u in tf.unstack(uniform[..., None], axis=-2):
            loc, scale = self._component(len(drawn), drawn)
            weights = softmax(log_weights)
            # The upper half of the noise is measured from above, where 1 - u and 1 - F(k) are exact.
            sign = tf.where(u < 0.5, 1.0, -1.0)

            def reached(level, u=u, sign=sign, loc=loc, scale=scale, weights=weights):
                tail = tf.reduce_sum(weights * tf.sigmoid(sign * (level + 0.5 - loc) / scale), -1, keepdims=True)
                return tf.where(u < 0.5, tail >= u, tail <= 1 - u)

            drawn.append(least_level(reached, self.top, like=u + tf.zeros_like(loc[..., :1])))
            log_weights += _log_probability(drawn[-1], loc, scale, self.top)
        return tf.concat(drawn, -1) / self.top


def _in_levels(loc: tf.Tensor, scale: tf.Tensor, top: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return loc and positive scale in units of a grey level; what comes is in units of the value range, the scale unconstrained."""
    return top * loc, _LEAST_SCALE + top * tf.nn.softplus(scale)


def _log_probability(level: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, top: int) -> tf.Tensor:
    """Return log P(level - 1/2 < X < level + 1/2), with the tails at the edges; nothing cancels, however far the tail."""
    # With s = sigmoid, b > a the two ends: s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)).
    below = tf.where(level < top, -tf.nn.softplus((loc - level - 0.5) / scale), 0.0)
    above = tf.where(level > 0, -tf.nn.softplus((level - 0.5 - loc) / scale), 0.0)
    inside = tf.where((level > 0) & (level < top), tf.math.log(-tf.math.expm1(-1 / scale)), 0.0)
    return below + above + inside


def _clipped_mean(loc: tf.Tensor, scale: tf.Tensor, top: int) -> tf.Tensor:
    """Return E[clip(X, 0, top)] / top."""
    # int_0^top P(X > t) dt = scale (softplus(a) - softplus(b)), a = loc / scale, b = (loc - top) / scale; with
    # softplus(a) = max(a, 0) + softplus(-|a|), the large parts are the clipped loc.
    near, far = tf.nn.softplus(-tf.abs(loc / scale)), tf.nn.softplus(-tf.abs((loc - top) / scale))
    return (tf.clip_by_value(loc, 0, top) + scale * (near - far)) / top
