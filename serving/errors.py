"""What can go wrong, as a tree. Each error has the name and HTTP status that TensorFlow Serving gives to its kind.

ServingError                    UNKNOWN              500
├── InvalidArgumentError        INVALID_ARGUMENT     400   a request or an argument that cannot be answered as asked
│   └── BodyTooLargeError       INVALID_ARGUMENT     413   a request body over the limit (the real server has none)
├── NotFoundError               NOT_FOUND            404   a model, version or folder that is not there
├── BrokenVersionError          FAILED_PRECONDITION  400   an exported folder that must not be served
├── UnavailableError            UNAVAILABLE          503   a server that cannot be reached or cannot answer now
└── DeadlineExceededError       DEADLINE_EXCEEDED    504   no answer within the time allowed
"""

from http import HTTPStatus

__all__ = [
    "BodyTooLargeError",
    "BrokenVersionError",
    "DeadlineExceededError",
    "InvalidArgumentError",
    "NotFoundError",
    "ServingError",
    "UnavailableError",
    "error_for",
    "one_line",
]


class ServingError(Exception):
    """Base of all errors of this package.

    Args:
        message: One line for the person who has to mend it.
        status: HTTP status, where it differs from that of the class.
    """

    code = "UNKNOWN"
    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    exit_code = 1

    def __init__(self, message: str, *, status: int | None = None):
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status


class InvalidArgumentError(ServingError, ValueError):
    """A request or an argument that cannot be answered as asked."""

    code = "INVALID_ARGUMENT"
    status = HTTPStatus.BAD_REQUEST
    exit_code = 2


class BodyTooLargeError(InvalidArgumentError):
    """A request body over the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotFoundError(ServingError):
    """A model, a version or a folder that is not there."""

    code = "NOT_FOUND"
    status = HTTPStatus.NOT_FOUND
    exit_code = 2


class BrokenVersionError(ServingError):
    """An exported folder that must not be served."""

    code = "FAILED_PRECONDITION"
    status = HTTPStatus.BAD_REQUEST


class UnavailableError(ServingError):
    """A server that cannot be reached or cannot answer now."""

    code = "UNAVAILABLE"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class DeadlineExceededError(ServingError):
    """No answer within the time allowed."""

    code = "DEADLINE_EXCEEDED"
    status = HTTPStatus.GATEWAY_TIMEOUT


def error_for(status: int, message: str) -> ServingError:
    """Return the error that stands for an HTTP status: the server's tree, rebuilt by the client."""
    kinds = (InvalidArgumentError, BodyTooLargeError, NotFoundError, UnavailableError, DeadlineExceededError)
    kind = next((kind for kind in kinds if kind.status == status), ServingError)
    return kind(message, status=status)


def one_line(text: object) -> str:
    """Write what somebody else says on one line."""
    return " ".join(str(text).split())
