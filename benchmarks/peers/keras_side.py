"""The models as Keras users write them: after the official example of a variational autoencoder, with its sampling layer and `train_step`.

`tf_keras` is Keras 2, `keras` is Keras 3 on TensorFlow; each with its own default for XLA, and with the other one.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import tensorflow as tf
from peers.harness import Clock, task

VARIANTS = ("tf_keras", "tf_keras-xla", "tf_keras-bfloat16", "keras", "keras-graph", "keras-bfloat16")
_NORMAL = -1.3836465597893728  # log(0.1 sqrt(2 pi)), minus the log density of a normal with scale 0.1 at its mean

if any("tf_keras" in word for word in sys.argv):
    import tf_keras as keras
else:
    import keras

layers = keras.layers


def main() -> None:
    """Train and print."""
    given = task(VARIANTS)
    x = given.load().astype("float32") / 255
    bfloat16 = given.variant.endswith("bfloat16")
    keras.utils.set_random_seed(given.seed)
    if bfloat16:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")

    clock = Clock()
    vae = VAE(*NETWORKS[given.model](), given.binary)
    options = {"tf_keras-xla": {"jit_compile": True}, "keras-graph": {"jit_compile": False}}.get(given.variant, {})
    vae.compile(optimizer=keras.optimizers.Adam(1e-3), **options)
    history = vae.fit(x, epochs=given.epochs, batch_size=given.work.batch, verbose=0, callbacks=[Times(clock)])
    clock.report(
        losses=history.history["loss"],
        parameters=sum(int(np.prod(weight.shape)) for weight in vae.trainable_weights),
        precision="bfloat16" if bfloat16 else "float32",
        version=f"{keras.__name__} {keras.version() if hasattr(keras, 'version') else keras.__version__}, TensorFlow {tf.__version__}",
    )


class Times(keras.callbacks.Callback):
    """Tells the clock."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Note the first step."""
        self.clock.reached(batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch."""
        self.clock.epoch()


class Sampling(layers.Layer):
    """Uses loc and scale to sample z, the vector encoding an image."""

    def call(self, inputs):
        """Return loc + scale eps."""
        loc, scale = inputs
        return loc + scale * tf.random.normal(tf.shape(loc))


class VAE(keras.Model):
    """The example's model; the parameters of log q are held, as `vae_tf` does, and images are binarized in each step."""

    def __init__(self, encoder, decoder, binary, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.binary = encoder, decoder, binary
        self.total_loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        """What Keras resets."""
        return [self.total_loss_tracker]

    def train_step(self, data):
        """Take one step."""
        if self.binary:
            data = tf.cast(tf.random.uniform(tf.shape(data)) < data, tf.float32)
        with tf.GradientTape() as tape:
            loc, scale, z = self.encoder(data, training=True)
            decoded = self.decoder(z, training=True)
            if self.binary:
                reconstruction = tf.nn.sigmoid_cross_entropy_with_logits(labels=data, logits=decoded)
            else:
                reconstruction = 50 * tf.square(decoded - data) + _NORMAL
            reconstruction_loss = tf.reduce_mean(tf.reduce_sum(reconstruction, axis=(1, 2, 3)))
            loc, scale = tf.stop_gradient(loc), tf.stop_gradient(scale)
            kl = 0.5 * (tf.square(z) - tf.square((z - loc) / scale)) - tf.math.log(scale)
            total_loss = reconstruction_loss + tf.reduce_mean(tf.reduce_sum(kl, axis=1))
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights))
        self.total_loss_tracker.update_state(total_loss)
        return {"loss": self.total_loss_tracker.result()}


def _encoder(inputs, h, latent_dim):
    loc, raw = (layers.Dense(latent_dim, dtype="float32", name=name)(h) for name in ("loc", "raw_scale"))
    scale = layers.Lambda(lambda raw: tf.nn.softplus(raw) + 1e-5, dtype="float32")(raw)
    return keras.Model(inputs, [loc, scale, Sampling(dtype="float32")([loc, scale])], name="encoder")


def _mlp():
    images, latents = keras.Input((28, 28, 1)), keras.Input((50,))
    h = layers.Flatten()(images)
    for width in (200, 200):
        h = layers.Dense(width, activation="tanh")(h)
    encoder, h = _encoder(images, h, 50), latents
    for width in (200, 200):
        h = layers.Dense(width, activation="tanh")(h)
    logits = layers.Reshape((28, 28, 1), dtype="float32")(layers.Dense(784, dtype="float32")(h))
    return encoder, keras.Model(latents, logits, name="decoder")


def _conv():
    images, latents = keras.Input((28, 28, 1)), keras.Input((40,))
    h = images
    for filters in (32, 64):
        h = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(h)
    encoder = _encoder(images, layers.Dense(256, activation="relu")(layers.Flatten()(h)), 40)
    h = layers.Dense(3136, activation="relu")(layers.Dense(256, activation="relu")(latents))
    h = layers.Reshape((7, 7, 64))(h)
    for filters in (64, 32):
        h = layers.Conv2D(filters, 3, padding="same", activation="relu")(layers.UpSampling2D()(h))
    return encoder, keras.Model(latents, layers.Conv2D(1, 1, dtype="float32")(h), name="decoder")


def _residual():
    images, latents = keras.Input((32, 32, 3)), keras.Input((64,))
    h = images
    for filters in (32, 64, 64):
        h = _block(layers.Conv2D(filters, 3, strides=2, padding="same")(h))
    h = layers.Flatten()(_normalized(h))
    encoder = _encoder(images, layers.Dense(256, activation="swish")(h), 64)
    h = layers.Dense(1024)(layers.Dense(256, activation="swish")(latents))
    h = layers.Reshape((4, 4, 64))(h)
    for filters in (64, 64, 32):
        h = layers.Conv2D(filters, 3, padding="same")(layers.UpSampling2D()(_block(h)))
    return encoder, keras.Model(latents, layers.Conv2D(3, 1, dtype="float32")(_normalized(h)), name="decoder")


def _normalized(h):
    return layers.Activation("swish")(layers.GroupNormalization(8, epsilon=1e-5)(h))


def _block(h):
    filters, small = h.shape[-1], keras.initializers.VarianceScaling(0.01)
    branch = layers.Conv2D(filters, 3, padding="same")(_normalized(h))
    return layers.Add()([h, layers.Conv2D(filters, 3, padding="same", kernel_initializer=small)(_normalized(branch))])


NETWORKS = {"mlp": _mlp, "conv": _conv, "residual": _residual}

if __name__ == "__main__":
    main()
