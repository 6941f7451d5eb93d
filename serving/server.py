"""The embedded server: TensorFlow Serving's REST dialect in front of ONNX Runtime.

Requests are parsed, computed and answered in worker threads; the event loop only moves bytes.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.description import Metadata, metadata_answer, status_answer
from serving.errors import BodyTooLargeError, InvalidArgumentError, ServingError, UnavailableError
from serving.models import Models
from serving.protocol import error_body, parse_predict, predict_answer, read_tensors
from serving.target import Target, parse_target

__all__ = ["Limits", "create_app", "run"]

logger = logging.getLogger(__name__)

_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
_HTML = "<HTML><HEAD>\n<TITLE>{0} {1}</TITLE>\n</HEAD><BODY>\n<H1>{1}</H1>\n</BODY></HTML>\n"


@final
@dataclass(frozen=True)
class Limits:
    """The largest request that is answered.

    Args:
        body_bytes: Bytes of the request body.
        rows: Images asked for at once.
    """

    body_bytes: int = 64 * 2**20
    rows: int = 4096


def create_app(models_root: Path, *, limits: Limits | None = None, poll_s: float = 1.0) -> Starlette:
    """Build the application. Models are loaded before it accepts its first request.

    Args:
        models_root: Folder that holds NAME/VERSION/.
        limits: The largest request that is answered.
        poll_s: Seconds between two looks at the folder.

    Raises:
        NotFoundError: The folder is not there.
        InvalidArgumentError: The folder is one model.
    """
    models = Models(models_root)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await _refresh(models)
        if not models.names():
            logger.warning("nothing to serve in %s yet: waiting for a folder NAME/VERSION/", models.root)
        watcher = asyncio.create_task(_watch(models, poll_s))
        yield
        watcher.cancel()

    return Starlette(routes=[Route("/{path:path}", _Dialect(models, limits or Limits()))], lifespan=lifespan)


async def _watch(models: Models, poll_s: float) -> None:
    while True:
        await asyncio.sleep(poll_s)
        await _refresh(models)


async def _refresh(models: Models) -> None:
    try:
        await run_in_threadpool(models.refresh)
    except Exception:  # whatever a folder holds, the server lives on
        logger.exception("the models folder could not be refreshed")


class _Dialect:
    """All of TensorFlow Serving's paths as one ASGI endpoint: the original matches path and query string itself."""

    def __init__(self, models: Models, limits: Limits):
        self._models = models
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request, request.method, _path_as_sent(scope))
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # the server stops and this request took too long to arrive or to answer
            response = _json(error_body("the server is stopping"), UnavailableError.status)
        except Exception:
            logger.exception("%s %s", request.method, request.url.path)
            response = _json(error_body("internal error: the server's log says more"), 500)
        await response(scope, receive, send)

    async def _respond(self, request: Request, method: str, path: str) -> Response:
        if method not in _METHODS:
            return _html_page(501, "Not Implemented")
        if not path.lower().startswith("/v1/"):
            return _html_page(404, "Not Found")
        try:
            target = parse_target(method, path)
            body = await _read_body(request, self._limits.body_bytes) if target.verb == "predict" else b""
            content = await run_in_threadpool(self._answer, target, body)
        except ServingError as error:
            silent = not error.message or method in ("HEAD", "OPTIONS")
            return _json(b"" if silent else error_body(error.message), error.status)
        return _json(content, 200)

    def _answer(self, target: Target, body: bytes) -> bytes:
        if target.verb == "status":
            return status_answer(self._models.status(target.model, target.version))
        if target.verb == "metadata":
            servable = self._models.find(target.model, target.version, target.label)
            return metadata_answer(target.model, Metadata(servable.version, servable.engine.signatures))
        request = parse_predict(body)
        engine = self._models.find(target.model, target.version, target.label).engine
        inputs = read_tensors(request, engine.signature(request.signature_name).inputs, self._limits.rows)
        return predict_answer(engine.run(request.signature_name, inputs), row=request.row)


def _path_as_sent(scope: Scope) -> str:
    query = scope["query_string"]
    return (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")


async def _read_body(request: Request, limit: int) -> bytes:
    too_large = BodyTooLargeError(f"request body is larger than {limit} bytes: send fewer rows per request")
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def _json(content: bytes, status: int) -> Response:
    return Response(content, status, media_type="application/json")


def _html_page(status: int, reason: str) -> Response:
    return Response(_HTML.format(status, reason), status, headers={"Connection": "close", "Content-Type": "text/html"})


class _Server(uvicorn.Server):
    """uvicorn, which says where it listens as soon as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            logger.info("ready on http://%s:%d", f"[{host}]" if ":" in host else host, port)


def run(models_root: Path, *, host: str = "127.0.0.1", port: int = 8501) -> None:
    """Serve until SIGINT or SIGTERM; requests in flight are then answered first, for at most 10 seconds.

    Args:
        models_root: Folder that holds NAME/VERSION/.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Raises:
        NotFoundError: The folder is not there.
        InvalidArgumentError: The folder is one model, or the host is no address.
        UnavailableError: The address cannot be taken.
        SystemExit: The process was asked to stop (exit code 0).
    """
    app = create_app(models_root)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    with _bind(host, port) as listener, _ending_well():
        _Server(config).run([listener])


@contextlib.contextmanager
def _ending_well() -> Iterator[None]:
    """End with 0 when asked to stop: uvicorn stops gracefully on a signal and then raises it once more, for the handler before its own."""
    before = {stop: signal.signal(stop, lambda *_: sys.exit(0)) for stop in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)


def _bind(host: str, port: int) -> socket.socket:
    """Bind without listening yet: the port opens when the models are loaded."""
    if not host:  # to the socket it would mean all interfaces
        raise InvalidArgumentError("`host` must be an address: 127.0.0.1 for this machine alone, 0.0.0.0 for the network")
    # asyncio sets TCP_NODELAY only where the protocol is named; without it answers stall for 40 ms.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UnavailableError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with `--port` or `--host`") from None
    except (TypeError, ValueError):  # what the socket says to text that no name can have, such as lone surrogates
        listener.close()
        raise InvalidArgumentError(f"`host` must be an address or a name, got {host!r}") from None
    return listener
