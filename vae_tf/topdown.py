"""Layers of latents drawn from the top down, each a diagonal normal given all layers above it."""

from collections.abc import Callable, Sequence

import tensorflow as tf

__all__ = ["LEAST_SCALE", "Layer", "normal_of", "pull_layers", "push_layers"]

LEAST_SCALE = 1e-5

#: (index, top 0; latents of all layers above [..., D']) -> loc and scale [..., d]
Layer = Callable[[int, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def normal_of(parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return loc and scale = softplus(.) + 1e-5, [..., d] each, of parameters [..., 2 d]."""
    loc, scale = tf.split(parameters, 2, -1)
    return loc, LEAST_SCALE + tf.nn.softplus(scale)


def push_layers(layer: Layer, eps: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return latents and the logs of their scales, layers side by side [..., D], for noise [..., d] of each layer, top first."""
    above, log_scales = eps[0][..., :0], []
    for index, noise in enumerate(eps):
        loc, scale = layer(index, above)
        above = tf.concat([above, loc + scale * noise], -1)
        log_scales.append(tf.broadcast_to(tf.math.log(scale), tf.shape(noise)))
    return above, tf.concat(log_scales, -1)


def pull_layers(layer: Layer, z: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the noise and the logs of the scales, [..., D] each, for latents [..., d] of each layer, top first."""
    above, eps, log_scales = z[0][..., :0], [], []
    for index, latents in enumerate(z):
        loc, scale = layer(index, above)
        eps.append((latents - loc) / scale)
        log_scales.append(tf.broadcast_to(tf.math.log(scale), tf.shape(latents)))
        above = tf.concat([above, latents], -1)
    return tf.concat(eps, -1), tf.concat(log_scales, -1)
