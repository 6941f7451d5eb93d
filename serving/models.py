"""Which version of each model serves: the newest that loads, as TensorFlow Serving's policy `latest 1` has it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from serving.description import VersionStatus
from serving.engine import Engine
from serving.errors import BrokenVersionError, InvalidArgumentError, NotFoundError
from serving.repository import Fingerprint, fingerprint, list_models, list_versions, open_repository

__all__ = ["Models", "Servable"]

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Servable:
    """A loaded version. A request holds it until it is answered, whatever is served by then."""

    name: str
    version: int
    engine: Engine


@final
class Models:
    """The models of a folder.

    A new version is checked, loaded and warm before the old one is let go. A broken version is reported and the old one
    keeps serving; it is tried again when its files change. Removing the newest folder rolls back; removing all unloads.
    While nothing whole is left to roll back to, or a folder cannot be listed, what is in memory keeps serving.

    `refresh` runs in one thread at a time; the other methods may run beside it, because all they read is replaced
    by single assignments, never changed in place.

    Args:
        root: The models folder.

    Raises:
        NotFoundError: It is not there.
        InvalidArgumentError: It is one model, with its versions inside.
    """

    def __init__(self, root: Path):
        self.root = open_repository(root)
        self._serving: dict[str, Servable] = {}
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._refused: dict[Path, Fingerprint] = {}
        self._failures: set[str] = set()

    def names(self) -> list[str]:
        """Return the models that answer now."""
        return sorted(self._serving)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """Return the version that answers.

        Raises:
            NotFoundError: There is none.
            InvalidArgumentError: A label was given; no version has one.
        """
        if label is not None:
            raise InvalidArgumentError(f"Unrecognized servable version label: {label}")
        servable = self._serving.get(name)
        if servable is None or version not in (None, servable.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise NotFoundError(f"Servable not found for request: {wanted}")
        return servable

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the status of all versions ever seen, newest first, or of one.

        Raises:
            NotFoundError: None was seen.
        """
        statuses = self._statuses.get(name, {})
        if version is None and statuses:
            return sorted(statuses.values(), key=lambda status: -status.version)
        if version in statuses:
            return [statuses[version]]
        raise NotFoundError(
            f"Could not find any versions of model {name}" if version is None else f"Could not find version {version} of model {name}"
        )

    def refresh(self) -> None:
        """Look at the folder once and load or let go what changed."""
        failures = set(self._look())
        for failure in sorted(failures - self._failures):  # each is said once, not at every look
            logger.warning(failure)
        self._failures = failures

    def _look(self) -> Iterator[str]:
        """Refresh all models and yield what stood in the way; one that cannot be listed holds up no other."""
        try:
            models = list_models(self.root)
        except OSError as error:  # a vanished mount must not take the service down
            yield _unlisted(error)
            return
        for name in sorted(models.keys() | self._serving.keys()):
            try:
                self._refresh_model(name, list_versions(models[name], self.root) if name in models else {})
            except OSError as error:
                yield _unlisted(error)

    def _refresh_model(self, name: str, folders: dict[int, Path]) -> None:
        current = self._serving.get(name)
        for version in sorted(folders, reverse=True):
            if current and current.version == version:
                return
            servable = self._load(name, version, folders[version])
            if servable:
                self._serving = {**self._serving, name: servable}
                self._report(name, VersionStatus(version, "AVAILABLE"))
                break
        else:
            if folders or not current:
                return
            self._serving = {other: servable for other, servable in self._serving.items() if other != name}
        if current:
            self._report(name, VersionStatus(current.version, "END"))

    def _load(self, name: str, version: int, folder: Path) -> Servable | None:
        files = fingerprint(folder)
        if self._refused.get(folder) == files:
            return None
        self._report(name, VersionStatus(version, "LOADING"))
        try:
            return Servable(name, version, Engine(folder))
        except BrokenVersionError as error:
            self._refused[folder] = files
            self._report(name, VersionStatus(version, "END", error.code, error.message))
            return None

    def _report(self, name: str, status: VersionStatus) -> None:
        self._statuses = {**self._statuses, name: {**self._statuses.get(name, {}), status.version: status}}
        level = logging.ERROR if status.error_message else logging.INFO
        logger.log(level, "%s version %d: %s", name, status.version, status.error_message or status.state)


def _unlisted(error: OSError) -> str:
    return f"cannot list {error.filename} ({error.strerror}): what is served stays"
