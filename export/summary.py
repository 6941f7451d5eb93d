"""One screen that tells a stranger what an exported folder holds."""

import textwrap
from collections.abc import Callable
from typing import Any

from export.manifest import GeneratorSpec, Label, Manifest
from export.model_parts import model_parts

__all__ = ["parity_line", "summarise"]

_INDENT, _WIDTH = 14, 100


def summarise(manifest: Manifest, damage: dict[str, str]) -> str:
    """Return the screen.

    Args:
        manifest: of the folder.
        damage: from `Manifest.damage`.
    """
    g, origin = manifest.generator, manifest.provenance
    width = max(map(len, manifest.files | damage), default=0)
    files = [f"{path:<{width}}  {file.bytes:>10,} bytes  {damage.get(path, 'ok')}" for path, file in manifest.files.items()]
    added = [f"{path:<{width}}  {problem}" for path, problem in damage.items() if path not in manifest.files]
    sections = {
        "noise": textwrap.wrap(f"{g.noise}, {g.latent_dim} values{_layout(g)}", _WIDTH),
        "label": [] if g.label is None else textwrap.wrap(f"{g.label}{_names(g.label)}", _WIDTH, max_lines=2),
        "image": [f"{' x '.join(map(str, g.image_shape))}", g.values],
        f"log p({'x' if g.label is None else 'x | y'})": _told(_log_likelihood, origin),
        "signatures": [f"{name}: {signature}" for name, signature in manifest.signatures.items()],
        "parity": [f"{form}: {parity_line(manifest, form)}" for form in manifest.formats],
        "model": _told(_model, origin),
        "provenance": _told(_provenance, origin),
        "files": files + added,
    }
    title = f"{manifest.name}, version {manifest.version}, exported {manifest.created.isoformat()}"
    return "\n".join(
        [title, *(f"  {name if i == 0 else '':<{_INDENT}}{line}" for name, lines in sections.items() for i, line in enumerate(lines))]
    )


def parity_line(manifest: Manifest, form: str) -> str:
    """Return the largest difference of each output of a format from the trained run, on one line."""
    parity = manifest.formats[form].parity
    return ", ".join(f"{output} {value.largest:.2g} (tolerance {value.tolerance:g})" for output, value in parity.items())


def _layout(g: GeneratorSpec) -> str:
    """Return what the values of noise are for, unless they are all for the same."""
    parts = g.noise_layout or ()
    return f": {', '.join(f'{part.size} for {part.name}' for part in parts)}" if len(parts) > 1 else ""


def _names(label: Label) -> str:
    return f": {', '.join(label.named)}" if label.named else ""


def _told(tell: Callable[[dict[str, Any]], list[str]], origin: dict[str, Any]) -> list[str]:
    """Return what `tell` makes of a provenance; its form is free, so that of another writer may be another."""
    try:
        return tell(origin)
    except (LookupError, TypeError, ValueError, AttributeError):
        return ["not recorded in a form that is known here; manifest.json may hold more"]


def _log_likelihood(origin: dict[str, Any]) -> list[str]:
    if origin["evaluation"] is None:
        return ["not known: the run was not evaluated before the export"]
    e = origin["evaluation"]["log_likelihood"]
    return [f"{e['value']:.2f} +- {e['standard_error']:.2f} {e['unit']} per test image ({e['images']} images; {e['method']})"]


def _model(origin: dict[str, Any]) -> list[str]:
    return [
        line for part, words in model_parts(origin).items() for line in textwrap.wrap(f"{part}: {words}", _WIDTH, subsequent_indent="  ")
    ]


def _provenance(origin: dict[str, Any]) -> list[str]:
    data = origin["data"]
    libraries = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    return [
        f"{data['source']}: {data['train']} images for training, fingerprint {data['fingerprint'][:12]}",
        f"{origin['config']['training']['epochs']} epochs, seed {origin['seed']}",
        *textwrap.wrap(libraries, _WIDTH),
    ]
