"""The models folder: MODELS/<name>/<version>/, listed and never guessed.

A name from a request is only ever looked up in such a listing, so no request can reach any other path. Symbolic links
count as long as they lead to a place inside the models folder.
"""

from pathlib import Path

from serving.errors import InvalidArgumentError, NotFoundError

__all__ = ["Fingerprint", "fingerprint", "list_models", "list_versions", "open_repository"]

Fingerprint = frozenset[tuple[str, int, int]]


def open_repository(models: Path) -> Path:
    """Return the models folder as an absolute path without links.

    Raises:
        NotFoundError: It is not there.
        InvalidArgumentError: It is one model, with its versions inside.
        OSError: It cannot be listed.
    """
    if not models.is_dir():
        raise NotFoundError(f"`models` must be an existing folder with NAME/VERSION/ inside, got {models}")
    root = models.resolve()
    if any(_is_number(entry.name) and (entry / "manifest.json").is_file() for entry in root.iterdir()):
        raise InvalidArgumentError(f"{models} looks like one model, with its versions inside: give its parent folder, {root.parent}")
    return root


def list_models(root: Path) -> dict[str, Path]:
    """List all model folders by name; other entries and hidden ones are passed over.

    Args:
        root: The models folder, as `open_repository` returns it.

    Raises:
        OSError: The folder cannot be listed.
    """
    return {model.name: model for model in _folders(root, root)}


def list_versions(model: Path, root: Path) -> dict[int, Path]:
    """List the version folders of a model by number; other entries are passed over.

    Args:
        model: The model's folder.
        root: The models folder, as `open_repository` returns it.

    Raises:
        OSError: The folder cannot be listed.
    """
    return {int(version.name): version for version in _folders(model, root) if _is_number(version.name)}


def _folders(folder: Path, root: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(folder.iterdir())
        if not entry.name.startswith(".") and entry.is_dir() and entry.resolve().is_relative_to(root)
    ]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 256 and int(name) < 2**63


def fingerprint(folder: Path) -> Fingerprint:
    """Return names, sizes and times of all files in a folder, none if it cannot be read: equal as long as nobody touched it."""
    try:
        files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    except OSError:
        return frozenset()
    return frozenset((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files)
