"""What the ONNX graph answers, and what it says of itself."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf

from export import ConversionError, onnx_graph
from export.engines import onnx_runtime
from vae_tf.generator import Generator, noise


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_mean_is_the_generators(exported: Path, generator: Generator, batch: int):
    z = noise(batch, 3, seed=2)
    with onnx_runtime(exported) as call:
        np.testing.assert_allclose(call("serving_default", {"z": z})["mean"], generator(tf.constant(z)).mean(), atol=1e-6)


def test_the_graph_names_its_dimensions_and_says_what_it_is(exported: Path):
    model = onnx.load(exported / "model.onnx")
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)}
    assert shapes == {"z": ["batch", 3], "mean": ["batch", 8, 8, 1]}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties.pop("values") == "trained on values in [0, 1], and its means and draws lie there too"
    assert (properties.pop("latent_dim"), properties.pop("noise_layout")) == ("3", '{"z": 3}')
    assert properties == {"model_name": "digits", "image_shape": "[8, 8, 1]", "value_range": "[0.0, 1.0]"}
    assert model.producer_name == "vae_tf"
    assert model.producer_version


def test_an_operation_that_onnx_lacks_is_refused_by_name(generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(generator, "from_noise", lambda eps, condition: tf.math.bessel_i0e(eps))
    with pytest.raises(ConversionError, match=r"onnx: tf2onnx can not convert this model: .*BesselI0e"):
        onnx_graph.convert(generator, tmp_path / "model.onnx", "any")
    assert not list(tmp_path.iterdir())
