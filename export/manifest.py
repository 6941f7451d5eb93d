"""manifest.json: what an exported folder says about itself, and whether its files are still what it says."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from export.errors import ArtifactError

__all__ = [
    "BOUNDED",
    "BOUNDED_MEANS",
    "MANIFEST",
    "UNBOUNDED",
    "VALUE_RANGE",
    "File",
    "Format",
    "GeneratorSpec",
    "Label",
    "Manifest",
    "NoisePart",
    "Parity",
    "Signature",
    "Tensor",
    "library_version",
    "record_files",
]

MANIFEST = "manifest.json"
VALUE_RANGE = (0.0, 1.0)
BOUNDED = "trained on values in [0, 1], and its means and draws lie there too"
BOUNDED_MEANS = "trained on values in [0, 1]; its means lie there too, and its draws may leave that range"
UNBOUNDED = "trained on values in [0, 1]; its means and draws may leave that range, and PNGs clip the means"


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"a file must lie inside the folder, got {path!r}")
    return path


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


@final
class Tensor(_Frozen):
    """A named tensor: its dtype (`float32`, `int32`, `string`) and its shape, -1 where any size goes."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, dtype: str, shape: Iterable[int | None]) -> "Tensor":
        """Write None in a shape as -1."""
        return cls(dtype=dtype, shape=tuple(-1 if size is None else size for size in shape))

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join('batch' if size == -1 else str(size) for size in self.shape)}]"


@final
class Signature(_Frozen):
    """One function of the model: named inputs to named outputs."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def __str__(self) -> str:
        sides = (", ".join(f"{name} {tensor}" for name, tensor in side.items()) for side in (self.inputs, self.outputs))
        return " -> ".join(sides)


@final
class NoisePart(_Frozen):
    """Some neighbouring values of the noise, by what they are for."""

    name: str
    size: PositiveInt


@final
class Label(_Frozen):
    """What a label is: a class from 0 to size - 1, perhaps with a name, or a vector of `size` numbers."""

    kind: Literal["class", "vector"]
    size: PositiveInt
    names: tuple[str, ...] | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """Number and name of each class, where the names say more than the numbers."""
        numbered = tuple(f"{number} {name}" for number, name in enumerate(self.names or ()))
        return () if numbered == tuple(f"{number} {number}" for number in range(len(numbered))) else numbered

    def __str__(self) -> str:
        return f"a class from 0 to {self.size - 1}" if self.kind == "class" else f"a vector of {self.size} numbers"


@final
class GeneratorSpec(_Frozen):
    """The generator: noise [B, latent_dim], and a label per row where images have one, to images [B, H, W, C].

    Attributes:
        latent_dim: values of noise per image.
        noise_layout: what they are for, in their order; None in manifests that do not say.
        label: what a label is; None where images have none.
        image_shape: (H, W, C).
        value_range: of the images that it was trained on; its own may leave it, as `values` says.
        values: what its images hold, in words.
        noise: the distribution of its input.
    """

    latent_dim: PositiveInt
    noise_layout: tuple[NoisePart, ...] | None = None
    label: Label | None = None
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    value_range: tuple[float, float] = VALUE_RANGE
    values: str = UNBOUNDED
    noise: str = "z ~ N(0, I)"

    @model_validator(mode="after")
    def _complete_layout(self) -> "GeneratorSpec":
        if self.noise_layout is not None and sum(part.size for part in self.noise_layout) != self.latent_dim:
            found = sum(part.size for part in self.noise_layout)
            raise ValueError(f"`noise_layout` must sum to the {self.latent_dim} values of noise, got {found}")
        return self


@final
class Parity(_Frozen):
    """How far an output was from the source, at most, over all probes.

    Attributes:
        largest: measured.
        tolerance: what it may be.
        measure: what was measured, in words.
    """

    largest: float
    tolerance: float
    measure: str


@final
class Format(_Frozen):
    """One form of the model, the signatures that it holds, and the parity of each output."""

    path: str
    signatures: tuple[str, ...]
    opset: int | None = None
    parity: dict[str, Parity]


@final
class File(_Frozen):
    """Size and checksum of one file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: NonNegativeInt

    @classmethod
    def of(cls, path: Path) -> "File":
        """Read a file and sum it up."""
        with path.open("rb") as file:
            return cls(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


@final
class Manifest(_Frozen):
    """All that an exported folder says about itself; `files` names every file but the manifest, by its path with slashes.

    A key that is left out says what null would. `schema_version` counts changes that an older reader would misunderstand: one that
    knows no labels finds an input of the signatures that it does not know, and leaves the folder alone.
    `provenance` is of free form; `export` keeps the run's configuration as it was, with the paths of the machine that trained it.
    """

    schema_version: Literal[1] = 1
    name: str
    version: PositiveInt
    created: datetime
    generator: GeneratorSpec
    signatures: dict[str, Signature]
    formats: dict[str, Format]
    files: dict[Annotated[str, AfterValidator(_inside)], File]
    provenance: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write it into the folder that it describes."""
        (folder / MANIFEST).write_text(self.model_dump_json(indent=1, exclude_none=True) + "\n")

    @classmethod
    def read(cls, folder: str | Path) -> "Manifest":
        """Read the manifest of an exported folder.

        Raises:
            ArtifactError: there is none, or it does not follow the schema.
        """
        path = Path(folder, MANIFEST)
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"`{folder}` is no exported folder: {MANIFEST}: {error.strerror}; name MODELS/NAME/VERSION.") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"])) or MANIFEST
            raise ArtifactError(f"`{path}` is damaged: `{key}`: {first['msg']}; export the version again.") from None

    def damage(self, folder: Path) -> dict[str, str]:
        """Return what is wrong with the files of a folder, by path; empty when every checksum holds and nothing was added."""
        found = record_files(folder)
        wrong = {path: "missing" if path not in found else "changed" for path, file in self.files.items() if found.get(path) != file}
        return wrong | {path: "not in the manifest" for path in found if path not in self.files}


def record_files(folder: Path) -> dict[str, File]:
    """Return size and checksum of every file in a folder but the manifest, by its path with slashes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): File.of(path) for path in paths}


def library_version(name: str) -> str:
    """Return the version of an installed library; the project itself may also run from a checkout."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "checkout"
