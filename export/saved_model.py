"""The generator as a SavedModel that TensorFlow Serving reads: its weights, three signatures, nothing else.

serving_default   z [B, D]             -> mean [B, H, W, C]    the mean of p(x | z)
sample            z [B, D], seed [B]   -> x [B, H, W, C]       one draw x ~ p(x | z) per row, fixed by the row's inputs
png               z [B, D]             -> image_bytes [B]      the mean as PNG files

z is the noise, N(0, I), whatever the prior. Where images have labels, each signature takes a `label` per row besides: a class, int32 [B],
or a vector, float32 [B, K].
What is fixed is so up to rounding: a row's sums may be taken in another order in another batch.
The real server checks no shape against a signature, so the graph itself does, and it answers with finite values only.
"""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.errors import ConversionError
from export.manifest import Signature, Tensor
from vae_tf import Generator
from vae_tf.condition import Condition

__all__ = ["SIGNATURES", "inputs", "read_signatures", "save", "save_mean", "uniform"]

SIGNATURES = ("serving_default", "sample", "png")

Outputs = dict[str, tf.Tensor]


def save(generator: Generator, folder: Path) -> None:
    """Write the generator with its three signatures.

    Args:
        generator: of a trained model, frozen.
        folder: where to write.

    Raises:
        ConversionError: TensorFlow can not write it.
    """
    z, *label = inputs(generator)
    seed = tf.TensorSpec([None], tf.int32, name="seed")

    def mean(z: tf.Tensor, label: tf.Tensor | None = None) -> Outputs:
        return {"mean": _finite_mean(generator, *_checked(generator, z, label))}

    def sample(z: tf.Tensor, seed: tf.Tensor, label: tf.Tensor | None = None) -> Outputs:
        z, label = _checked(generator, z, label)
        seed = _with_shape(seed, [tf.shape(z)[0]], "`seed` must hold one int32 per row of `z`")
        with tf.control_dependencies([_finite_mean(generator, z, label)]):
            return {"x": generator.draw(z, uniform(seed, generator.image_shape), label)}

    def png(z: tf.Tensor, label: tf.Tensor | None = None) -> Outputs:
        levels = tf.round(255 * tf.clip_by_value(_finite_mean(generator, *_checked(generator, z, label)), 0, 1))
        return {"image_bytes": tf.io.encode_png(tf.cast(levels, tf.uint8))}

    functions = {
        "serving_default": _function(mean, z, *label),
        "sample": _function(sample, z, seed, *label),
        "png": _function(png, z, *label),
    }
    _save(folder, functions)


def save_mean(generator: Generator, folder: Path) -> None:
    """Write the bare mean function, without checks: what other formats are converted from.

    Args:
        generator: of a trained model, frozen.
        folder: where to write.
    """

    def mean(z: tf.Tensor, label: tf.Tensor | None = None) -> Outputs:
        return {"mean": generator(z, label).mean()}

    _save(folder, {"serving_default": _function(mean, *inputs(generator))})


def inputs(generator: Generator) -> list[tf.TensorSpec]:
    """Return what fixes an image: `z`, and `label` where images have one."""
    z = tf.TensorSpec([None, generator.noise_dim], tf.float32, name="z")
    return [z] if generator.condition is None else [z, generator.condition.label]


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
    """Return the three signatures as the SavedModel declares them, the noise first.

    Args:
        folder: of the SavedModel.
    """
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]

    def tensors(infos: dict) -> dict[str, Tensor]:
        names = sorted(infos, key=lambda name: (name != "z", name))
        return {name: Tensor.of(tf.as_dtype(infos[name].dtype).name, tf.TensorShape(infos[name].tensor_shape)) for name in names}

    found = graph.signature_def
    return {name: Signature(inputs=tensors(found[name].inputs), outputs=tensors(found[name].outputs)) for name in SIGNATURES}


def _save(folder: Path, functions: dict[str, tf.types.experimental.PolymorphicFunction]) -> None:
    # Exactly the variables that the functions use: a Keras layer would bring its own functions along, and all of its weights.
    used = {id(variable): variable for function in functions.values() for variable in function.get_concrete_function().variables}
    module = tf.Module(name="generator")
    module.weights = list(used.values())
    try:
        tf.saved_model.save(module, str(folder), signatures=functions)
    except tf.errors.OpError as error:  # TensorFlow's own way to say that the disk is full
        reason = error.message.rpartition("}} ")[2]  # after the name of the node
        raise ConversionError(f"saved_model: it can not be written: {' '.join(reason.split())}") from None
    (folder / "assets").rmdir()  # made by TensorFlow, always empty here


def _function(body: Callable[..., Outputs], *specs: tf.TensorSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(body, input_signature=specs, autograph=False)


def _checked(generator: Generator, z: tf.Tensor, label: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor | None]:
    size = generator.noise_dim
    z = _with_shape(z, [None, size], f"`z` must have the shape [batch, {size}], at least one row")
    return tf.debugging.assert_all_finite(z, "`z` must be finite"), _checked_label(generator.condition, z, label)


def _checked_label(condition: Condition | None, z: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor | None:
    if condition is None:
        return None
    shape = [tf.shape(z)[0], *condition.label.shape[1:]]
    if not condition.label.dtype.is_integer:
        label = _with_shape(label, shape, f"`label` must have the shape [batch, {condition.size}], one row per row of `z`")
        return tf.debugging.assert_all_finite(label, "`label` must be finite")
    label = _with_shape(label, shape, "`label` must hold one class per row of `z`")
    known = tf.reduce_all((label >= 0) & (label < condition.size))
    with tf.control_dependencies([tf.debugging.Assert(known, [f"`label` must be a class from 0 to {condition.size - 1}, got", label])]):
        return tf.identity(label)


def _finite_mean(generator: Generator, z: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
    names = " and ".join(f"`{spec.name}`" for spec in inputs(generator))
    rule = f"{names} must not be so far from 0 that the mean of p(x | z) is not finite"
    return tf.debugging.assert_all_finite(generator(z, label).mean(), rule)


def _with_shape(tensor: tf.Tensor, sizes: list[int | tf.Tensor | None], rule: str) -> tf.Tensor:
    """Return the tensor, once its shape has been checked when the graph runs, and that it holds something; None is any size."""
    # What is known of the shape is a promise that the server does not keep; a tensor of unknown shape is really checked.
    shape = tf.shape(tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=tf.TensorShape(None)))
    rank = len(sizes)
    found = tf.unstack(tf.concat([shape, tf.fill([rank], -1)], 0)[:rank], num=rank)
    same = [tf.size(shape) == rank, *(there == size for there, size in zip(found, sizes) if size is not None)]
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.reduce_all(same) & (tf.reduce_prod(shape) > 0), [f"{rule}, got the shape", shape])]
    ):
        return tf.identity(tensor)
