"""Every format against the source: loaded in a fresh process, asked for fixed noise, compared; or refused.

The source is the generator of the trained run, in Python. What may differ is rounding: engines sum in different orders and fuse
operations, which leaves 1e-7 to 1e-5 on a mean of order 1. How far rounding can carry depends on the generator: a flow may magnify it,
a mixture chooses its component where noise meets a threshold, and far from 0 numbers are large. So the source itself is asked how much
an image changes when each value of its noise moves by a few units of rounding: an engine may do as much, and is held to the fixed
tolerance everywhere else.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.errors import VerificationError
from export.manifest import Parity
from export.process import last_line, run_module
from export.saved_model import uniform
from vae_tf import Generator
from vae_tf.generator import noise

__all__ = ["TOLERANCE", "Probe", "probes", "verify"]

# A twentieth of half a grey level of 255: no picture shows it, and no rounding of float32 reaches it.
TOLERANCE = 1e-4
# Where noise meets a threshold, rounding decides on which side a drawn value falls. With n levels above black that happens to a share
# of about n |difference of means| of all values: n 1e-6 = 3e-4 for 256 levels. Chance makes it several values of a small batch.
DRAW_TOLERANCE = 1e-3
DRAWS_BY_CHANCE = 3
# By how much noise moves, relative to max(1, |noise|): 32 roundings of float32. The distribution function that chooses a component
# differs by 2e-7 between engines: less than such a move makes it change wherever |noise| < 2.5.
_MOVE = 4e-6
_MOVES = 2


class Probe(NamedTuple):
    """Noise, and labels if there are any, with what the source says of them."""

    inputs: dict[str, np.ndarray]  # z [B, D], and label [B] or [B, K]
    seed: np.ndarray  # int32 [B]
    mean: np.ndarray  # [B, H, W, C]
    x: np.ndarray  # [B, H, W, C], drawn with `seed`
    mean_moves: np.ndarray  # [B, 1, 1, 1], the largest change of a value of the mean when noise moves by rounding
    x_moves: np.ndarray  # [B], how many drawn values then change


class _Measure(NamedTuple):
    words: str
    tolerance: float
    distance: Callable[[np.ndarray, Probe], float]


def probes(generator: Generator) -> dict[str, Probe]:
    """Return noise in batches of 1, 7 and 64, and far outside, and what the generator says of each.

    Equal rows come with equal seeds and labels in batches of different sizes. Classes come in turn, and the largest batch has them all;
    vectors are normal draws.

    Args:
        generator: the source.
    """
    condition, largest = generator.condition, 64
    if condition is not None and condition.label.dtype.is_integer:
        largest = max(largest, condition.size)
        labels = np.arange(largest, dtype=np.int32) % condition.size
    elif condition is not None:
        labels = noise(largest, condition.size, seed=1)
    eps = noise(largest, generator.noise_dim, seed=0)
    found = {}
    for batch, scale in ((1, 1.0), (7, 1.0), (largest, 1.0), (7, 10.0), (7, 30.0)):
        inputs = {"z": np.float32(scale) * eps[:batch]} | ({} if condition is None else {"label": labels[:batch]})
        found[f"batch {batch}, scale {scale:g}"] = _probe(generator, inputs, np.arange(batch, dtype=np.int32))
    return found


def _probe(generator: Generator, inputs: dict[str, np.ndarray], seed: np.ndarray) -> Probe:
    z, label = inputs["z"], inputs.get("label")
    uniforms = uniform(tf.constant(seed), generator.image_shape)

    def ask(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        px = generator(tf.constant(z), label)
        return px.mean().numpy(), generator.likelihood.draw(px, uniforms).numpy()

    mean, x = ask(z)
    mean_moves, x_moves = np.zeros([len(z), 1, 1, 1], np.float32), np.zeros(len(z), int)
    rng = np.random.default_rng(0)
    for _ in range(_MOVES):
        move = _MOVE * np.maximum(1, np.abs(z)) * rng.choice([-1, 1], z.shape)
        for moved in (z + move, z - move):
            other, other_x = ask(moved.astype(np.float32))
            mean_moves = np.maximum(mean_moves, np.abs(other - mean).max(axis=(1, 2, 3), keepdims=True))
            x_moves = np.maximum(x_moves, _drawn_apart(other_x, x))
    return Probe(inputs, seed, mean, x, mean_moves, x_moves)


def verify(form: str, folder: Path, signatures: tuple[str, ...], source: dict[str, Probe]) -> dict[str, Parity]:
    """Load one format in a fresh process, with every engine that it is meant for, and compare all its outputs with the source.

    Args:
        form: `saved_model` or `onnx`.
        folder: the exported folder.
        signatures: what the format holds.
        source: from `probes`.

    Returns:
        The largest difference of each output.

    Raises:
        VerificationError: the format does not load, fails, or differs from the source by more than the tolerance.
    """
    found: dict[str, float] = {}
    for key, answer in _answers(form, folder, signatures, source).items():
        engine, probe, _, output = key.split("/")
        measure = _MEASURES[output]
        distance = measure.distance(answer, source[probe]) if answer.shape == source[probe].mean.shape else np.inf
        if not distance <= measure.tolerance:  # NaN is no agreement
            raise VerificationError(
                f"{form}: `{output}` of {engine} is not the source's: "
                f"the {measure.words} is {distance:.6g} at {probe}, above {measure.tolerance:g}."
            )
        found[output] = max(found.get(output, 0.0), distance)
    outputs = [_OUTPUT[signature] for signature in signatures]
    return {name: Parity(largest=found[name], tolerance=_MEASURES[name].tolerance, measure=_MEASURES[name].words) for name in outputs}


def _answers(form: str, folder: Path, signatures: tuple[str, ...], source: dict[str, Probe]) -> dict[str, np.ndarray]:
    requests: dict[str, np.ndarray] = {}
    for name, probe in source.items():
        for signature in signatures:
            given = probe.inputs | ({"seed": probe.seed} if signature == "sample" else {})
            requests |= {f"{name}/{signature}/{key}": value for key, value in given.items()}
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "probes.npz"), Path(scratch, "answers.npz")
        np.savez(asked, allow_pickle=False, **requests)
        done = run_module("export.replay", form, folder, asked, answered)
        if done.returncode:
            raise VerificationError(f"{form}: it does not load and run in a fresh process: {last_line(done)}")
        with np.load(answered) as arrays:
            return dict(arrays)


def _unit(probe: Probe) -> np.ndarray:
    """Return what is allowed in tolerances, [B, H, W, C]: relative where values exceed 1, and what noise that moves by rounding does."""
    return np.maximum(np.maximum(1, np.abs(probe.mean)), probe.mean_moves / TOLERANCE)


def _drawn_apart(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how many drawn values differ by more than rounding, [B]."""
    return np.sum(~(np.abs(x - other) <= TOLERANCE * np.maximum(1, np.abs(other))), axis=(1, 2, 3))


def _mean_distance(mean: np.ndarray, probe: Probe) -> float:
    return float(np.max(np.abs(mean - probe.mean) / _unit(probe)))


def _draw_distance(x: np.ndarray, probe: Probe) -> float:
    differ = np.sum(np.maximum(_drawn_apart(x, probe.x) - probe.x_moves, 0))
    return float(max(differ - DRAWS_BY_CHANCE, 0) / x.size)


def _level_distance(levels: np.ndarray, probe: Probe) -> float:
    from_mean = np.abs(levels / 255 - np.clip(probe.mean, 0, 1))
    return float(np.max(np.maximum(from_mean - 0.5 / 255, 0) / _unit(probe)))


_OUTPUT = {"serving_default": "mean", "sample": "x", "png": "image_bytes"}
_MEASURES = {
    "mean": _Measure("largest |difference| / u", TOLERANCE, _mean_distance),
    "x": _Measure(f"share of drawn values that differ, beyond r and {DRAWS_BY_CHANCE} of a batch", DRAW_TOLERANCE, _draw_distance),
    "image_bytes": _Measure("largest distance from the mean beyond half a grey level, / u", TOLERANCE, _level_distance),
}
