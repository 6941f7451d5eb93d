"""What the encoder of a denoising model sees in place of an image; the image itself stays the target of the likelihood.

Any objective can be trained so. Images that are validated or evaluated are not corrupted: q(z | x) of the clean image is a posterior
like any other, so the bounds and estimates of log p(x) hold as they are.

Source: Vincent et al. (2008), section 2.3; in a variational autoencoder, Im et al. (2017), equation 7.
"""

import tensorflow as tf

from vae_tf.noise import normal_rows, uniform_rows

__all__ = ["corrupt"]


def corrupt(x: tf.Tensor, kind: str, level: float, key: tf.Tensor, first: int = 0) -> tf.Tensor:
    """Return a corrupted copy of images, each a function of the key and of its row.

    Args:
        x: [B, H, W, C] float32 in [0, 1], of known shape.
        kind: "mask", "salt-and-pepper" or "normal".
        level: the share of pixels, each with all its channels; or the standard deviation of the noise, after which nothing is clipped.
        key: int [2], of the noise.
        first: the row of the first image in its batch.

    Returns:
        [B, H, W, C] float32.
    """
    rows, height, width, channels = x.shape
    if kind == "normal":
        return x + level * tf.reshape(normal_rows(key, rows, height * width * channels, first), x.shape)
    uniform = tf.reshape(uniform_rows(key, rows, height * width, first), [rows, height, width, 1])
    if kind == "mask":
        return tf.where(uniform < level, tf.zeros_like(x), x)
    return tf.where(uniform < level / 2, tf.zeros_like(x), tf.where(uniform < level, tf.ones_like(x), x))
