"""Client for TensorFlow Serving's REST dialect: the same calls work against the embedded server and the real one."""

import base64
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, final
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import ArrayLike
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from serving.description import Metadata, VersionStatus, read_metadata, read_status
from serving.errors import DeadlineExceededError, InvalidArgumentError, NotFoundError, ServingError, UnavailableError, error_for, one_line
from serving.labels import for_each, label_spec, rows_of

__all__ = ["Client"]

_ROWS_PER_REQUEST = 128  # the largest batch of tf_serving/batching.config
_LARGEST_LATENT = 1_000_000

# What reading JSON of another make can raise; the last three: a list for an object, 1e999 for a size, brackets without end.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)

Answer = TypeVar("Answer")


@final
class Client:
    """Ask a server for images.

    A server that cannot be reached or answers 503 is asked again after 0.1, 0.2, 0.4, ... at most 2 seconds.

    Args:
        url: Where the server is, such as `http://localhost:8501`.
        timeout_s: Seconds to wait for a connection, and for each answer.
        retries: How often a request is repeated at most.
        transport: The way to the server; by default the network.

    Raises:
        InvalidArgumentError: The URL is no HTTP address.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, retries: int = 3, transport: httpx.BaseTransport | None = None):
        try:
            self._url = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise InvalidArgumentError(f"`url` is not an address ({one_line(error)}), got {url!r}") from None
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise InvalidArgumentError(f"`url` must look like http://localhost:8501, got {url!r}")
        self._http = httpx.Client(base_url=self._url, timeout=timeout_s, transport=transport)
        self._retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            stop=stop_after_attempt(retries + 1),
            wait=wait_exponential(multiplier=0.1, max=2.0),
            reraise=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def status(self, model: str) -> list[VersionStatus]:
        """Return the versions of a model that the server knows, newest first.

        Raises:
            ServingError: As the server answered; `NotFoundError` for an unknown model.
        """
        return self._ask("GET", _path(model, None), read_status)

    def metadata(self, model: str, version: int | None = None) -> Metadata:
        """Return the version that answers and its signatures.

        Raises:
            ServingError: As the server answered; `NotFoundError` for an unknown model.
        """
        return self._ask("GET", _path(model, version) + "/metadata", read_metadata)

    def decode(self, model: str, z: np.ndarray, label: ArrayLike | None = None, version: int | None = None) -> np.ndarray:
        """Turn noise into images: the mean of p(x | z).

        Args:
            model: Name of the model.
            z: Noise [B, D], N(0, I).
            label: For a model with labels: one class for all rows, or one per row, int [B] or float [B, K].
            version: Version; by default the one that serves.

        Returns:
            float32 [B, H, W, C], the means of p(x | z).

        Raises:
            ServingError: As the server answered; `InvalidArgumentError` for a `z` or a `label` that the model does not take.
        """
        pieces = self._predict(model, z, label, version, "serving_default", _read_images)
        if len({images.shape[1:] for images in pieces}) > 1:
            raise ServingError(f"{self._url} answered with images of several shapes: was {model} replaced? Name its `version`")
        return np.concatenate(pieces)

    def png(self, model: str, z: np.ndarray, label: ArrayLike | None = None, version: int | None = None) -> list[bytes]:
        """Turn noise into PNG files, 40 times smaller on the way than numbers.

        Args:
            model: Name of the model.
            z: Noise [B, D], N(0, I).
            label: As in `decode`.
            version: Version; by default the one that serves.

        Returns:
            B files.

        Raises:
            ServingError: As the server answered.
        """
        return [file for files in self._predict(model, z, label, version, "png", _read_files) for file in files]

    def generate(self, model: str, count: int, seed: int, label: ArrayLike | None = None, version: int | None = None) -> np.ndarray:
        """Generate images from noise drawn here: eps ~ N(0, I).

        Equal seeds give equal images from every server of the same version, and the images of one call are of one version.

        Args:
            model: Name of the model.
            count: Number of images.
            seed: Seed of the noise, at least 0.
            label: For a model with labels: one for all images, an int or K numbers, or one for each, [count] or [count, K]. It must be
                given: a server says what a label looks like, and not how many classes there are.
            version: Version; by default the one that serves.

        Returns:
            float32 [count, H, W, C], the means of p(x | z).

        Raises:
            ServingError: As the server answered; `InvalidArgumentError` for a `label` that is missing, too many or of another shape.
        """
        if count < 1 or seed < 0:
            raise InvalidArgumentError(f"`count` must be at least 1 and `seed` at least 0, got {count} and {seed}")
        metadata = self.metadata(model, version)
        try:
            eps = np.random.default_rng(seed).standard_normal((count, _latent_dim(metadata)), dtype=np.float32)
            return self.decode(model, eps, for_each(count, label, label_spec(model, metadata, label)), metadata.version)
        except NotFoundError:
            if version is not None:
                raise
        # The version was replaced between two requests: the one that replaced it answers.
        return self.generate(model, count, seed, label, self.metadata(model).version)

    def _predict(
        self,
        model: str,
        z: np.ndarray,
        label: ArrayLike | None,
        version: int | None,
        signature_name: str,
        read: Callable[[Any], Answer],
    ) -> list[Answer]:
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or not len(z):
            raise InvalidArgumentError(f"`z` must have shape [batch, latent] with at least one row, got {list(z.shape)}")
        instances = rows_of(z, label)
        path = _path(model, version) + ":predict"

        def ask(rows: list[Any]) -> Answer:
            body = json.dumps({"signature_name": signature_name, "instances": rows})
            return self._ask("POST", path, lambda answer: read(_counted(answer["predictions"], len(rows))), body)

        try:
            return [ask(instances[start : start + _ROWS_PER_REQUEST]) for start in range(0, len(z), _ROWS_PER_REQUEST)]
        except InvalidArgumentError as refusal:
            # A server words a label that is missing, or one too many, as a mistake in the JSON.
            try:
                metadata = self.metadata(model, version)
            except ServingError:
                raise refusal from None
            label_spec(model, metadata, label)
            raise

    def _ask(self, method: str, path: str, read: Callable[[Any], Answer], body: str | None = None) -> Answer:
        response = self._retrying(self._send, method, path, body)
        try:
            return read(response.json())
        except _MALFORMED:
            raise ServingError(f"{self._url} answered {path} in another dialect: is it a model server, and is this a generator?") from None

    def _send(self, method: str, path: str, body: str | None) -> httpx.Response:
        try:
            response = self._http.request(method, path, content=body)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise DeadlineExceededError(f"no answer from {self._url} in time ({type(error).__name__})") from None
        except httpx.TransportError as error:
            raise UnavailableError(f"cannot reach {self._url}: {one_line(error)}") from None
        except httpx.RequestError as error:
            raise ServingError(f"{self._url} gave an answer that cannot be read: {one_line(error)}") from None
        except (httpx.InvalidURL, UnicodeError) as error:  # a host whose name only turns out to be none where it is looked up
            raise InvalidArgumentError(f"{self._url} is not an address ({one_line(error)})") from None
        if response.status_code != httpx.codes.OK:
            raise error_for(response.status_code, f"{self._url} answered {response.status_code}: {_message(response)}")
        return response


def _counted(predictions: Sequence[Any], rows: int) -> Sequence[Any]:
    if len(predictions) != rows:
        raise ValueError("one prediction per row")
    return predictions


def _read_images(predictions: Sequence[Any]) -> np.ndarray:
    images = np.asarray(predictions, np.float32)
    if images.ndim != 4 or not images.size:
        raise ValueError("no images")
    return images


def _read_files(predictions: Sequence[Any]) -> list[bytes]:
    return [base64.b64decode(item["b64"], validate=True) for item in predictions]


def _path(model: str, version: int | None) -> str:
    try:
        name = quote(model, safe="")
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"`model` must be Unicode text, got {model!r}") from None
    return f"/v1/models/{name}" + ("" if version is None else f"/versions/{version}")


def _latent_dim(metadata: Metadata) -> int:
    try:
        _, size = metadata.signatures["serving_default"].inputs["z"].shape
    except (KeyError, ValueError):
        raise InvalidArgumentError(
            "the model has no signature serving_default with an input z [batch, latent]: it is no generator"
        ) from None
    if not 1 <= size <= _LARGEST_LATENT:
        raise InvalidArgumentError(f"the latent size of the model must be from 1 to {_LARGEST_LATENT}, the server says {size}")
    return size


def _message(response: httpx.Response) -> str:
    try:
        return one_line(response.json()["error"])
    except _MALFORMED:
        return one_line(response.text)[:200] or response.reason_phrase
