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

    `fit`, `evaluate`, `predict` and callbacks are Keras's own; penalties that layers add to `losses` count in training. Metrics are per
    example, in nats: `loss`, minus the objective's bound, and
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
        seed: int = 0,
    ):
        super().__init__(name="vae")
        if posterior.latent_dim != prior.latent_dim:
            raise ConfigError(f"`prior` must have the posterior's {posterior.latent_dim} latent dimensions, got {prior.latent_dim}.")
        if not 0 <= seed < 2**31:
            raise ConfigError(f"`seed` must be from 0 to 2**31 - 1, got {seed}.")
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

    def draw(self, x: tf.Tensor, samples: int, seed: tf.Tensor, training: bool = False) -> Draw:
        """Sample z ~ q(z | x) and return it with its log densities.

        Args:
            x: [B, H, W, C] float32 in [0, 1].
            samples: S per image.
            seed: int32 [2], stateless.
            training: Keras's flag, for layers that behave differently in training.
        """
        features = self.encoder(x, training=training)
        z, log_q = self.posterior(features).experimental_sample_and_log_prob(samples, seed=seed)
        log_q_path = self.posterior.held(features).log_prob(z)
        return Draw(x, z, log_q, log_q_path, self.prior.log_prob(z), self.generator.decode(z, training).log_prob(x))

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
            ConfigError: `objective` is none, or a loss or metrics of Keras were given.
        """
        if objective is not None and not callable(objective):
            raise ConfigError(f"`objective` must be an objective such as `Elbo(weight=4.0)`, got {objective!r}.")
        for name in ("loss", "metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name) is not None:
                raise ConfigError(f"`{name}` is not for a VAE: the loss is minus the bound of `objective`, got {name}={kwargs[name]!r}.")
        self.objective = Elbo() if objective is None else objective
        super().compile(optimizer=optimizer, weighted_metrics=[], **kwargs)

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; images are checked against the likelihood's support first.

        Args:
            x: images [N, H, W, C] float32 in [0, 1], or a dataset of batches of them, alone or as (x, y) or (x, y, sample_weight).
            y: ignored, so that labelled data can be given as it is.
            *args: Keras's.
            validation_data: as `x`.
            **kwargs: Keras's.

        Raises:
            DataError: an array, or the first batch of a dataset, of a wrong shape or with values that the likelihood gives no probability.
            ConfigError: `sample_weight` came without `y`: Keras would drop it without a word.
        """
        if kwargs.get("sample_weight") is not None and y is None:
            raise ConfigError("`sample_weight` needs a `y` beside it, got none; Keras passes weights on only with targets, so pass y=x.")
        self._check(x)
        self._check(validation_data)
        if isinstance(validation_data, np.ndarray | tf.Tensor):
            validation_data = (validation_data,)
        return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Report the metrics on held-out data as `keras.Model.evaluate` does.

        Raises:
            DataError: as in `fit`.
        """
        if "_use_cached_eval_dataset" not in kwargs:  # `fit` calls this every epoch, on data that it has checked
            self._check(x)
        return super().evaluate(x, y, *args, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a saved model would hold code. `save_weights` keeps the weights, a run folder keeps all, `export` the generator.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("`save` would write code into a file; use `save_weights` (and `save_weights_only=True` in ModelCheckpoint).")

    def _check(self, images: Any) -> None:
        """Check arrays, and the first batch of a dataset, against the likelihood's support."""
        if isinstance(images, tf.data.Dataset):
            images = next(iter(images.take(1)), None)
        if isinstance(images, tuple | list) and len(images):
            images = images[0]
        if isinstance(images, np.ndarray | tf.Tensor):
            self.likelihood.check(np.asarray(images))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of each epoch and evaluation."""
        return list(self.trackers.values())

    def get_config(self) -> dict[str, Any]:
        """Return the seed. The pieces are not in it: a run folder rebuilds them from its configuration, never from code in a file."""
        return {"seed": self.seed}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step up the objective's bound and return the running metrics."""
        x, weight = _unpack(data)
        step = self.optimizer.iterations
        with tf.GradientTape() as tape:
            draw = self.draw(x, self.objective.samples, self._seed(stream=0, index=step), training=True)
            loss_per_example = -self.objective(draw, step)
            weighted = loss_per_example if weight is None else weight * loss_per_example
            loss = tf.reduce_mean(weighted) + sum(self.losses)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self._record(draw, loss_per_example, weight)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Return the running metrics on held-out data; the noise is another than in training, and the same in every evaluation."""
        x, weight = _unpack(data)
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


def _unpack(data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Return images [B, H, W, C] and weights [B] or None; what stands between them, such as labels, is ignored."""
    x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
    return x, None if weight is None else tf.reshape(tf.cast(weight, tf.float32), [tf.shape(x)[0]])
