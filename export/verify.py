"""Every format against the source: loaded in a fresh process, asked for fixed latents, compared; or refused.

The source is the generator of the trained run, in Python. What may differ is rounding: engines sum in different orders and fuse
operations, which leaves 1e-7 to 1e-5 on a mean of order 1. It grows with the numbers on the way, so latents s times as large may
differ s times as much.
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


class Probe(NamedTuple):
    """Latents with what the source says of them."""

    scale: float  # standard deviation of the latents
    z: np.ndarray  # [B, D]
    seed: np.ndarray  # int32 [B]
    mean: np.ndarray  # [B, H, W, C]
    x: np.ndarray  # [B, H, W, C], drawn with `seed`


class _Measure(NamedTuple):
    words: str
    tolerance: float
    distance: Callable[[np.ndarray, Probe], float]


def probes(generator: Generator) -> dict[str, Probe]:
    """Return latents from noise in batches of 1, 7 and 64, and far outside, and what the generator says of each.

    Equal rows come with equal seeds in batches of different sizes.

    Args:
        generator: the source.
    """
    eps = noise(64, generator.noise_dim, seed=0)
    found = {}
    for batch, scale in ((1, 1.0), (7, 1.0), (64, 1.0), (7, 10.0), (7, 30.0)):
        z, seed = np.float32(scale) * eps[:batch], np.arange(batch, dtype=np.int32)
        draw = generator.draw(tf.constant(z), uniform(tf.constant(seed), generator.image_shape))
        found[f"batch {batch}, scale {scale:g}"] = Probe(scale, z, seed, generator(tf.constant(z)).mean().numpy(), draw.numpy())
    return found


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
    requests = {}
    for name, probe in source.items():
        for signature in signatures:
            requests[f"{name}/{signature}/z"] = probe.z
            if signature == "sample":
                requests[f"{name}/{signature}/seed"] = probe.seed
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "probes.npz"), Path(scratch, "answers.npz")
        np.savez(asked, allow_pickle=False, **requests)
        done = run_module("export.replay", form, folder, asked, answered)
        if done.returncode:
            raise VerificationError(f"{form}: it does not load and run in a fresh process: {last_line(done)}")
        with np.load(answered) as arrays:
            return dict(arrays)


def _allowance(mean: np.ndarray, probe: Probe) -> np.ndarray:
    """Return the unit of rounding, [B, H, W, C]: relative where values exceed 1, and in proportion to the latents."""
    return probe.scale * np.maximum(1, np.abs(mean))


def _mean_distance(mean: np.ndarray, probe: Probe) -> float:
    return float(np.max(np.abs(mean - probe.mean) / _allowance(probe.mean, probe)))


def _draw_distance(x: np.ndarray, probe: Probe) -> float:
    differ = ~(np.abs(x - probe.x) <= TOLERANCE * _allowance(probe.x, probe))
    return float(max(np.sum(differ) - DRAWS_BY_CHANCE, 0) / differ.size)


def _level_distance(levels: np.ndarray, probe: Probe) -> float:
    from_mean = np.abs(levels / 255 - np.clip(probe.mean, 0, 1))
    return float(np.max(np.maximum(from_mean - 0.5 / 255, 0))) / probe.scale


_OUTPUT = {"serving_default": "mean", "sample": "x", "png": "image_bytes"}
_MEASURES = {
    "mean": _Measure("largest |difference| / max(1, |mean|) / s", TOLERANCE, _mean_distance),
    "x": _Measure(f"share of drawn values that differ, beyond {DRAWS_BY_CHANCE} of a batch", DRAW_TOLERANCE, _draw_distance),
    "image_bytes": _Measure("largest distance from the mean beyond half a grey level, / s", TOLERANCE, _level_distance),
}
