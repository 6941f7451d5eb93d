"""The generator as a SavedModel that TensorFlow Serving reads: its weights, three signatures, nothing else.

serving_default   z [B, D]             -> mean [B, H, W, C]    the mean of p(x | z)
sample            z [B, D], seed [B]   -> x [B, H, W, C]       one draw x ~ p(x | z) per row, fixed by the row's z and seed
png               z [B, D]             -> image_bytes [B]      the mean as PNG files

What is fixed is so up to rounding: a row's sums may be taken in another order in another batch.
The real server checks no shape against a signature, so the graph itself does, and it answers with finite values only.
"""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow.core.protobuf import saved_model_pb2

from export.errors import ConversionError
from export.manifest import Signature, Tensor
from vae_tf import Generator

__all__ = ["SIGNATURES", "read_signatures", "save", "save_mean", "uniform"]

SIGNATURES = ("serving_default", "sample", "png")

tfd = tfp.distributions

Outputs = dict[str, tf.Tensor]


def save(generator: Generator, folder: Path) -> None:
    """Write the generator with its three signatures.

    Args:
        generator: of a trained model.
        folder: where to write.

    Raises:
        ConversionError: TensorFlow can not write it.
    """
    z = tf.TensorSpec([None, generator.noise_dim], tf.float32, name="z")
    seed = tf.TensorSpec([None], tf.int32, name="seed")

    def mean(z: tf.Tensor) -> Outputs:
        return {"mean": _finite_mean(generator(_checked(z)))}

    def sample(z: tf.Tensor, seed: tf.Tensor) -> Outputs:
        z = _checked(z)
        seed = _with_shape(seed, rank=1, last=tf.shape(z)[0], rule="`seed` must hold one int32 per row of `z`")
        px = generator(z)
        with tf.control_dependencies([_finite_mean(px)]):
            return {"x": generator.likelihood.draw(px, uniform(seed, generator.image_shape))}

    def png(z: tf.Tensor) -> Outputs:
        levels = tf.round(255 * tf.clip_by_value(_finite_mean(generator(_checked(z))), 0, 1))
        return {"image_bytes": tf.io.encode_png(tf.cast(levels, tf.uint8))}

    _save(generator, folder, {"serving_default": _function(mean, z), "sample": _function(sample, z, seed), "png": _function(png, z)})


def save_mean(generator: Generator, folder: Path) -> None:
    """Write the bare mean function, without checks: what other formats are converted from.

    Args:
        generator: of a trained model.
        folder: where to write.
    """
    z = tf.TensorSpec([None, generator.noise_dim], tf.float32, name="z")
    _save(generator, folder, {"serving_default": _function(lambda z: {"mean": generator(z).mean()}, z)})


def uniform(seed: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Return uniform noise strictly inside (0, 1), each row fixed by its own seed, whatever the other rows are.

    Args:
        seed: int32 [B].
        image_shape: (H, W, C).

    Returns:
        [B, H, W, C] float32.
    """

    def row(seed: tf.Tensor) -> tf.Tensor:
        # The generator's values are k / 2^23, k = 0 .. 2^23 - 1: half a step up keeps them off 0.
        return tf.random.stateless_uniform(image_shape, tf.stack([seed, 0]), minval=2.0**-24)

    return tf.map_fn(row, seed, fn_output_signature=tf.TensorSpec(image_shape, tf.float32))


def read_signatures(folder: Path) -> dict[str, Signature]:
    """Return the three signatures as the SavedModel declares them.

    Args:
        folder: of the SavedModel.
    """
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]

    def tensors(infos: dict) -> dict[str, Tensor]:
        names = sorted(infos, key=lambda name: (name != "z", name))
        return {name: Tensor.of(tf.as_dtype(infos[name].dtype).name, tf.TensorShape(infos[name].tensor_shape)) for name in names}

    found = graph.signature_def
    return {name: Signature(inputs=tensors(found[name].inputs), outputs=tensors(found[name].outputs)) for name in SIGNATURES}


def _save(generator: Generator, folder: Path, signatures: dict[str, tf.types.experimental.PolymorphicFunction]) -> None:
    # Only the variables are attributes: a Keras layer would bring its own functions and metadata along.
    module = tf.Module(name="generator")
    module.weights = generator.variables
    try:
        tf.saved_model.save(module, str(folder), signatures=signatures)
    except tf.errors.OpError as error:  # TensorFlow's own way to say that the disk is full
        reason = error.message.rpartition("}} ")[2]  # after the name of the node
        raise ConversionError(f"saved_model: it can not be written: {' '.join(reason.split())}") from None
    (folder / "assets").rmdir()  # made by TensorFlow, always empty here


def _function(body: Callable[..., Outputs], *inputs: tf.TensorSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(body, input_signature=inputs, autograph=False)


def _checked(z: tf.Tensor) -> tf.Tensor:
    size = z.shape[-1]
    z = _with_shape(z, rank=2, last=size, rule=f"`z` must have the shape [batch, {size}], at least one row")
    return tf.debugging.assert_all_finite(z, "`z` must be finite")


def _finite_mean(px: tfd.Distribution) -> tf.Tensor:
    return tf.debugging.assert_all_finite(px.mean(), "`z` is too far from 0: the mean of p(x | z) must be finite")


def _with_shape(tensor: tf.Tensor, *, rank: int, last: int | tf.Tensor, rule: str) -> tf.Tensor:
    """Return the tensor, once its rank and last dimension have been checked when the graph runs, and that it holds something."""
    # What is known of the shape is a promise that the server does not keep; a tensor of unknown shape is really checked.
    shape = tf.shape(tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=tf.TensorShape(None)))
    expected = tf.reduce_all(tf.concat([[tf.size(shape)], shape[-1:]], 0) == [rank, last])
    with tf.control_dependencies([tf.debugging.Assert(expected & (tf.reduce_prod(shape) > 0), [f"{rule}, got the shape", shape])]):
        return tf.identity(tensor)
