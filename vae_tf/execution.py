"""How the steps of a training are run on this machine: what makes them fast changes their numbers by rounding alone."""

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import tensorflow as tf
import tf_keras as keras

__all__ = ["Execution", "Work", "choose", "work_of"]

_WORTH_COMPILING = 1000  # steps
_CALL_FLOPS = 1e10  # in one call from Python: a fraction of a second
_MOST_STEPS = 50
_SIGNATURE = inspect.signature(keras.Model.fit)


class Work(NamedTuple):
    """What there is to do, with what was done before a resumption: a training that goes on must not choose otherwise."""

    steps: int  # of the optimizer, from the first epoch to the last
    batch_size: int  # images of each


@final
@dataclass(frozen=True)
class Execution:
    """The choices of one training.

    Args:
        jit_compile: whether XLA compiles the step.
        steps_per_execution: optimizer steps in one call from Python.
    """

    jit_compile: bool
    steps_per_execution: int

    def __str__(self) -> str:
        """Return it as a person reads it."""
        return f"{'XLA' if self.jit_compile else 'no XLA'}, {self.steps_per_execution} steps a call"


def choose(vae: Any, work: Work | None) -> Execution:
    """Return what is fast for a model here, where the user has not chosen.

    XLA makes dense networks faster and, on a CPU, convolutions slower; to compile a step takes as long as some thousand small ones. Calls
    from Python cost little beside a large step.

    Args:
        vae: a compiled `VAE`.
        work: what there is to do; None where nobody knows.
    """
    jit_compile, steps = False, 1
    if work is not None and not vae.run_eagerly:
        flops = 6.0 * work.batch_size * vae.objective.samples * sum(_uses(weight, vae) for weight in vae.trainable_weights)
        convolves = any(weight.shape.rank == 4 for part in (vae.encoder, vae.decoder) for weight in part.trainable_weights)
        jit_compile, steps = work.steps >= _WORTH_COMPILING and not convolves, int(np.clip(_CALL_FLOPS / flops, 1, _MOST_STEPS))
    return Execution(
        jit_compile if vae.jit_wanted is None else vae.jit_wanted,
        steps if vae.steps_wanted is None else vae.steps_wanted,
    )


def work_of(*args: Any, **kwargs: Any) -> Work | None:
    """Return what a `fit` has to do; None where nobody knows before its data, or those of the validation, end.

    Args:
        *args: of `keras.Model.fit`.
        **kwargs: the same.
    """
    given = _SIGNATURE.bind(None, *args, **kwargs)
    given.apply_defaults()
    known = given.arguments
    batch_size, x = known["batch_size"] or 32, known["x"]
    if isinstance(x, tf.data.Dataset):
        steps, first = int(x.cardinality()), tf.nest.flatten(x.element_spec)[0]
        batch_size = first.shape[0] or batch_size
    elif isinstance(x, np.ndarray | tf.Tensor | tuple | list):
        steps = -(-int(len(tf.nest.flatten(x)[0]) * (1 - known["validation_split"])) // batch_size)
    else:
        steps = -1
    steps = known["steps_per_epoch"] or steps
    validation = known["validation_data"]
    endless = isinstance(validation, tf.data.Dataset) and validation.cardinality() < 0 and known["validation_steps"] is None
    return None if endless or steps < 1 else Work(steps * known["epochs"], batch_size)


def _uses(weight: tf.Variable, vae: Any) -> float:
    """How many multiplications per image a weight takes part in: one, or for kernels about one for each position of a smaller map."""
    height, width, _ = vae.likelihood.image_shape
    size = float(np.prod(weight.shape))
    return size * max(1.0, height * width / 4) if weight.shape.rank == 4 else size
