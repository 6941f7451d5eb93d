"""MODEL_CARD.md: the manifest, told to a person."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from export.manifest import Manifest
from export.model_parts import model_parts
from vae_tf.config import without_folders

__all__ = ["CARD", "write_card"]

CARD = "MODEL_CARD.md"


def write_card(manifest: Manifest, folder: Path) -> None:
    """Write the card of an exported folder.

    Args:
        manifest: of the folder, without the card itself.
        folder: where to write.
    """
    environment = Environment(
        loader=PackageLoader("export"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    source = without_folders(manifest.provenance["data"]["source"])
    parts = model_parts(manifest.provenance)
    (folder / CARD).write_text(environment.get_template("MODEL_CARD.md.j2").render(m=manifest, source=source, parts=parts))
