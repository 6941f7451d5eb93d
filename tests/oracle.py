"""The oracle: a linear-Gaussian model whose evidence is known.

z ~ N(0, I), x | z ~ N(W z + b, s^2 I) on C "pixels"; then x ~ N(b, W W^T + s^2 I), and p(z | x) is normal with precision
I + W^T W / s^2. With the exact posterior, p(x, z) / q(z | x) = p(x) for every z, so every bound equals the evidence for each single draw.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.objective import Draw

tfd = tfp.distributions


@dataclass(frozen=True)
class LinearGaussian:
    weights: np.ndarray  # [C, D]
    loc: np.ndarray  # [C]
    scale: float

    @classmethod
    def random(cls, values: int, latent_dim: int, seed: int = 0) -> "LinearGaussian":
        rng = np.random.default_rng(seed)
        return cls(rng.normal(size=(values, latent_dim)).astype("f4"), rng.normal(size=values).astype("f4"), 0.5)

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

    def posterior(self, x: np.ndarray) -> tfd.Distribution:
        """The exact p(z | x), batch [B], event [D]."""
        w = self.weights.astype("f8")
        precision = np.eye(w.shape[1]) + w.T @ w / self.scale**2
        covariance = np.linalg.inv(precision)
        loc = (x - self.loc) @ w @ covariance / self.scale**2
        return tfd.MultivariateNormalTriL(tf.cast(loc, tf.float64), np.linalg.cholesky(covariance))

    def draw(self, x: np.ndarray, q: tfd.Distribution, samples: int, seed: int = 0) -> Draw:
        """Samples of q with their log densities under q, prior and likelihood, in float64."""
        z = q.sample(samples, seed=(seed, 0))
        prior = tfd.MultivariateNormalDiag(tf.zeros(self.weights.shape[1], tf.float64))
        likelihood = tfd.MultivariateNormalDiag(
            tf.linalg.matvec(self.weights.astype("f8"), z) + self.loc, np.full(len(self.loc), self.scale, "f8")
        )
        return Draw(tf.constant(x), z, q.log_prob(z), q.log_prob(z), prior.log_prob(z), likelihood.log_prob(x.astype("f8")))
