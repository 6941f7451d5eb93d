"""manifest.json: what an exported version says about itself, and whether its files are still what it says."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, final

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from serving.errors import BrokenVersionError

__all__ = ["File", "Format", "Generator", "Label", "Manifest", "Signature", "TensorSpec", "check_files", "read_manifest"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


@final
class TensorSpec(_Frozen):
    """A named tensor: its dtype (`float32`, `int32`, `string`) and its shape, -1 where any size goes."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@final
class Signature(_Frozen):
    """One function of the model: named inputs to named outputs."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def __str__(self) -> str:
        return " -> ".join(", ".join(f"{name} {spec}" for name, spec in tensors.items()) for tensors in (self.inputs, self.outputs))


@final
class Label(_Frozen):
    """What a label is: a class from 0 to size - 1, int32 [B], or a vector of `size` numbers, float32 [B, size]."""

    kind: Literal["class", "vector"]
    size: PositiveInt

    @property
    def spec(self) -> TensorSpec:
        """The input that takes it."""
        return TensorSpec(dtype="int32", shape=(-1,)) if self.kind == "class" else TensorSpec(dtype="float32", shape=(-1, self.size))


@final
class Generator(_Frozen):
    """The generator: noise [B, latent_dim], and a label per row where there is one, to images [B, H, W, C] in `value_range`."""

    latent_dim: PositiveInt
    label: Label | None = None
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    value_range: tuple[float, float]
    noise: str

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """What an image is made of, by name."""
        z = {"z": TensorSpec(dtype="float32", shape=(-1, self.latent_dim))}
        return z if self.label is None else z | {"label": self.label.spec}


@final
class Format(_Frozen):
    """One form of the model, and the signatures that it holds."""

    path: str
    signatures: tuple[str, ...]


@final
class File(_Frozen):
    """Size and checksum of one file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: NonNegativeInt


@final
class Manifest(_Frozen):
    """All that is read of manifest.json here. Keys that are not named are left to others."""

    schema_version: Literal[1]
    name: str
    version: PositiveInt
    generator: Generator
    signatures: dict[str, Signature]
    formats: dict[str, Format]
    files: dict[str, File]


def read_manifest(folder: Path) -> Manifest:
    """Read and validate `folder/manifest.json`.

    Raises:
        BrokenVersionError: It is missing, is not JSON, or does not follow the schema.
    """
    path = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BrokenVersionError(f"no manifest.json in {folder}: export the version again") from None
    except OSError as error:
        raise BrokenVersionError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BrokenVersionError(f"{path}: {f'`{where}`: ' if where else ''}{first['msg']}") from None


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file named in the manifest with its recorded size and SHA-256.

    Raises:
        BrokenVersionError: A file is missing or changed, or lies outside the version folder.
    """
    root = folder.resolve()
    for name, recorded in manifest.files.items():
        try:
            path = (root / PurePosixPath(name)).resolve()
            if not path.is_relative_to(root):
                raise BrokenVersionError(f"{name} in the manifest of {folder} lies outside the version folder")
            size = path.stat().st_size
            if size != recorded.bytes:
                raise BrokenVersionError(
                    f"{folder / name} holds {size} bytes, its manifest says {recorded.bytes}: export the version again"
                )
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, RuntimeError, ValueError) as error:  # the last two: a loop of links, a null byte in the name
            raise BrokenVersionError(f"{folder / name} is in the manifest but cannot be read: {error}") from None
        if digest != recorded.sha256:
            raise BrokenVersionError(f"the checksum of {folder / name} is not the one in its manifest: export the version again")
