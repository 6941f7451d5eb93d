"""The oracle: a linear-Gaussian model whose evidence is known.

z ~ N(0, I), x | z ~ N(W z + b, s^2 I) on C "pixels"; then x ~ N(b, W W^T + s^2 I), and p(z | x) is normal with precision
I + W^T W / s^2. With the exact posterior, p(x, z) / q(z | x) = p(x) for every z, so every bound equals the evidence for each single draw.
Where the columns of W are orthogonal the dimensions of p(z | x) are independent, and what a wrong q costs is known too.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf import VAE, DiagonalNormal, Normal, StandardNormal
from vae_tf.objective import Draw

tfd = tfp.distributions


class Identity(keras.layers.Layer):
    """Images or latents as rows."""

    def call(self, inputs):
        return tf.reshape(inputs, [tf.shape(inputs)[0], np.prod(inputs.shape[1:])])


def softplus_inverse(y):
    return np.log(np.expm1(y - 1e-5))


@dataclass(frozen=True)
class LinearGaussian:
    weights: np.ndarray  # [C, D]
    loc: np.ndarray  # [C]
    scale: float

    @classmethod
    def random(cls, values: int, latent_dim: int, seed: int = 0) -> "LinearGaussian":
        rng = np.random.default_rng(seed)
        return cls(rng.normal(size=(values, latent_dim)).astype("f4"), rng.normal(size=values).astype("f4"), 0.5)

    @classmethod
    def orthogonal(cls, values: int, latent_dim: int, seed: int = 0) -> "LinearGaussian":
        """Columns of W at right angles, of lengths from 0.5 to 1.5."""
        rng = np.random.default_rng(seed)
        columns, _ = np.linalg.qr(rng.normal(size=(values, latent_dim)))
        return cls((columns * np.linspace(0.5, 1.5, latent_dim)).astype("f4"), rng.normal(size=values).astype("f4"), 0.5)

    def vae(self, widen: float = 1.0, shift: float = 0.0) -> VAE:
        """Return the model, for orthogonal columns: q is p(z | x), with scales times `widen` and means moved by `shift` scales."""
        values, latent_dim = self.weights.shape
        vae = VAE(Identity(), Identity(), DiagonalNormal(latent_dim), Normal((values, 1, 1), scale=self.scale), StandardNormal(latent_dim))
        vae.likelihood.parameters.set_weights([self.weights.T, self.loc])
        w = self.weights.astype("f8")
        variance = 1 / (1 + np.sum(w**2, 0) / self.scale**2)
        gain = w * variance / self.scale**2  # E[z | x] = (x - b) gain
        kernel = np.concatenate([gain, np.zeros_like(gain)], 1)
        bias = np.concatenate([shift * variance**0.5 - self.loc @ gain, softplus_inverse(widen * variance**0.5)])
        vae.posterior.parameters.set_weights([kernel, bias])
        vae.compile()
        return vae

    def sample(self, count: int, seed: int = 1) -> np.ndarray:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(count, self.weights.shape[1]))
        return (z @ self.weights.T + self.loc + self.scale * rng.normal(size=(count, len(self.loc)))).astype("f4")

    def evidence(self, x: np.ndarray) -> np.ndarray:
        """log p(x) [B] in nats, in float64."""
        w = self.weights.astype("f8")
        covariance = w @ w.T + self.scale**2 * np.eye(len(w))
        residual = x.astype("f8") - self.loc
        _, logdet = np.linalg.slogdet(2 * np.pi * covariance)
        return -0.5 * (np.sum(residual * np.linalg.solve(covariance, residual.T).T, -1) + logdet)

    def expected_evidence(self) -> float:
        """E[log p(x)] over x ~ p(x): minus the entropy of a normal."""
        w = self.weights.astype("f8")
        _, logdet = np.linalg.slogdet(2 * np.pi * np.e * (w @ w.T + self.scale**2 * np.eye(len(w))))
        return -0.5 * logdet

    def posterior(self, x: np.ndarray) -> tfd.Distribution:
        """The exact p(z | x), batch [B], event [D]."""
        w = self.weights.astype("f8")
        precision = np.eye(w.shape[1]) + w.T @ w / self.scale**2
        covariance = np.linalg.inv(precision)
        loc = (x - self.loc) @ w @ covariance / self.scale**2
        return tfd.MultivariateNormalTriL(tf.cast(loc, tf.float64), np.linalg.cholesky(covariance))

    def rough_posterior(self, x: np.ndarray) -> tfd.Distribution:
        """Independent dimensions about the exact means."""
        return tfd.MultivariateNormalDiag(self.posterior(x).mean(), np.full([len(x), self.weights.shape[1]], 0.3))

    def draw(self, x: np.ndarray, q: tfd.Distribution, samples: int, seed: int = 0) -> Draw:
        """Samples of q, a normal with `loc` [B, D] and a linear operator `scale`, with all that an objective may ask, in the dtype of q.

        The noise is numpy's, so that it is the same in every mode of execution. Two layers of latents: the first dimension, and the rest.
        """
        size = x.shape[0], self.weights.shape[1]
        eps, eps_prior = (np.random.default_rng([99, seed, i]).normal(size=shape) for i, shape in enumerate([(samples, *size), size]))
        z = q.loc + q.scale.matvec(tf.cast(eps, q.dtype))
        held = tfd.MultivariateNormalTriL(tf.stop_gradient(q.loc), tf.stop_gradient(q.scale.to_dense()))
        marginal = tfd.Normal(q.loc, q.stddev())

        def joint(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            prior = tfd.MultivariateNormalDiag(tf.zeros(size[1], q.dtype))
            loc = tf.linalg.matvec(tf.cast(self.weights, q.dtype), z) + tf.cast(self.loc, q.dtype)
            likelihood = tfd.MultivariateNormalDiag(loc, tf.fill([len(self.loc)], tf.cast(self.scale, q.dtype)))
            return prior.log_prob(z), likelihood.log_prob(tf.cast(x, q.dtype))

        def kl_terms() -> tuple[tf.Tensor, tf.Tensor]:
            standard = tfd.Normal(tf.zeros([], q.dtype), tf.ones([], q.dtype))
            # log q(z_d | z_1 .. z_(d-1)), since the scale is triangular
            log_q = standard.log_prob(q.scale.solvevec(z - q.loc)) - tf.math.log(q.scale.diag_part())
            terms = log_q - standard.log_prob(z)
            return terms[..., :1], terms[..., 1:]

        def slope() -> tf.Tensor:
            at = tf.stop_gradient(z)  # another tensor: of z itself, distributions remember an inverse that no tape has seen
            with tf.GradientTape() as tape:
                tape.watch(at)
                log_prior, log_likelihood = joint(at)
                log_weights = log_likelihood + log_prior - held.log_prob(at)
            return tape.gradient(log_weights, at)

        log_prior, log_likelihood = joint(z)
        return Draw(
            tf.constant(x),
            z,
            q.log_prob(z),
            log_prior,
            log_likelihood,
            log_q_path=lambda: held.log_prob(z),
            kl_terms=kl_terms,
            log_q_pairs=lambda: marginal.log_prob(z[0][:, None]),
            mean=q.mean,
            prior_sample=lambda: tf.cast(eps_prior, q.dtype),
            slope=slope,
        )
