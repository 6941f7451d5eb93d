"""Export: the frozen generator of a trained run, as a folder that serves without the training code.

Names are loaded when first used, so that a command line can answer a mistake before TensorFlow has started.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "export": "recipe",
    "Manifest": "manifest",
    "ArtifactError": "errors",
    "ConversionError": "errors",
    "ExportError": "errors",
    "TargetError": "errors",
    "VerificationError": "errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(import_module(f"export.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
