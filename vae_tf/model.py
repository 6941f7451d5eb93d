"""The model. Read this file first: the generative story, the bound, and one training step."""

from typing import Any, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf.errors import ConfigError
from vae_tf.generator import Generator, noise
from vae_tf.likelihood import Likelihood
from vae_tf.objective import Draw, Elbo, Objective
from vae_tf.posterior import Posterior
from vae_tf.prior import Prior

__all__ = ["VAE"]

tfd = tfp.distributions


@final
class VAE(keras.Model):
    """A variational autoencoder, composed.

    1. z ~ p(z)             `prior`        generation starts here
    2. x ~ p(x | z)         `likelihood`   a distribution over images, on features of `decoder`
    3. q(z | x)             `posterior`    approximates p(z | x), on features of `encoder`; training samples from here
    4. log p(x) >= bound    `objective`    given to `compile`

    `fit`, `evaluate`, `predict` and callbacks are Keras's own. Metrics are per example, in nats: `loss`, minus the objective's bound, and
    `elbo` with its two parts, `reconstruction` = E_q[log p(x | z)] and `kl` = E_q[log q(z | x) - log p(z)], unweighted, by the objective's
    own posterior samples.

    Args:
        encoder: images [B, H, W, C] -> features.
        decoder: latents [N, D] -> features.
        posterior: features -> q(z | x).
        likelihood: features -> p(x | z).
        prior: p(z).
        seed: at least 0; with it, and the number of the optimizer step, all noise of training and evaluation is fixed.

    Raises:
        ConfigError: posterior and prior differ in D.

    Source: Kingma and Welling (2014); Rezende, Mohamed and Wierstra (2014).
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        posterior: Posterior,
        likelihood: Likelihood,
        prior: Prior,
        seed: int = 0,
    ):
        super().__init__(name="vae")
        if posterior.latent_dim != prior.latent_dim:
            raise ConfigError(f"`prior` must have the posterior's {posterior.latent_dim} latent dimensions, got {prior.latent_dim}.")
        self.encoder, self.posterior = encoder, posterior
        self.generator = Generator(prior, decoder, likelihood)
        self.prior, self.decoder, self.likelihood = prior, decoder, likelihood
        self.seed = seed
        self.trackers = {name: keras.metrics.Mean(name) for name in ("loss", "elbo", "kl", "reconstruction")}
        self(tf.zeros([1, *likelihood.image_shape]))  # creates the weights

    def encode(self, x: tf.Tensor) -> tfd.Distribution:
        """Return q(z | x), batch [B], event [D], for images x [B, H, W, C]."""
        return self.posterior(self.encoder(x))

    def decode(self, z: tf.Tensor) -> tfd.Distribution:
        """Return p(x | z), batch [...], event [H, W, C], for latents z [..., D]."""
        return self.generator.decode(tf.convert_to_tensor(z))

    def draw(self, x: tf.Tensor, samples: int, seed: tf.Tensor) -> Draw:
        """Sample z ~ q(z | x) and return it with its log densities.

        Args:
            x: [B, H, W, C] float32 in [0, 1].
            samples: S per image.
            seed: int32 [2], stateless.
        """
        features = self.encoder(x)
        z, log_q = self.posterior(features).experimental_sample_and_log_prob(samples, seed=seed)
        log_q_path = self.posterior.held(features).log_prob(z)
        return Draw(x, z, log_q, log_q_path, self.prior.log_prob(z), self.decode(z).log_prob(x))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the reconstruction, the mean of p(x | z) at the mean of q(z | x), [B, H, W, C]."""
        return self.decode(self.encode(x).mean()).mean()

    def generate(self, count: int, seed: int = 0) -> np.ndarray:
        """Return `count` images from the prior, the means of p(x | z), [count, H, W, C] float32.

        Args:
            count: at least 1.
            seed: at least 0; equal seeds give equal images, here and from an exported generator.
        """
        eps = noise(count, self.generator.noise_dim, seed)
        return self.generator(tf.constant(eps)).mean().numpy()

    def compile(self, optimizer: Any = "adam", objective: Objective | None = None, **kwargs: Any) -> None:
        """Configure training.

        Args:
            optimizer: a Keras optimizer or its name.
            objective: the bound to maximise; `Elbo()` when None.
            **kwargs: Keras's `jit_compile`, `run_eagerly`, `steps_per_execution`.

        Raises:
            ConfigError: a `loss` was given.
        """
        if kwargs.get("loss") is not None:
            raise ConfigError("`loss` is minus the bound of `objective`, got a loss; pass `objective=`, such as `Elbo(weight=4.0)`.")
        self.objective = Elbo() if objective is None else objective
        super().compile(optimizer=optimizer, weighted_metrics=[], **kwargs)

    def fit(self, x: Any = None, y: Any = None, *, validation_data: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; arrays are checked against the likelihood's support first.

        Args:
            x: images [N, H, W, C] float32 in [0, 1], or a dataset of batches of them, alone or as (x, y) or (x, y, sample_weight).
            y: ignored, so that labelled data can be given as it is.
            validation_data: as `x`.
            **kwargs: Keras's.

        Raises:
            DataError: an array of a wrong shape or with values that the likelihood gives no probability.
            ConfigError: `sample_weight` came without `y`: Keras would drop it without a word.
        """
        if kwargs.get("sample_weight") is not None and y is None:
            raise ConfigError("`sample_weight` needs a `y` beside it, got none; Keras passes weights on only with targets, so pass y=x.")
        for images in (x, validation_data):
            if isinstance(images, np.ndarray):
                self.likelihood.check(images)
        if isinstance(validation_data, np.ndarray):
            validation_data = (validation_data,)
        return super().fit(x, y, validation_data=validation_data, **kwargs)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of each epoch and evaluation."""
        return list(self.trackers.values())

    def get_config(self) -> dict[str, Any]:
        """Return the seed. The pieces are not in it: a run folder rebuilds them from its configuration, never from code in a file."""
        return {"seed": self.seed}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step up the objective's bound and return the running metrics."""
        x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
        step = self.optimizer.iterations
        with tf.GradientTape() as tape:
            draw = self.draw(x, self.objective.samples, self._seed(stream=0, index=step))
            loss_per_example = -self.objective(draw, step)
            loss = tf.reduce_mean(loss_per_example if weight is None else weight * loss_per_example)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self._record(draw, loss_per_example, weight)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Return the running metrics on held-out data; the noise is another than in training, and the same in every evaluation."""
        x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
        # The examples seen so far number the batches of this evaluation.
        draw = self.draw(x, self.objective.samples, self._seed(stream=1, index=self.trackers["loss"].count))
        return self._record(draw, -self.objective(draw, self.optimizer.iterations), weight)

    def _seed(self, stream: int, index: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(tf.constant([self.seed, stream]), tf.cast(index, tf.int32))

    def _record(self, draw: Draw, loss_per_example: tf.Tensor, weight: tf.Tensor | None) -> dict[str, tf.Tensor]:
        reconstruction = tf.reduce_mean(draw.log_likelihood, 0)
        kl = tf.reduce_mean(draw.log_q - draw.log_prior, 0)
        values = {"loss": loss_per_example, "elbo": reconstruction - kl, "kl": kl, "reconstruction": reconstruction}
        for name, tracker in self.trackers.items():
            tracker.update_state(values[name], sample_weight=weight)
        return {name: tracker.result() for name, tracker in self.trackers.items()}
