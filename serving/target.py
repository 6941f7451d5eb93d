"""What a URL asks for: TensorFlow Serving's two path patterns, with the original's exceptions."""

import re
from dataclasses import dataclass
from typing import final
from urllib.parse import unquote

from serving.errors import InvalidArgumentError

__all__ = ["Target", "parse_target"]

_VERSION_OR_LABEL = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_POST = re.compile(rf"(?i)/v1/models/(?P<model>[^/:]+){_VERSION_OR_LABEL}:(?P<verb>classify|regress|predict)", re.ASCII)
_GET = re.compile(rf"(?i)/v1/models(?:/(?P<model>[^/:]+))?{_VERSION_OR_LABEL}(?:/(?P<verb>metadata))?", re.ASCII)
_LARGEST_VERSION = 2**63 - 1


@final
@dataclass(frozen=True)
class Target:
    """A model, perhaps one version or label of it, and what to do with it."""

    verb: str  # predict, status or metadata
    model: str
    version: int | None = None
    label: str | None = None


def parse_target(method: str, path: str) -> Target:
    """Read a request line.

    Args:
        method: HTTP method.
        path: The path as sent, percent-encoded and with the query string: a query breaks the match, as in the original.

    Returns:
        What is asked for.

    Raises:
        InvalidArgumentError: The path fits neither pattern. The message is empty where the original sends no body.
    """
    malformed = InvalidArgumentError(f"Malformed request: {method} {path}")
    match = {"POST": _POST, "GET": _GET}[method].fullmatch(path) if method in ("POST", "GET") else None
    if match is None:
        raise malformed
    model, version, label, verb = match.group("model", "version", "label", "verb")
    if model is None:
        raise InvalidArgumentError("Missing model name in request.")
    number = None
    if version is not None:
        digits = version.lstrip("0") or "0"  # Python refuses to read thousands of digits, zeros included
        if len(digits) > 19 or int(digits) > _LARGEST_VERSION:
            raise InvalidArgumentError("")
        number = int(digits)
    if method == "GET":
        verb = "metadata" if verb == "metadata" else "status"
    elif verb in ("classify", "regress"):
        raise InvalidArgumentError(f":{verb} takes tf.Example records, which a generator does not read: use :predict")
    elif verb != "predict":  # the pattern ignores case, the comparison does not
        raise malformed
    return Target(verb, unquote(model), number, None if label is None else unquote(label))
