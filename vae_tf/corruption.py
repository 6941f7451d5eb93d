"""What the encoder of a denoising model sees in place of an image; the image itself stays the target of the likelihood.

Any objective can be trained so. Images that are validated or evaluated are not corrupted: q(z | x) of the clean image is a posterior
like any other, so the bounds and estimates of log p(x) hold as they are.

Source: Vincent et al. (2008), section 2.3; in a variational autoencoder, Im et al. (2017), equation 7.
"""

import tensorflow as tf

__all__ = ["corrupt"]


def corrupt(x: tf.Tensor, kind: str, level: float, key: tf.Tensor) -> tf.Tensor:
    """Return a corrupted copy of images, a function of the key.

    Args:
        x: [B, H, W, C] float32 in [0, 1], of known shape.
        kind: "mask", "salt-and-pepper" or "normal".
        level: the share of pixels, each with all its channels; or the standard deviation of the noise, after which nothing is clipped.
        key: int [2], of the noise.

    Returns:
        [B, H, W, C] float32.
    """
    return _KINDS[kind](x, level, key)


def _mask(x: tf.Tensor, share: float, key: tf.Tensor) -> tf.Tensor:
    return tf.where(_uniform(x, key) < share, tf.zeros_like(x), x)


def _salt_and_pepper(x: tf.Tensor, share: float, key: tf.Tensor) -> tf.Tensor:
    uniform = _uniform(x, key)
    return tf.where(uniform < share / 2, tf.zeros_like(x), tf.where(uniform < share, tf.ones_like(x), x))


def _normal(x: tf.Tensor, stddev: float, key: tf.Tensor) -> tf.Tensor:
    return x + stddev * tf.random.stateless_normal(x.shape, key, alg="philox")


def _uniform(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """One number per pixel, [B, H, W, 1]."""
    return tf.random.stateless_uniform([*x.shape[:-1], 1], key, alg="philox")


_KINDS = {"mask": _mask, "salt-and-pepper": _salt_and_pepper, "normal": _normal}
