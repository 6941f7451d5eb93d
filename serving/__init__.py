"""Serving: numpy in, images out, and no TensorFlow.

An exported folder is served in TensorFlow Serving's REST dialect by an embedded server (`python -m serving run`); `Client`
asks it, or the real TensorFlow Serving, for images. The protocol is pure functions; the server and the client are thin.
"""

from serving.client import Client
from serving.description import Metadata, VersionStatus
from serving.errors import (
    BodyTooLargeError,
    BrokenVersionError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    ServingError,
    UnavailableError,
)

__all__ = [
    "BodyTooLargeError",
    "BrokenVersionError",
    "Client",
    "DeadlineExceededError",
    "InvalidArgumentError",
    "Metadata",
    "NotFoundError",
    "ServingError",
    "UnavailableError",
    "VersionStatus",
]
