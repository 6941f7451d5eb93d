"""Configurations: frozen dataclasses of plain values, to and from YAML. No TensorFlow here, so mistakes are answered at once."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from importlib import resources
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vae_tf.errors import ConfigError, did_you_mean

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "Piece",
    "TrainingConfig",
    "as_piece",
    "difference",
    "explain",
    "find",
    "flat",
    "preset",
    "preset_names",
    "read",
    "without_folders",
    "write",
]


def _named(value: Any) -> Any:
    """Let `bernoulli` stand for `{name: bernoulli}`."""
    return {"name": value} if isinstance(value, str) else value


def _piece(value: Any) -> Any:
    """Normalise a piece; what is no mapping is left to the type check that follows."""
    value = _named(value)
    if isinstance(value, dict) and not isinstance(value.get("name"), str):
        raise ValueError("a piece needs a `name`, such as {name: normal, scale: 0.1}")
    return value


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


# A piece by name with its options, `{name: normal, scale: 0.1}`; the options are checked against the piece when it is built.
Piece = Annotated[dict[str, Any], BeforeValidator(_piece)]

_NO_YAML = (yaml.YAMLError, ValueError, RecursionError)  # impossible dates, numbers and depths are not YAMLError
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Share = Annotated[float, Field(gt=0, lt=1)]
_Positive = Annotated[int, BeforeValidator(_no_truth), Field(ge=1, le=2**31 - 1)]
_Size = Annotated[int, BeforeValidator(_no_truth), Field(ge=1, le=2**16)]
_ONE, _SEVERAL = "one layer", "several layers"
_Sizes = Annotated[
    Annotated[_Size, Tag(_ONE)] | Annotated[tuple[_Size, ...], Field(min_length=1, max_length=32), Tag(_SEVERAL)],
    Discriminator(lambda value: _SEVERAL if isinstance(value, list | tuple) else _ONE),
]


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Which images, and how they are prepared.

    Attributes:
        source: `digits`, `tfds:NAME`, `folder:PATH` or `npz:PATH`.
        image_size: height and width to resize to; None keeps the size.
        channels: 1 for grey, 3 for RGB; None keeps what there is.
        binarize: `none`, or `dynamic` for new Bernoulli draws from the grey values in each epoch.
        corrupt: what the encoder sees in training in place of the image, which stays the target: `none` the image itself; `mask` with some
            pixels black; `salt-and-pepper` with some pixels black or white; `normal` with normal noise. Anew in each epoch. Validation
            and evaluation see clean images.
        corruption: how much: the share of pixels, or the standard deviation of the noise.
        validation: share of the training images held out, where the source has no validation split.
        test: share held out as test images, where the source has no test split.
        in_memory: whether images are held in memory; else they are converted once, into files in `$VAE_TF_CACHE`, and read from there batch
            by batch. No number depends on it. None: as the free memory suggests.
    """

    source: str
    image_size: Annotated[_Size, Field(le=4096)] | None = None
    channels: Literal[1, 3] | None = None
    binarize: Literal["none", "dynamic"] = "none"
    corrupt: Literal["none", "mask", "salt-and-pepper", "normal"] = "none"
    corruption: Annotated[float, BeforeValidator(_no_truth), Field(gt=0)] | None = None
    validation: _Share = 0.1
    test: _Share = 0.1
    in_memory: bool | None = None

    def __post_init__(self):
        if self.corrupt == "none":
            if self.corruption is not None:
                raise ConfigError(f"`data.corruption` {self.corruption:g} corrupts nothing: set `data.corrupt=mask` too, or leave it out.")
        elif self.corruption is None:
            raise ConfigError(f"`data.corrupt` {self.corrupt!r} needs a level, got none; set `data.corruption=0.25`.")
        elif self.corrupt != "normal" and self.corruption >= 1:
            raise ConfigError(f"`data.corruption` must be below 1 for {self.corrupt!r}, a share of pixels; got {self.corruption:g}.")


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The pieces of the model, each by name with its options.

    Attributes:
        latent_dim: number of latent coordinates; for several stochastic layers the size of each, top first, such as [20, 40].
        condition: what a label of an image is, which encoder, decoder and prior are then given; None for a model of images alone.
    """

    latent_dim: _Sizes
    encoder: Piece = field(default_factory=lambda: {"name": "mlp"})
    decoder: Piece = field(default_factory=lambda: {"name": "mlp"})
    posterior: Piece = field(default_factory=lambda: {"name": "diagonal-normal"})
    likelihood: Piece = field(default_factory=lambda: {"name": "bernoulli"})
    prior: Piece = field(default_factory=lambda: {"name": "standard-normal"})
    condition: Annotated[Piece | None, BeforeValidator(lambda value: None if value == "none" else value)] = None

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """The size of each stochastic layer, top first."""
        return (self.latent_dim,) if isinstance(self.latent_dim, int) else self.latent_dim


@dataclass(frozen=True, config=_STRICT)
class TrainingConfig:
    """How the weights are found.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per optimizer step; an incomplete last batch of an epoch is left out.
        learning_rate: Adam's step size.
        anneal: share of the training, at its end, over which the learning rate falls linearly to zero.
        average: decay of an exponential moving average of the weights over the steps, such as 0.999, which takes their place when the
            training ends (Polyak and Juditsky, 1992); None keeps the weights of the last step.
        jit_compile: compile the training step with XLA: faster for dense networks on a CPU, slower for convolutions. None: as the model,
            the machine and the length of the training suggest.
        steps_per_execution: optimizer steps in one call from Python. None: many where they are short. No number depends on it, save that
            rollbacks come between calls.
        precision: `bfloat16` rounds what convolutions and dense layers multiply in a training step, which some processors do faster;
            weights, sums, losses and all of evaluation are float32. None: for convolutions where the processor has instructions for it.
        non_finite: what follows a loss or weight that is no finite number: `stop` ends the training, `rollback` goes back to the weights
            and the optimizer of the beginning of the epoch and on with its other batches, ten times at most.
        patience: after how many epochs without a smaller `val_loss` the training ends early; its weights are then those of the epoch with
            the smallest. Epochs count from when the schedule of the objective is over. None trains all epochs and keeps the last weights.
    """

    epochs: _Positive = 20
    batch_size: _Positive = 100
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    anneal: Annotated[float, Field(ge=0, le=1)] = 0.5
    average: Annotated[float, BeforeValidator(_no_truth), Field(gt=0, lt=1)] | None = None
    jit_compile: bool | None = None
    steps_per_execution: _Positive | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    non_finite: Literal["stop", "rollback"] = "stop"
    patience: _Positive | None = None


@dataclass(frozen=True, config=_STRICT)
class Config:
    """A complete run: with the same data, machine and library versions it gives the same numbers.

    `objective` counts time in epochs: an option `X_epochs` becomes the piece's `X_steps`.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    objective: Piece = field(default_factory=lambda: {"name": "elbo"})
    seed: Annotated[int, BeforeValidator(_no_truth), Field(ge=0, lt=2**31)] = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """Check plain values and return the configuration.

        Raises:
            ConfigError: a key is unknown or missing, or a value has the wrong type or range.
        """
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            raise ConfigError(explain(error, cls)) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which `from_dict` makes an equal configuration."""
        return asdict(self)

    def override(self, assignments: Sequence[str]) -> "Config":
        """Return a copy with `section.key=value` assignments applied in order; values are YAML.

        Raises:
            ConfigError: an assignment is malformed, or names an unknown key, or gives a value of a wrong type.
        """
        values = self.to_dict()
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals or not path:
                raise ConfigError(f"`--set` must be section.key=value, got {assignment!r}; for example training.epochs=5.")
            try:
                value = yaml.safe_load(text)
            except _NO_YAML:
                raise ConfigError(f"`--set` {path}: the value {reprlib.repr(text)} is no YAML; quote it or close its brackets.") from None
            _assign(values, path.split("."), value, path)
        return Config.from_dict(values)


def as_piece(section: str, value: Any) -> dict[str, Any]:
    """Return a piece inside the options of another, a prior, as `Piece` would have it; the default prior for None.

    Raises:
        ConfigError: the value is no piece.
    """
    try:
        return TypeAdapter(Piece).validate_python(asdict(ModelConfig(1))["prior"] if value is None else value)
    except ValidationError as error:
        raise ConfigError(f"`{section}`: {error.errors()[0]['msg']}.") from None


def preset_names() -> list[str]:
    """Return the names of the configurations that come with the package."""
    return sorted(item.name.removesuffix(".yaml") for item in resources.files("vae_tf.presets").iterdir() if item.name.endswith(".yaml"))


def preset(name: str) -> Config:
    """Return a named configuration.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in preset_names():
        raise ConfigError(f"`preset` {name!r} does not exist.{did_you_mean(name, preset_names())}")
    return _parse((resources.files("vae_tf.presets") / f"{name}.yaml").read_text(), f"preset {name!r}")


def read(path: str | Path) -> Config:
    """Return the configuration in a YAML file.

    Raises:
        ConfigError: the file is missing, is no YAML, or is no configuration.
    """
    try:
        return _parse(Path(path).read_text(), str(path))
    except OSError as error:
        raise ConfigError(f"`{path}` can not be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{path}` is no text file.") from None


def find(name: str) -> Config:
    """Return the configuration in a YAML file, or else the named one.

    Raises:
        ConfigError: as `read` and `preset`.
    """
    return read(name) if name.endswith((".yaml", ".yml")) else preset(name)


def write(config: Config, path: str | Path) -> None:
    """Write the complete configuration as YAML."""
    Path(path).write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))


def difference(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return the first key in which two unequal trees of plain values differ, with both values."""
    old, new = flat(stored), flat(given)
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"


def without_folders(source: str) -> str:
    """Return a data source as others may read it: of `folder:PATH` and `npz:PATH` only the last component of the path."""
    kind, _, place = source.partition(":")
    return f"{kind}:{PurePath(place).name}" if kind in ("folder", "npz") else source


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with the keys `section.key`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def explain(error: ValidationError, owner: Any) -> str:
    """Return one line for the first complaint of pydantic: the key, the rule, what came, the remedy.

    Args:
        error: what pydantic raised.
        owner: the dataclass at the root, whose fields are the known keys; or a mapping of key to type.
    """
    complaint = error.errors(include_url=False)[0]
    parts = [str(part) for part in complaint["loc"] if part not in (_ONE, _SEVERAL)]
    key, kind = ".".join(parts), complaint["type"]
    if isinstance(reason := complaint.get("ctx", {}).get("error"), ConfigError):
        return str(reason)  # it says all of that already
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key `{key}`.{did_you_mean(parts[-1], _keys(owner, parts[:-1]))}"
    if kind in ("missing", "missing_argument"):
        return f"`{key}` is required and missing."
    return f"`{key}`: {complaint['msg']}, got {reprlib.repr(complaint['input'])}."


def _parse(text: str, where: str) -> Config:
    try:
        values = yaml.safe_load(text)
    except _NO_YAML as error:
        raise ConfigError(f"{where} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be a mapping with the sections {', '.join(_keys(Config, []))}.")
    return Config.from_dict(values)


def _assign(values: dict[str, Any], path: list[str], value: Any, whole: str) -> None:
    *parents, last = path
    for index, part in enumerate(parents):
        if part in values:
            values[part] = _named(values[part])
        if part not in values and isinstance(values.get("name"), str):  # a piece inside a piece
            if last != "name":
                raise ConfigError(f"`--set` {whole}: choose the piece first, by {'.'.join(path[: index + 1])}=NAME.")
            values[part] = {}
        if not isinstance(values.get(part), dict):
            known = _keys(Config, path[:index])
            raise ConfigError(f"`--set` {whole}: unknown section `{'.'.join(path[: index + 1])}`.{did_you_mean(part, known)}")
        values = values[part]
    values[last] = value


def _keys(owner: Any, path: list[str]) -> list[str]:
    """Return the keys known below `path` in a tree of dataclasses, or in a flat mapping."""
    for part in path:
        owner = owner.__dataclass_fields__[part].type if part in getattr(owner, "__dataclass_fields__", {}) else {}
    fields = getattr(owner, "__dataclass_fields__", owner)
    return list(fields if not get_args(owner) else [])
