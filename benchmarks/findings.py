"""What the benchmarks share that train rows of settings: which findings still hold, where they were made, and the document made of them."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vae_tf.config import Config, DataConfig, ModelConfig, flat
from vae_tf.files import replacing

__all__ = ["digest", "estimate", "origin", "read", "render", "settings", "write"]

_CHOICES = ("data.in_memory", *(f"training.{name}" for name in ("jit_compile", "steps_per_execution", "precision")))  # rounding, if at all


def read(path: Path) -> dict[str, Any]:
    """Return what was found before; nothing, if it is not there or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write what was found."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1))


def settings(config: Config) -> dict[str, Any]:
    """Return what tells two trainings apart: a setting that is younger than a finding, and at its default, leaves the finding valid."""
    plain = flat(Config(data=DataConfig(source=""), model=ModelConfig(latent_dim=1)).to_dict())
    return {name: value for name, value in flat(config.to_dict()).items() if name not in _CHOICES and plain.get(name) != value}


def digest(value: Any) -> str:
    """Return a short name of a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def origin() -> dict[str, str]:
    """Return where and when something was found."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "tensorflow": metadata.version("tensorflow"),
        "date": date.today().isoformat(),
    }


def render(template: Path, document: Path, filters: Mapping[str, Callable[..., str]], **values: Any) -> None:
    """Write a document from a template beside the benchmarks."""
    environment = Environment(loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"estimate": estimate, **filters}
    text = environment.get_template(template.name).render(**values)
    with replacing(document) as temporary:
        temporary.write_text(text)


def estimate(value: Mapping[str, Any], sign: int = 1, digits: int = 2) -> str:
    """Return a stored `Estimate` as a reader sees it."""
    return f"{sign * value['value']:.{digits}f} ± {value['standard_error']:.{digits}f}"
