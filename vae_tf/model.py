"""The model. Read this file first: the generative story, the bound, and one training step."""

from math import prod
from typing import Any, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf import answers, inputs
from vae_tf.condition import Condition
from vae_tf.errors import ConfigError
from vae_tf.fitting import Fitted
from vae_tf.generator import Generator, noise
from vae_tf.inputs import Batch
from vae_tf.likelihood import Likelihood
from vae_tf.noise import normal_rows
from vae_tf.objective import Draw
from vae_tf.posterior import Posterior
from vae_tf.prior import Prior

__all__ = ["VAE"]

tfd = tfp.distributions


@final
class VAE(Fitted):
    """A variational autoencoder, composed.

    1. z ~ p(z)             `prior`        generation starts here
    2. x ~ p(x | z)         `likelihood`   a distribution over images, on features of `decoder`
    3. q(z | x)             `posterior`    approximates p(z | x), on features of `encoder`; training samples from here
    4. log p(x) >= bound    `objective`    given to `compile`

    With a `condition` all of this is given a label y: p(x | z, y), q(z | x, y), and p(z | y) where the prior uses it.

    `fit`, `evaluate`, `predict` and callbacks are Keras's own; penalties that layers add to `losses` count in training. Metrics are per
    example, in nats: `loss`, minus the objective's bound, and
    `elbo` with its two parts, `reconstruction` = E_q[log p(x | z)] and `kl` = E_q[log q(z | x) - log p(z)], unweighted, by the objective's
    own posterior samples.

    Args:
        encoder: images [B, H, W, C] -> features.
        decoder: latents [N, D], with the condition beside them if there is one, -> features.
        posterior: features -> q(z | x).
        likelihood: features -> p(x | z).
        prior: p(z).
        condition: what a label is; None for a model of images alone.
        seed: at least 0; with it, and the number of the optimizer step, all noise of training and evaluation is fixed.

    Raises:
        ConfigError: posterior and prior differ in D, or `seed` is negative.

    Source: Kingma and Welling (2014); Rezende, Mohamed and Wierstra (2014).
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        posterior: Posterior,
        likelihood: Likelihood,
        prior: Prior,
        condition: Condition | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if posterior.latent_dim != prior.latent_dim:
            raise ConfigError(f"`prior` must have the posterior's {posterior.latent_dim} latent dimensions, got {prior.latent_dim}.")
        if not 0 <= seed < 2**31:
            raise ConfigError(f"`seed` must be from 0 to 2**31 - 1, got {seed}.")
        self.encoder, self.posterior = encoder, posterior
        self.generator = Generator(prior, decoder, likelihood, condition)
        self.prior, self.decoder, self.likelihood, self.condition = prior, decoder, likelihood, condition
        if condition is not None:
            self.label_map = keras.layers.Dense(prod(likelihood.image_shape[:2]), use_bias=False, dtype="float32", name="label_map")
        self.seed = seed
        self._create_weights()

    def encode(self, x: tf.Tensor, label: tf.Tensor | None = None) -> tfd.Distribution:
        """Return q(z | x), batch [B], event [D].

        Args:
            x: images [B, H, W, C].
            label: of each image, [B] or [B, K], if the model has a condition.
        """
        return self.posterior(self._features(x, label))

    def decode(self, z: tf.Tensor, label: tf.Tensor | None = None) -> tfd.Distribution:
        """Return p(x | z), batch [...], event [H, W, C], for latents z [..., D] and labels, if the model has a condition."""
        return self.generator.decode(tf.convert_to_tensor(z), label)

    def draw(
        self,
        x: tf.Tensor,
        samples: int,
        seed: tf.Tensor,
        training: bool = False,
        label: tf.Tensor | None = None,
        given: tf.Tensor | None = None,
    ) -> Draw:
        """Sample z ~ q(z | x) and return it with its log densities.

        Args:
            x: [B, H, W, C] float32 in [0, 1].
            samples: S per image.
            seed: int32 [2], stateless.
            training: Keras's flag, for layers that behave differently in training.
            label: [B] or [B, K], if the model has a condition.
            given: what the encoder sees in place of x, such as a corrupted copy, [B, H, W, C].
        """
        return self._draw(Batch(x, given, label, None), self._noise(samples, tf.shape(x)[0], seed), seed, training)

    def _noise(self, samples: int, rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return eps [S, B, noise_dim] of the posterior, for the rows of a batch, or of this replica's share of it."""
        replica = tf.distribute.get_replica_context()
        first = rows * replica.replica_id_in_sync_group if replica and self._replicas > 1 else 0
        eps = normal_rows(seed, rows, samples * self.posterior.noise_dim, first)
        return tf.transpose(tf.reshape(eps, [rows, samples, self.posterior.noise_dim]), [1, 0, 2])

    def _draw(self, batch: Batch, eps: tf.Tensor, seed: tf.Tensor, training: bool) -> Draw:
        x, given, label, _ = batch
        q = self.posterior(self._features(x if given is None else given, label, training))
        z, log_q = self.posterior.draw(q, eps)
        condition = self.generator.beside(z, label)
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch(z)
            log_prior = self.prior.log_prob(z, condition)
            log_likelihood = self.generator.decode(z, label, training).log_prob(x)

        def prior_sample() -> tf.Tensor:
            rows = None if condition is None else condition[0]
            eps = tf.random.stateless_normal([tf.shape(x)[0], self.generator.noise_dim], tf.random.experimental.stateless_fold_in(seed, 1))
            return self.generator.from_noise(eps, rows)

        return Draw(
            x,
            z,
            log_q,
            log_prior,
            log_likelihood,
            log_q_path=lambda: answers.path(q, z, log_q),
            kl_terms=lambda: answers.kl_terms(self.posterior.terms(q, z), self.prior.terms(z, condition)),
            log_q_pairs=lambda: self.posterior.terms(q, z[0][:, None])[0],
            mean=q.mean,
            prior_sample=prior_sample,
            slope=lambda: tape.gradient([log_prior, log_likelihood], z) - answers.slope(q, z),
        )

    def call(self, images: Any) -> tf.Tensor:
        """Return the reconstruction, the mean of p(x | z) at the mean of q(z | x), [B, H, W, C], for images x, or (x, label)."""
        x, label = images if isinstance(images, tuple | list) else (images, None)
        return self.decode(self.encode(x, label).mean(), label).mean()

    def generate(self, count: int, seed: int = 0, label: Any = None) -> np.ndarray:
        """Return `count` images from the prior, the means of p(x | z), [count, H, W, C] float32.

        Args:
            count: at least 1.
            seed: at least 0; equal seeds give equal images, here and from an exported generator.
            label: one for all images or one for each, if the model has a condition.

        Raises:
            DataError: `label` is none of the condition's.
        """
        eps = noise(count, self.generator.noise_dim, seed)
        return self.generator(tf.constant(eps), inputs.labels(label, count, self.condition)).mean().numpy()

    def _create_weights(self) -> None:
        """Ask every piece for all that training and generation ask, once."""
        x = tf.zeros([1, *self.likelihood.image_shape])
        label = None if self.condition is None else tf.zeros([1, *self.condition.label.shape[1:]], self.condition.label.dtype)
        self(x if label is None else (x, label))
        self.draw(x, 1, tf.constant([0, 0]), label=label)

    def _features(self, x: tf.Tensor, label: tf.Tensor | None, training: bool = False) -> tf.Tensor:
        """Return the encoder's features, [B, F]; it sees a label as one more channel of the image, a linear map of the condition."""
        condition = self.generator.beside(tf.zeros([tf.shape(x)[0], 1]), label)
        if condition is not None:
            height, width, _ = self.likelihood.image_shape
            x = tf.concat([tf.cast(x, tf.float32), tf.reshape(self.label_map(condition), [-1, height, width, 1])], -1)
        return self.encoder(x, training=training)

    def get_config(self) -> dict[str, Any]:
        """Return the seed. The pieces are not in it: a run folder rebuilds them from its configuration, never from code in a file."""
        return {"seed": self.seed}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step up the objective's bound and return the running metrics."""
        batch = inputs.unpack(data, self.condition)
        seed = self._seed(stream=0, index=self.optimizer.iterations)
        # Random numbers are slow under XLA: noise is drawn before.
        eps = self._noise(self.objective.samples, tf.shape(batch.x)[0], seed)
        if self._replicas == 1:
            return self._fast(self._ascend)(batch, eps, seed)
        return self._ascend(batch, eps, seed)  # XLA can not talk to other replicas

    def _ascend(self, batch: Batch, eps: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        gradients, values = (self._gradients if self._replicas == 1 else self._fast(self._gradients))(batch, eps, seed)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.fault.look(self.optimizer.iterations, values.values())
        return self._record(values, batch.weight)

    def _gradients(self, batch: Batch, eps: tf.Tensor, seed: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Return the gradients of the loss, and the metrics of each example."""
        with tf.GradientTape() as tape:
            draw = self._draw(batch, eps, seed, training=True)
            loss_per_example = -self.objective(draw, self.optimizer.iterations)
            weighted = loss_per_example if batch.weight is None else batch.weight * loss_per_example
            loss = (tf.reduce_mean(weighted) + sum(self.losses)) / self._replicas  # over which gradients are summed
        return tape.gradient(loss, self.trainable_variables), _values(draw, loss_per_example)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Return the running metrics on held-out data; the noise is another than in training, and the same in every evaluation."""
        batch = inputs.unpack(data, self.condition)
        # The examples seen so far number the batches of this evaluation.
        seed = self._seed(stream=1, index=self._replicas * self.trackers["loss"].count)
        draw = self._draw(batch, self._noise(self.objective.samples, tf.shape(batch.x)[0], seed), seed, training=False)
        return self._record(_values(draw, -self.objective(draw, self.optimizer.iterations)), batch.weight)

    def _seed(self, stream: int, index: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(tf.constant([self.seed, stream]), tf.cast(index, tf.int32))


def _values(draw: Draw, loss_per_example: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the metrics of each example, [B]."""
    reconstruction = tf.reduce_mean(draw.log_likelihood, 0)
    kl = tf.reduce_mean(draw.log_q - draw.log_prior, 0)
    return {"loss": loss_per_example, "elbo": reconstruction - kl, "kl": kl, "reconstruction": reconstruction}
