"""The model. Read this file first: the generative story, the bound, and one training step."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras as keras

from vae_tf import answers, execution, inputs
from vae_tf.condition import Condition
from vae_tf.errors import ConfigError
from vae_tf.execution import Execution
from vae_tf.fault import Fault
from vae_tf.generator import Generator, noise
from vae_tf.inputs import Batch
from vae_tf.likelihood import Likelihood
from vae_tf.noise import normal_rows
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
        super().__init__(name="vae")
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
        self.trackers = {name: keras.metrics.Mean(name) for name in ("loss", "elbo", "kl", "reconstruction")}
        self.fault = Fault()
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
        """Return eps [S, B, noise_dim] of the posterior, for the rows of a batch."""
        eps = normal_rows(seed, rows, samples * self.posterior.noise_dim)
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

    def compile(
        self,
        optimizer: Any = "adam",
        objective: Objective | None = None,
        *,
        jit_compile: bool | None = None,
        steps_per_execution: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training.

        Args:
            optimizer: a Keras optimizer or its name.
            objective: the bound to maximise; `Elbo()` when None.
            jit_compile: whether XLA compiles the training step; None for what is fast here, see `execution.choose`.
            steps_per_execution: optimizer steps in one call from Python, after which callbacks have their turn; None likewise.
            **kwargs: Keras's, such as `run_eagerly`.

        Raises:
            ConfigError: `objective` is none, or asks for what the posterior or the prior can not tell; or a loss or metrics of Keras were
                given.
        """
        if objective is not None and not callable(objective):
            raise ConfigError(f"`objective` must be an objective such as `Elbo(weight=4.0)`, got {objective!r}.")
        for name in ("loss", "metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name) is not None:
                raise ConfigError(f"`{name}` is not for a VAE: the loss is minus the bound of `objective`, got {name}={kwargs[name]!r}.")
        self.objective = Elbo() if objective is None else objective
        for piece in (self.posterior, self.prior):
            for need in sorted(self.objective.needs & piece.lacks.keys()):
                raise ConfigError(f"`objective` asks for {answers.NEEDS[need]}, and {type(piece).__name__} has none: {piece.lacks[need]}.")
        self.jit_wanted, self.steps_wanted = jit_compile, steps_per_execution
        self.execution, self._loops = Execution(bool(jit_compile), 1), False
        self._compiled: Any = None
        # Keras would compile all of a step, noise included: only `_ascend` is.
        super().compile(optimizer=optimizer, weighted_metrics=[], steps_per_execution=steps_per_execution, **kwargs)

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; images are checked against the likelihood's support first.

        Args:
            x: images [N, H, W, C] float32 in [0, 1], or a dataset of batches of them, alone or as (x, y) or (x, y, sample_weight). In place
                of images, a pair (seen, x) trains a denoising model: the encoder gets `seen`, and x is what is to be explained.
            y: labels, for a model with a condition; ignored by others, so that labelled data can be given as it is.
            *args: Keras's.
            validation_data: as `x`.
            **kwargs: Keras's.

        Raises:
            DataError: an array, or the first batch of a dataset, of a wrong shape or with values that the likelihood gives no probability.
            ConfigError: `sample_weight` came without `y`: Keras would drop it without a word.
        """
        if kwargs.get("sample_weight") is not None and y is None:
            raise ConfigError("`sample_weight` needs a `y` beside it, got none; Keras passes weights on only with targets, so pass y=x.")
        inputs.check(x, self.likelihood, self.condition, beside=y)
        inputs.check(validation_data, self.likelihood, self.condition)
        if isinstance(validation_data, np.ndarray | tf.Tensor):
            validation_data = (validation_data,)
        work = execution.work_of(x, y, *args, validation_data=validation_data, **kwargs)
        with self._executed(execution.choose(self, work)):
            return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Report the metrics on held-out data as `keras.Model.evaluate` does.

        Raises:
            DataError: as in `fit`.
        """
        if "_use_cached_eval_dataset" not in kwargs:  # `fit` calls this every epoch, on data that it has checked
            inputs.check(x, self.likelihood, self.condition, beside=y)
        return super().evaluate(x, y, *args, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a saved model would hold code. `save_weights` keeps the weights, a run folder keeps all, `export` the generator.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("`save` would write code into a file; use `save_weights` (and `save_weights_only=True` in ModelCheckpoint).")

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

    @contextmanager
    def _executed(self, chosen: Execution) -> Iterator[None]:
        """Let a `fit` take its steps as chosen. Functions that Keras made for one step a call can not take several; the reverse is fine."""
        several = chosen.steps_per_execution > 1
        if chosen.jit_compile != self.execution.jit_compile or (several and not self._loops):
            self.train_function = self.test_function = None
        self.execution, self._loops = chosen, self._loops or several
        self.steps_per_execution = chosen.steps_per_execution
        try:
            yield
        finally:
            self.steps_per_execution = self.steps_wanted or 1

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of each epoch and evaluation."""
        return list(self.trackers.values())

    def get_config(self) -> dict[str, Any]:
        """Return the seed. The pieces are not in it: a run folder rebuilds them from its configuration, never from code in a file."""
        return {"seed": self.seed}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step up the objective's bound and return the running metrics."""
        batch = inputs.unpack(data, self.condition)
        seed = self._seed(stream=0, index=self.optimizer.iterations)
        # Random numbers are slow under XLA: noise is drawn before.
        eps = self._noise(self.objective.samples, tf.shape(batch.x)[0], seed)
        jit_compile = self.execution.jit_compile
        if jit_compile and self._compiled is None:
            self._compiled = tf.function(self._ascend, jit_compile=True, reduce_retracing=True)
        return (self._compiled if jit_compile else self._ascend)(batch, eps, seed)

    def _ascend(self, batch: Batch, eps: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        step = self.optimizer.iterations
        with tf.GradientTape() as tape:
            draw = self._draw(batch, eps, seed, training=True)
            loss_per_example = -self.objective(draw, step)
            weighted = loss_per_example if batch.weight is None else batch.weight * loss_per_example
            loss = tf.reduce_mean(weighted) + sum(self.losses)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        self.fault.look(step, (loss_per_example, draw.log_likelihood, draw.log_q, draw.log_prior))
        return self._record(draw, loss_per_example, batch.weight)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Return the running metrics on held-out data; the noise is another than in training, and the same in every evaluation."""
        x, given, label, weight = inputs.unpack(data, self.condition)
        # The examples seen so far number the batches of this evaluation.
        draw = self.draw(x, self.objective.samples, self._seed(stream=1, index=self.trackers["loss"].count), label=label, given=given)
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
