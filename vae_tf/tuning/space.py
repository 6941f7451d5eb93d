"""What is searched: settings of a configuration, each with the values that it may take.

A setting is written as it is for `--set`, with its values behind the equals sign:

    model.latent_dim=8,16,32                 choices, with commas between them; each is YAML
    training.learning_rate=1e-4..1e-2:log    a range, both ends included; `:log` searches orders of magnitude evenly
    training.batch_size=50..400:int          whole numbers only; `:int` and `:log` go together
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import yaml

from vae_tf.config import Config
from vae_tf.errors import ConfigError

__all__ = ["Choices", "Range", "Setting", "Space", "Value", "refusal"]

Value = float | int | str

_GRAMMAR = (
    "section.key=VALUES: values with commas between them, such as model.latent_dim=8,16,32, or a range with two points, such as "
    "training.learning_rate=1e-4..1e-2:log, with :log, :int or both behind it"
)
_DATA = ("data.corrupt", "data.corruption")  # of the data, all that leaves the validation images as they are
_DIGITS = 4  # significant ones of a value from a range, so that a person can write it down


@final
@dataclass(frozen=True)
class Choices:
    """A setting that takes one of several values.

    Attributes:
        key: where it stands in a configuration, with points.
        texts: the values as YAML, at least 2.
    """

    key: str
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.texts)}"

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to be tried before a search: all."""
        return self.texts

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.texts)

    def at(self, place: int) -> Value:
        """Return a value by its place, from 0."""
        return self.texts[place]

    def text(self, value: Value) -> str:
        """Return a value as YAML."""
        return str(value)

    def of(self, config: Config) -> Value | None:
        """Return the value in a configuration, None if it is none of the choices."""
        return next((text for text in self.texts if _overridden(config, self.key, text) == config), None)


@final
@dataclass(frozen=True)
class Range:
    """A setting that takes any number of a range.

    Attributes:
        key: where it stands in a configuration, with points.
        low: the least.
        high: the largest.
        log: search orders of magnitude evenly.
        integer: whole numbers only.
    """

    key: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self):
        given = f"got {self.low:g}..{self.high:g}"
        if not -math.inf < self.low < self.high < math.inf:
            raise ConfigError(f"`--search` {self.key}: a range must begin below its end, and both be finite; {given}.")
        if self.log and self.low <= 0:
            raise ConfigError(f"`--search` {self.key}: with :log a range must begin above 0; {given}.")
        if not self.integer and self.text(self.low) == self.text(self.high):
            raise ConfigError(
                f"`--search` {self.key}: both ends of the range are {self.text(self.low)} when rounded to {_DIGITS} digits; {given}."
            )
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ConfigError(f"`--search` {self.key}: with :int both ends must be whole numbers; {given}.")

    def __str__(self) -> str:
        return f"{self.key}={self.text(self.low)}..{self.text(self.high)}{':log' * self.log}{':int' * self.integer}"

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to be tried before a search: both ends, and a fraction between them where there may be one."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        half = math.floor(middle) + 0.5
        return (self.low, self.high) if self.integer else (self.low, self.high, half if self.low < half < self.high else middle)

    @property
    def size(self) -> int | None:
        """How many values there are, None for fractions."""
        return int(self.high) - int(self.low) + 1 if self.integer else None

    def at(self, place: int) -> Value:
        """Return a whole number by its place, from 0."""
        return int(self.low) + place

    def text(self, value: Value) -> str:
        """Return a value as YAML, with as many digits as a person would write."""
        return str(int(value)) if self.integer else f"{float(value):.{_DIGITS}g}"

    def of(self, config: Config) -> Value | None:
        """Return the value in a configuration, None if it is outside of the range, or a fraction where whole numbers are searched."""
        value: Any = config.to_dict()
        for part in self.key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return None
        if not self.integer:
            return value
        return int(value) if float(value).is_integer() else None


Setting = Choices | Range


@final
@dataclass(frozen=True)
class Space:
    """Settings to be searched together.

    Attributes:
        settings: at least one, each of another key.
    """

    settings: tuple[Setting, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Space":
        """Read settings as a person writes them.

        Raises:
            ConfigError: one is malformed, stands there twice, or would change what trials are compared by.
        """
        settings = tuple(_parse(text) for text in texts)
        keys = [setting.key for setting in settings]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"`--search` {key} stands there {keys.count(key)} times; put all of its values into one.")
            if key == "seed":
                raise ConfigError("`--search` seed would find luck, not a setting; train the best settings with several seeds instead.")
            if key.split(".")[0] == "data" and key not in _DATA:
                raise ConfigError(
                    f"`--search` {key} would change the images by which trials are compared; of the data, only {' and '.join(_DATA)} can "
                    "be searched."
                )
        return cls(settings)

    @classmethod
    def default(cls, config: Config) -> "Space":
        """Return what is worth a search whatever the model: learning rate, batch size, number of latents, length of the warm-up.

        The number of latents is left out where there are several layers, or a plane on purpose; the warm-up where there is none.
        """
        training, latents, warmup = config.training, config.model.latent_dim, config.objective.get("warmup_epochs")
        settings = [
            Range("training.learning_rate", training.learning_rate / 5, training.learning_rate * 5, log=True),
            Range("training.batch_size", max(1, training.batch_size // 2), training.batch_size * 2, log=True, integer=True),
        ]
        if isinstance(latents, int) and latents > 2:
            settings.append(Range("model.latent_dim", latents // 2, latents * 2, log=True, integer=True))
        if warmup is not None:
            settings.append(Range("objective.warmup_epochs", 0, max(1, training.epochs // 4, math.ceil(warmup)), integer=True))
        return cls(tuple(settings))

    def config(self, base: Config, values: Mapping[str, Value]) -> Config:
        """Return a configuration with the values of a trial.

        Args:
            base: all other settings.
            values: of each setting, by key.

        Raises:
            ConfigError: it can not work.
        """
        return base.override([f"{setting.key}={setting.text(values[setting.key])}" for setting in self.settings])

    def values_of(self, config: Config) -> dict[str, Value] | None:
        """Return the values in a configuration; None if one is not in the space."""
        values = {setting.key: setting.of(config) for setting in self.settings}
        return None if None in values.values() else values  # type: ignore[return-value]

    @property
    def size(self) -> int | None:
        """How many different trials there are; None where a setting may be any fraction of a range."""
        sizes = [setting.size for setting in self.settings]
        return None if None in sizes else math.prod(sizes)  # type: ignore[arg-type]

    def at(self, place: int) -> dict[str, Value]:
        """Return the values of one of the trials of a space that has a `size`, by its place, from 0."""
        values = {}
        for setting in self.settings:
            place, own = divmod(place, setting.size)  # type: ignore[operator]
            values[setting.key] = setting.at(own)
        return values

    def ends(self, base: Config) -> Iterator[tuple[Setting, Value, Config]]:
        """Yield configurations at the ends of the space, each with the setting and the value that it tries.

        One setting at a time goes through its ends, and the others stand at their first values.

        Raises:
            ConfigError: one can not work, or two choices are the same.
        """
        first = {setting.key: setting.ends[0] for setting in self.settings}
        for setting in self.settings:
            found: list[tuple[Value, Config]] = []
            for value in setting.ends:
                try:
                    config = self.config(base, first | {setting.key: value})
                except ConfigError as error:
                    raise refusal(setting, value, error) from None
                if isinstance(setting, Choices) and (same := [other for other, seen in found if seen == config]):
                    raise ConfigError(f"`--search` {setting.key} has a value twice: {same[0]} is {value}.")
                found.append((value, config))
                yield setting, value, config

    def __str__(self) -> str:
        return " ".join(map(str, self.settings))


def refusal(setting: Setting, value: Value, reason: object) -> ConfigError:
    """Return the error that says why a value of a setting can not work."""
    fraction = isinstance(setting, Range) and value not in (setting.low, setting.high)
    hint = f" Where only whole numbers work, write {setting}:int." if fraction else ""
    return ConfigError(f"`--search` {setting}: {setting.key}={setting.text(value)} can not work: {reason}{hint}")


def _parse(text: str) -> Setting:
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise ConfigError(f"`--search` must be {_GRAMMAR}; got {text!r}.")
    if ".." in values and "[" not in values and "{" not in values:
        return _range(key, values)
    try:
        choices = yaml.safe_load(f"[{values}]")
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"`--search` {key}: the values {values!r} are no YAML; quote them or close their brackets.") from None
    texts = tuple(_yaml(choice) for choice in choices)
    if len(texts) < 2:
        raise ConfigError(f"`--search` {key} has one value, {values}, and nothing to choose from; give it by --set {text}.")
    if len(set(map(_meaning, choices))) < len(choices):
        raise ConfigError(f"`--search` {key} has a value twice: {values}.")
    return Choices(key, texts)


def _range(key: str, text: str) -> Range:
    ends, *flags = text.split(":")
    try:
        low, high = map(float, ends.split(".."))
    except ValueError:
        raise ConfigError(f"`--search` {key}: a range must be two numbers with two points between them; got {ends!r}.") from None
    if unknown := [flag for flag in flags if flag not in ("log", "int")]:
        raise ConfigError(f"`--search` {key}: behind a range stand :log, :int or both; got :{unknown[0]}.")
    return Range(key, low, high, log="log" in flags, integer="int" in flags)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf).removesuffix("\n").removesuffix("\n...")


def _meaning(value: Any) -> str:
    """Return what two ways to write a value have in common: to YAML, 1e-3 is a text."""
    if isinstance(value, dict):
        return str({key: _meaning(value[key]) for key in sorted(value, key=str)})
    if isinstance(value, list):
        return str([_meaning(one) for one in value])
    if isinstance(value, bool):
        return str(value)
    try:
        return str(float(value))
    except (TypeError, ValueError, OverflowError):
        return repr(value)


def _overridden(config: Config, key: str, text: str) -> Config | None:
    try:
        return config.override([f"{key}={text}"])
    except ConfigError:
        return None
