"""From a run folder to an exported folder, step by step. Read this file first."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from export import onnx_graph, saved_model, warmup
from export.artifact import check_target, publish, unfinished
from export.card import CARD, write_card
from export.image_values import image_values
from export.manifest import Format, GeneratorSpec, Label, Manifest, NoisePart, record_files
from export.preview import PREVIEW, write_preview
from export.provenance import provenance
from export.verify import probes, verify
from vae_tf.generator import Generator
from vae_tf.run import load

__all__ = ["export"]

_log = logging.getLogger("export")


def export(run: str | Path, models: str | Path, name: str, version: int | None = None) -> Path:
    """Write the generator of a run as MODELS/NAME/VERSION, verified, or leave everything as it was.

    Args:
        run: folder of a complete run.
        models: folder of all models; created if missing.
        name: of the model: letters, digits, `.`, `_` and `-`.
        version: from 1 to 2^63 - 1; None for the next.

    Returns:
        The exported folder.

    Raises:
        TargetError: the name or the version can not be used.
        RunError: the run is missing, incomplete or damaged.
        ConversionError: a format can not be made of this model.
        VerificationError: a format does not load, or does not say what the run says.
    """
    folder = check_target(models, name, version)
    _log.info("loading %s", run)
    loaded = load(run)
    source, origin = loaded.vae.generator, provenance(loaded)
    generator = source.frozen()
    with unfinished(folder) as temporary:
        _log.info("writing SavedModel, warm-up requests and preview")
        saved_model.save(generator, temporary)
        signatures = saved_model.read_signatures(temporary)
        warmup.write_requests(temporary, name, signatures)
        write_preview(generator, temporary / PREVIEW)
        _log.info("converting to ONNX")
        onnx_graph.convert(generator, temporary / "model.onnx", name)

        asked, formats = probes(source), {}
        for form, path, held, opset in (
            ("saved_model", "saved_model.pb", saved_model.SIGNATURES, None),
            ("onnx", "model.onnx", ("serving_default",), onnx_graph.OPSET),
        ):
            _log.info("verifying %s in a fresh process", form)
            formats[form] = Format(path=path, signatures=held, opset=opset, parity=verify(form, temporary, held, asked))

        def seal(unsealed: Path, number: int) -> None:
            (unsealed / CARD).unlink(missing_ok=True)
            manifest = Manifest(
                name=name,
                version=number,
                created=datetime.now(UTC).replace(microsecond=0),
                generator=_describe(source, loaded.data.label_names),
                signatures=signatures,
                formats=formats,
                files=record_files(unsealed),
                provenance=origin,
            )
            write_card(manifest, unsealed)
            manifest.model_copy(update={"files": record_files(unsealed)}).write(unsealed)

        return publish(temporary, folder, version, seal)


def _describe(generator: Generator, label_names: tuple[str, ...] | None) -> GeneratorSpec:
    condition, label = generator.condition, None
    if condition is not None:
        label = Label(kind="class" if condition.label.dtype.is_integer else "vector", size=condition.size, names=label_names)
    return GeneratorSpec(
        latent_dim=generator.noise_dim,
        noise_layout=tuple(NoisePart(name=name, size=size) for name, size in generator.noise_layout.items()),
        label=label,
        image_shape=generator.image_shape,
        values=image_values(generator.likelihood),
    )
