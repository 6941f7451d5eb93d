"""How the steps of a training are run on this machine: what makes them fast changes their numbers by rounding alone."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any, Literal, NamedTuple, final, get_args

import numpy as np
import tensorflow as tf
import tf_keras as keras

from vae_tf.errors import ConfigError

__all__ = ["Execution", "Precision", "Work", "check", "choose", "work_of"]

Precision = Literal["float32", "bfloat16"]

_WORTH_COMPILING = 1000  # steps
_CALL_FLOPS = 1e10  # in one call from Python: a fraction of a second
_MOST_STEPS = 50
_ROUNDED = "auto_mixed_precision_onednn_bfloat16"
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
        precision: in which convolutions and products of matrices are computed; weights, sums and losses are float32 in any case.
    """

    jit_compile: bool
    steps_per_execution: int
    precision: Precision = "float32"

    def __str__(self) -> str:
        """Return it as a person reads it."""
        steps = f"{self.steps_per_execution} step{'s' * (self.steps_per_execution > 1)} a call"
        return f"{self.precision}, {'XLA' if self.jit_compile else 'no XLA'}, {steps}"

    def steps(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of TensorFlow that takes steps, as one that takes them in this precision; what else runs is not touched."""
        if self.precision == "float32":
            return function

        @wraps(function)
        def rounded(*args: Any) -> Any:
            with _rounded():
                return function(*args)

        return rounded


def check(jit_compile: bool | None, precision: str | None) -> None:
    """Refuse what can not be.

    Raises:
        ConfigError: `precision` is unknown, or asks XLA for what it has not.
    """
    if precision not in (None, *get_args(Precision)):
        raise ConfigError(f"`precision` must be float32 or bfloat16, got {precision!r}.")
    if jit_compile and precision == "bfloat16":
        raise ConfigError("`precision` bfloat16 is not for steps that XLA compiles, got `jit_compile` true; leave one of them out.")


def choose(vae: Any, work: Work | None) -> Execution:
    """Return what is fast for a model here, where the user has not chosen.

    XLA makes dense networks faster and, on a CPU, convolutions slower; to compile a step takes as long as some thousand small ones. Calls
    from Python cost little beside a large step. Convolutions are faster in bfloat16 where the CPU has instructions for matrices of it.

    Args:
        vae: a compiled `VAE`.
        work: what there is to do; None where nobody knows.
    """
    jit_compile, steps, rounds = False, 1, False
    if work is not None and not vae.run_eagerly:
        flops = 6.0 * work.batch_size * vae.objective.samples * sum(_uses(weight, vae) for weight in vae.trainable_weights)
        convolves = any(weight.shape.rank == 4 for part in (vae.encoder, vae.decoder) for weight in part.trainable_weights)
        jit_compile = work.steps >= _WORTH_COMPILING and not convolves and vae.precision_wanted != "bfloat16"
        steps = int(np.clip(_CALL_FLOPS / flops, 1, _MOST_STEPS))
        rounds = convolves and not vae.jit_wanted and _multiplies_bfloat16()
    return Execution(
        jit_compile if vae.jit_wanted is None else vae.jit_wanted,
        steps if vae.steps_wanted is None else vae.steps_wanted,
        vae.precision_wanted or ("bfloat16" if rounds else "float32"),
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
    batch_size, x, validation = known["batch_size"] or 32, known["x"], known["validation_data"]
    # Several steps in one call are none where the data end among them.
    if _may_end(x, known["steps_per_epoch"], known["epochs"]) or _may_end(validation, known["validation_steps"]):
        return None
    if isinstance(x, tf.data.Dataset):
        steps, first = int(x.cardinality()), tf.nest.flatten(x.element_spec)[0]
        batch_size = first.shape[0] or batch_size
    elif isinstance(x, np.ndarray | tf.Tensor | tuple | list):
        steps = -(-int(len(tf.nest.flatten(x)[0]) * (1 - known["validation_split"])) // batch_size)
    else:
        steps = -1
    steps = known["steps_per_epoch"] or steps
    endless = isinstance(validation, tf.data.Dataset) and validation.cardinality() < 0 and known["validation_steps"] is None
    return None if endless or steps < 1 else Work(steps * known["epochs"], batch_size)


def _may_end(data: Any, steps: int | None, epochs: int = 1) -> bool:
    """Return whether data may have fewer batches than are asked for."""
    if isinstance(data, tf.data.Dataset):
        return steps is not None and 0 <= int(data.cardinality()) < steps * epochs
    return isinstance(data, Iterator)


@cache
def _multiplies_bfloat16() -> bool:
    """Return whether the processor multiplies matrices of bfloat16; where there is a GPU it is not asked."""
    info = Path("/proc/cpuinfo")
    return not tf.config.list_physical_devices("GPU") and info.exists() and " amx_bf16" in info.read_text()


@contextmanager
def _rounded() -> Iterator[None]:
    """Let TensorFlow round what oneDNN multiplies, in graphs that are run here for the first time, to bfloat16."""
    before = tf.config.optimizer.get_experimental_options().get(_ROUNDED, False)
    tf.config.optimizer.set_experimental_options({_ROUNDED: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_ROUNDED: before})


def _uses(weight: tf.Variable, vae: Any) -> float:
    """How many multiplications per image a weight takes part in: one, or for kernels about one for each position of a smaller map."""
    height, width, _ = vae.likelihood.image_shape
    size = float(np.prod(weight.shape))
    return size * max(1.0, height * width / 4) if weight.shape.rank == 4 else size
