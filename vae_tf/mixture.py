"""One normal noise coordinate chooses a component of a mixture."""

import tensorflow as tf

__all__ = ["MOST_COMPONENTS", "choose"]

MOST_COMPONENTS = 10_000


def choose(logits: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
    """Return the component k with F(k - 1) < Phi(eps) <= F(k), F the sums of the weights and Phi the normal distribution function.

    Args:
        logits: [..., K] or [K], of the weights.
        eps: [...], N(0, 1).

    Returns:
        int32 [...], from 0 to K - 1: k with probability softmax(logits)_k.
    """
    share = 0.5 * (1 + tf.math.erf(eps / 2**0.5))
    below = tf.cumsum(tf.nn.softmax(logits), axis=-1)[..., :-1]  # without the last, which rounding may leave below 1
    return tf.reduce_sum(tf.cast(below < share[..., None], tf.int32), -1)
