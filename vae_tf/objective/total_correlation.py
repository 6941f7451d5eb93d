"""The KL in three parts, each with its weight."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import tensorflow as tf

from vae_tf.objective.base import Draw, Objective, check_at_least, check_choice, check_samples

__all__ = ["TotalCorrelation"]


@final
@dataclass(frozen=True, kw_only=True)
class TotalCorrelation(Objective):
    """E_q[log p(x | z)] - alpha I(x; z) - beta TC(z) - gamma sum_d KL(q(z_d) || p(z_d)).

    The three parts add up to KL(q(z | x) || p(z)): information about the image, total correlation KL(q(z) || prod_d q(z_d)), and the KL of
    the dimensions, or of their product where the prior binds them together. The aggregated posterior q(z), the mean of q(z | x) over all
    training images, is estimated from the batch, at the first sample of each image. With all weights 1 it cancels, which leaves the
    evidence lower bound; others are no bound.

    Args:
        train_images: N, the number of training images, at least 1.
        alpha: weight of the information, at least 0.
        beta: weight of the total correlation, at least 0.
        gamma: weight of the KL of the dimensions, at least 0.
        estimate: of q(z): "weighted" is the mean of the batch's q(z | x_j), divided by N: too low by log N where the batch is all, which
            shifts values and leaves gradients alone. "stratified" gives the image's own q(z | x) the share 1 / N and the others the
            rest: the mean over batches is q(z). In a batch of one image, it is that image's q(z | x).
        samples: S, from 1 to 10,000.

    Raises:
        ConfigError: a value is out of range.

    Source: Chen et al. (2018), equations 2 and 4; "weighted": equation 3; "stratified": appendix C, averaged over the choice of the image
    that is weighted differently.
    """

    over_batch: ClassVar[bool] = True
    train_images: int
    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    estimate: Literal["weighted", "stratified"] = "weighted"
    samples: int = 1

    def __post_init__(self):
        check_at_least("train_images", self.train_images, 1)
        for name in ("alpha", "beta", "gamma"):
            check_at_least(name, getattr(self, name), 0)
        check_choice("estimate", self.estimate, ("weighted", "stratified"))
        check_samples(self.samples)

    @property
    def needs(self) -> frozenset[str]:
        """Densities by dimension under the posteriors of other images."""
        return frozenset({"log_q_pairs"})

    def parts(self, draw: Draw) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return information, total correlation and the KL of the dimensions, [B] each, at the first sample; log q - log p is their sum."""
        pairs = draw.log_q_pairs()
        log_shares = self._log_shares(tf.shape(pairs)[0], pairs.dtype)
        log_aggregated = tf.reduce_logsumexp(log_shares + tf.reduce_sum(pairs, -1), 1)
        log_product = tf.reduce_sum(tf.reduce_logsumexp(log_shares[..., None] + pairs, 1), -1)
        return draw.log_q[0] - log_aggregated, log_aggregated - log_product, log_product - draw.log_prior[0]

    def __call__(self, draw: Draw, step: tf.Tensor) -> tf.Tensor:
        """Return the evidence lower bound less (alpha - 1) I, (beta - 1) TC and (gamma - 1) times the rest, [B]."""
        excess = [(weight - 1) * part for weight, part in zip((self.alpha, self.beta, self.gamma), self.parts(draw))]
        return tf.reduce_mean(draw.log_weights(), 0) - tf.add_n(excess)

    def _log_shares(self, batch: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Return the log of the share of each q(z | x_j) in the estimate of q(z_i), [B, B]."""
        others, images = tf.cast(batch - 1, dtype), tf.cast(self.train_images, dtype)
        if self.estimate == "weighted":
            return tf.fill([batch, batch], -tf.math.log(images * (others + 1)))
        alone = others == 0
        share = (images - 1) / (images * tf.maximum(others, 1))
        own = tf.where(alone, tf.ones([], dtype), 1 / images)
        return tf.linalg.set_diag(tf.fill([batch, batch], tf.math.log(share)), tf.fill([batch], tf.math.log(own)))
