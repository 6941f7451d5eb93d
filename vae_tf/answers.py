"""What a draw answers when an objective asks: the path and the slope of log q, and the KL in parts."""

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["NEEDS", "kl_terms", "path", "slope"]

tfd = tfp.distributions

#: what some pieces can not answer, in words
NEEDS = {
    "log_q_path": "the density of q at a given z, for its gradient through z alone",
    "kl_terms": "the KL of each latent dimension",
    "log_q_pairs": "the density of each latent dimension under the posteriors of other images",
}


def slope(q: tfd.Distribution, z: tf.Tensor) -> tf.Tensor:
    """Return the derivative of log q(z) by z, [S, B, D], with the parameters of q held."""
    at = tf.stop_gradient(z)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(at)
        log_q = q.log_prob(at)
    return tf.stop_gradient(tape.gradient(log_q, at))


def path(q: tfd.Distribution, z: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """Return log q [S, B] whose gradient is its slope times that of z: none through the parameters of q."""
    return tf.stop_gradient(log_q) + tf.reduce_sum(slope(q, z) * (z - tf.stop_gradient(z)), -1)


def kl_terms(log_q: tuple[tf.Tensor, ...], log_prior: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """Return log q - log p in the finest parts that both sides have: by dimension, else by layer, else as a whole."""
    sizes_q, sizes_p = ([part.shape[-1] for part in parts] for parts in (log_q, log_prior))
    if len(log_q) == len(log_prior):
        return tuple(q - p if q.shape[-1] == p.shape[-1] else _whole(q) - _whole(p) for q, p in zip(log_q, log_prior))
    if sum(sizes_q) == sum(sizes_p):
        return tuple(tf.split(tf.concat(log_q, -1) - tf.concat(log_prior, -1), max(sizes_q, sizes_p, key=len), -1))
    return (tf.add_n([_whole(q) for q in log_q]) - tf.add_n([_whole(p) for p in log_prior]),)


def _whole(part: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(part, -1, keepdims=True)
