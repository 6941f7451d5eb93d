"""model.onnx -> images, with ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
import onnxruntime

from serving.errors import BrokenVersionError, InvalidArgumentError, one_line
from serving.images import encode_png
from serving.manifest import Generator, Manifest, Signature, TensorSpec, check_files, read_manifest

__all__ = ["Engine"]


@final
class Engine:
    """One exported version, checked, loaded and warm.

    It holds two of the manifest's signatures: `serving_default` (z [B, D] -> mean [B, H, W, C]), which is model.onnx itself,
    and `png` (z [B, D] -> image_bytes [B]), which encodes that mean; where images have labels, both take a `label` per row besides.
    `run` may be called from several threads at once.

    Args:
        folder: MODELS/<name>/<version>.

    Raises:
        BrokenVersionError: The folder is not what its manifest says, or cannot answer a first request.
    """

    def __init__(self, folder: Path):
        self._manifest = read_manifest(folder)
        check_files(folder, self._manifest)
        self.signatures = _signatures_held(folder, self._manifest)
        self._session = _open(folder / self._manifest.formats["onnx"].path)
        self._warm_up(folder)

    def signature(self, name: str) -> Signature:
        """Return a signature by name.

        Raises:
            InvalidArgumentError: This engine does not hold it.
        """
        if name in self.signatures:
            return self.signatures[name]
        message = f'Serving signature name: "{name}" not found in signature def'
        if name in self._manifest.signatures:
            message += f" (the embedded server runs model.onnx, which holds {' and '.join(self.signatures)})"
        raise InvalidArgumentError(message)

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs of a signature.

        Args:
            signature_name: A key of `signatures`.
            inputs: `z`, float32 [B, D], finite, B >= 1; and `label`, int32 [B] or finite float32 [B, K], where the model has one.

        Returns:
            `mean`, float32 [B, H, W, C], or `image_bytes`, PNG files as bytes objects [B].

        Raises:
            InvalidArgumentError: An input has another shape, holds NaN or infinities, or is so large that the mean does; or a label is
                no class.
        """
        self._check(inputs)
        mean = self._mean(inputs)
        finite = np.isfinite(mean).all(axis=(1, 2, 3))
        if not finite.all():
            row = int(np.argmin(finite))
            size, name = max((np.abs(value[row]).max(), name) for name, value in inputs.items() if value.dtype == np.float32)
            raise InvalidArgumentError(f"`{name}` is too large for this model, its mean is not finite: in row {row} it reaches {size:g}")
        if signature_name == "png":
            return {"image_bytes": np.array([encode_png(image) for image in mean], dtype=object)}
        return {"mean": mean}

    def _mean(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        (mean,) = self._session.run(["mean"], dict(inputs))
        return mean

    def _check(self, inputs: Mapping[str, np.ndarray]) -> None:
        rows = inputs["z"].shape[:1]
        for name, spec in self._manifest.generator.inputs.items():
            value, shape = inputs[name], spec.shape[1:]
            if value.shape != (*rows, *shape) or not value.size:
                rule = "at least one row" if name == "z" else "one row per row of `z`"
                raise InvalidArgumentError(f"`{name}` must have shape {_batch_of(shape)} with {rule}, got {list(value.shape)}")
            if not np.isfinite(value).all():
                row, column = np.argwhere(~np.isfinite(value))[0]
                raise InvalidArgumentError(f"`{name}` must be finite, got {value[row, column]} in row {row}, column {column}")
        label = self._manifest.generator.label
        if label and label.kind == "class":
            _check_classes(inputs["label"], label.size)

    def _warm_up(self, folder: Path) -> None:
        """Answer one request per signature: the first costs most, and a graph that cannot answer must not go live."""
        generator = self._manifest.generator
        zeros = {name: np.zeros((1, *spec.shape[1:]), spec.dtype) for name, spec in generator.inputs.items()}
        try:
            mean = self._mean(zeros)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BrokenVersionError(f"model.onnx in {folder} cannot answer a first request: {one_line(error)}") from None
        if mean.dtype != np.float32 or mean.shape[1:] != generator.image_shape or not np.isfinite(mean).all():
            expected, got = list(generator.image_shape), f"{mean.dtype} {list(mean.shape[1:])}"
            raise BrokenVersionError(f"model.onnx in {folder} must give finite float32 images {expected}, gave {got}")
        for name in self.signatures.keys() - {"serving_default"}:
            self.run(name, zeros)


def _signatures_held(folder: Path, manifest: Manifest) -> dict[str, Signature]:
    if "onnx" not in manifest.formats or "serving_default" not in manifest.signatures:
        raise BrokenVersionError(f"{folder} holds no model.onnx with the signature serving_default: export it with the format onnx")
    names = ["serving_default"]
    if "png" in manifest.signatures and manifest.generator.image_shape[-1] in (1, 3):
        names.append("png")
    if manifest.formats["onnx"].path not in manifest.files:
        raise BrokenVersionError(f"the manifest of {folder} has no checksum of {manifest.formats['onnx'].path}: export the version again")
    held = {name: manifest.signatures[name] for name in names}
    for name, signature in held.items():
        expected = _expected(name, manifest.generator)
        if signature != expected:
            raise BrokenVersionError(
                f"the signature {name} in the manifest of {folder} must be {expected}, got {signature}: export the version again"
            )
    return held


def _expected(name: str, generator: Generator) -> Signature:
    mean = TensorSpec(dtype="float32", shape=(-1, *generator.image_shape))
    outputs = {"serving_default": {"mean": mean}, "png": {"image_bytes": TensorSpec(dtype="string", shape=(-1,))}}
    return Signature(inputs=generator.inputs, outputs=outputs[name])


def _batch_of(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['batch', *map(str, shape)])}]"


def _check_classes(label: np.ndarray, count: int) -> None:
    known = (label >= 0) & (label < count)
    if not known.all():
        row = int(np.argmin(known))
        raise InvalidArgumentError(f"`label` must be a class from 0 to {count - 1}, got {label[row]} in row {row}")


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Idle threads of the pool would otherwise spin, and take the processor from the web server between requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise BrokenVersionError(f"ONNX Runtime cannot load {path}: {one_line(error)}") from None
