"""How far an answer may be from the source: rounding is let pass, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import tensorflow as tf
from pieces import tiny

import export.verify as verification
from export import VerificationError
from export.verify import Probe, probes, verify
from vae_tf.config import Config
from vae_tf.generator import Generator, noise


@pytest.mark.parametrize(("differing", "size"), [(3, 980), (4, 1100), (12, 9800)])
def test_a_few_draws_on_the_other_side_of_a_threshold_are_rounding(monkeypatch: pytest.MonkeyPatch, differing: int, size: int):
    assert draw_parity(monkeypatch, differing, size) == max(0, differing - 3) / size


@pytest.mark.parametrize(("differing", "size"), [(4, 980), (13, 9800), (980, 980)])
def test_more_draws_than_chance_explains_are_no_rounding(monkeypatch: pytest.MonkeyPatch, differing: int, size: int):
    share = rf"share of drawn values that differ, beyond r and 3 of a batch is {(differing - 3) / size:.6g} at one, above 0\.001"
    with pytest.raises(VerificationError, match=share):
        draw_parity(monkeypatch, differing, size)


def draw_parity(monkeypatch: pytest.MonkeyPatch, differing: int, size: int) -> float:
    x = np.zeros([1, 1, size, 1], np.float32)
    answer = np.where(np.arange(size)[:, None] < differing, np.float32(1 / 255), x)
    monkeypatch.setattr(verification, "_answers", lambda *args: {"engine/one/sample/x": answer})
    return verify("saved_model", Path(), ("sample",), {"one": Probe({}, x, x, x, np.zeros([1, 1, 1, 1]), np.zeros(1))})["x"].largest


def answer_with(monkeypatch: pytest.MonkeyPatch, mean: np.ndarray) -> None:
    monkeypatch.setattr(verification, "_answers", lambda *args: {"engine/one/serving_default/mean": mean})


def test_another_component_is_rounding_at_its_threshold_and_an_error_elsewhere(
    make_generator: Callable[[Config], Generator], monkeypatch: pytest.MonkeyPatch
):
    generator, z = make_generator(tiny(prior="mixture")), noise(3, 6, seed=0)
    z[:, 0] = [NormalDist().inv_cdf(1 / 3), 0.0, 1.0]  # of three components: the threshold of two, and the middle of two
    probe = verification._probe(generator, {"z": z}, np.arange(3, dtype=np.int32))
    other = np.stack([generator(tf.constant(z + np.float32([shift, 0, 0, 0, 0, 0]))).mean() for shift in (-2e-6, 2e-6)])
    assert np.abs(other[0, 0] - other[1, 0]).max() > 1e-3
    for mean in other:
        answer_with(monkeypatch, mean)
        assert verify("onnx", Path(), ("serving_default",), {"one": probe})["mean"].largest <= 1e-4
    answer_with(monkeypatch, np.stack([probe.mean[0], probe.mean[1], generator(tf.constant(z * np.float32([0, 1, 1, 1, 1, 1]))).mean()[2]]))
    with pytest.raises(VerificationError, match="onnx: `mean` of engine is not the source's"):
        verify("onnx", Path(), ("serving_default",), {"one": probe})


@pytest.mark.parametrize("prior", ["coupling-flow", "iaf", "vampprior"])
def test_a_small_error_in_one_weight_is_noticed_behind_any_prior(
    make_generator: Callable[[Config], Generator], monkeypatch: pytest.MonkeyPatch, prior: str
):
    generator = make_generator(tiny(prior=prior))
    source = {"one": probes(generator)["batch 64, scale 1"]}
    weight = max(generator.decoder.trainable_variables, key=lambda variable: variable.shape.num_elements())
    weight.assign(weight * 1.01)
    answer_with(monkeypatch, generator(tf.constant(source["one"].inputs["z"])).mean().numpy())
    with pytest.raises(VerificationError, match="onnx: `mean` of engine is not the source's"):
        verify("onnx", Path(), ("serving_default",), source)


@pytest.mark.parametrize(("condition", "size"), [("classes", 64), ("vector", 64), (None, 64)])
def test_probes_have_labels_of_all_kinds(make_generator: Callable[[Config], Generator], condition: str | None, size: int):
    found = probes(make_generator(tiny(condition=condition)))
    assert [len(probe.inputs["z"]) for probe in found.values()] == [1, 7, size, 7, 7]
    for probe in found.values():
        label = probe.inputs.get("label")
        if condition == "classes":
            np.testing.assert_array_equal(label, np.arange(len(probe.mean)) % 3)
        else:
            assert (label is None) if condition is None else (label.shape == (len(probe.mean), 3) and label.std() > 0.1)
