"""The models folder: MODELS/<name>/<version>/, listed and never guessed.

A name from a request is only ever looked up in such a listing, so no request can reach any other path. Symbolic links
count as long as they lead to a place inside the models folder.
"""

from pathlib import Path

from serving.errors import NotFoundError

__all__ = ["Fingerprint", "fingerprint", "list_versions", "open_repository"]

Fingerprint = frozenset[tuple[str, int, int]]


def open_repository(models: Path) -> Path:
    """Return the models folder as an absolute path without links.

    Raises:
        NotFoundError: It is not there.
    """
    if not models.is_dir():
        raise NotFoundError(f"`models` must be an existing folder with NAME/VERSION/ inside, got {models}")
    return models.resolve()


def list_versions(root: Path) -> dict[str, dict[int, Path]]:
    """List all version folders by model name and number; other entries and hidden ones are passed over.

    Args:
        root: The models folder, as `open_repository` returns it.

    Raises:
        OSError: The folder cannot be listed.
    """
    return {
        model.name: {int(version.name): version for version in _folders(model, root) if _is_number(version.name)}
        for model in _folders(root, root)
    }


def _folders(folder: Path, root: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(folder.iterdir())
        if not entry.name.startswith(".") and entry.is_dir() and entry.resolve().is_relative_to(root)
    ]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 19


def fingerprint(folder: Path) -> Fingerprint:
    """Return names, sizes and times of all files in a folder: equal as long as nobody touched it."""
    files = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return frozenset((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files)
