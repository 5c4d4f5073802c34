"""Serves the app on its address from a thread, until the stop event.

A port that is taken is told once and tried again. Only this module knows uvicorn.
"""

import errno
import logging
import os
import socket
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropzone import log, threads
from dropzone.errors import ConfigurationError
from dropzone.web.listening import Listener
from dropzone.web.tls import Certificate
from dropzone.web_settings import Web

if TYPE_CHECKING:
    # Starlette comes with the thread, not with the start of the daemon.
    from starlette.types import ASGIApp

_AGAIN_SECONDS = 2.0
# What is being answered has so long to end when the daemon stops.
_GRACE_SECONDS = 1
_MOST_CONNECTIONS = 200
# Requests worked on at once; they read files and the journal.
_WORKERS = 4
_IDLE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is served, and what to do about it."""

    reason: str
    hint: str


class WebServer:
    """One thread. ``start`` it; it ends with the stop event, and ``join`` waits."""

    def __init__(
        self, settings: Web, make: Callable[[], "ASGIApp"], stop: threading.Event
    ) -> None:
        """``make`` is called in the thread, once an address is had."""
        self._settings = settings
        self._make = make
        self._stop = stop
        self._url: str | None = None
        self._refusal: Refusal | None = None
        self._log = log.get("web")
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        if self._settings.enabled:
            self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the thread; the stop event must be set. False if it goes on."""
        return threads.end([self._thread], seconds)

    def report(self) -> dict[str, str | None]:
        """Return what ``status`` shows: the address, or why there is none."""
        refusal = self._refusal or Refusal("", "")
        return {
            "url": self._url,
            "problem": refusal.reason,
            "what_to_do": refusal.hint,
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                listener = bind(self._settings)
            except OSError as error:
                self._refused(explained(error, self._settings))
            else:
                self._serve_on(listener)
            self._stop.wait(_AGAIN_SECONDS)

    def _refused(self, refusal: Refusal) -> None:
        if refusal != self._refusal:
            self._log.error(
                "the page is not served; files are processed all the same",
                reason=refusal.reason,
                hint=refusal.hint,
            )
        self._refusal = refusal

    def _serve_on(self, listener: socket.socket) -> None:
        with listener:
            try:
                certificate = _certificate(self._settings)
            except ConfigurationError as error:
                self._refused(Refusal(error.message, error.hint))
                return
            self._url = address_of(listener, secure=certificate is not None)
            self._refusal = None
            self._log.info("the page is served", url=self._url)
            try:
                _serve(self._make(), listener, self._stop, certificate)
            except Exception as error:  # noqa: BLE001 served anew; files go on anyway
                self._log.exception("the page failed; it is served again")
                self._refusal = Refusal(f"It failed: {error!r}.", "See the log.")
            self._url = None


def bind(settings: Web) -> Listener:
    """Return a socket that listens on the address.

    Raises:
        OSError: it cannot be had; see ``explained``.

    """
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = Listener(
        socket.create_server((host, settings.port), family=family, backlog=128)
    )
    # Connections inherit it. asyncio leaves it out for sockets that are made like this,
    # and each answer over a connection that is kept would wait 40 ms for its body.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def explained(error: OSError, settings: Web) -> Refusal:
    """Return in a sentence why an address cannot be had, and what to do."""
    where = f"{settings.host}, port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        return Refusal(
            f"Another program listens on {where}.",
            "Set web.port to a free port, or to 0 for any; who it is: "
            f"ss -ltnp 'sport = :{settings.port}'",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Refusal(
            f"This machine has no address {settings.host}.",
            "Set web.host to one that it has (ip addr), or leave it at 127.0.0.1.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Refusal(
            f"The daemon's user may not listen on {where}.",
            "Set web.port to 1024 or higher.",
        )
    return Refusal(f"{where} cannot be used: {os.strerror(error.errno or 0)}.", "")


def address_of(listener: socket.socket, *, secure: bool = False) -> str:
    """Return the URL that leads to the socket, from this machine if from any."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _certificate(settings: Web) -> Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_certificate, settings.tls_key)


class Silent:
    """Finds connections that ask for nothing: they would use up the number allowed.

    uvicorn ends those that fall silent after a request, but not those that never make
    one, or send it byte by byte.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[Any, Any], float] = {}

    def among(self, connections: Iterable[Any], now: float) -> list[Any]:
        """Return those that are without a request for too long; call it often."""
        idle = [
            (one, one.cycle)
            for one in connections
            if one.cycle is None or one.cycle.response_complete
        ]
        self._since = {key: self._since.get(key, now) for key in idle}
        return [
            one
            for (one, _), since in self._since.items()
            if now - since > _IDLE_SECONDS
        ]


def _serve(
    app: "ASGIApp",
    listener: socket.socket,
    stop: threading.Event,
    certificate: Certificate | None,
) -> None:
    import anyio.to_thread
    import uvicorn

    from dropzone.web.patience import Patience

    silent = Silent()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            anyio.to_thread.current_default_thread_limiter().total_tokens = _WORKERS
            await super().startup(sockets)

        async def on_tick(self, counter: int) -> bool:
            for one in silent.among(self.server_state.connections, time.monotonic()):
                one.transport.abort()
            if certificate is not None:
                certificate.look()
            return stop.is_set() or await super().on_tick(counter)

    _tell_by_our_log()
    # In a thread that is not the main one uvicorn leaves the signals alone.
    config = uvicorn.Config(app, http=Patience, **_options())
    config.load()
    if certificate is not None:
        config.ssl = certificate.context
    Server(config).run([listener])


def _options() -> Mapping[str, Any]:
    from dropzone.web.limits import MOST_HEADER_BYTES

    return {
        "log_config": None,
        "access_log": False,
        "loop": "asyncio",
        "ws": "none",
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "limit_concurrency": _MOST_CONNECTIONS,
        "timeout_keep_alive": _IDLE_SECONDS,
        "timeout_graceful_shutdown": _GRACE_SECONDS,
        "h11_max_incomplete_event_size": MOST_HEADER_BYTES,
    }


_OF_STRANGERS = (
    *("Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket"),
    *("Exceeded concurrency",),
)


class _Told(logging.Handler):
    """Hands what the server says to our log; what strangers send is no warning."""

    def emit(self, record: logging.LogRecord) -> None:
        told, message = log.get("web"), record.getMessage()
        if record.exc_info and not isinstance(record.exc_info[1], CancelledError):
            told.error("a request failed", exc_info=record.exc_info)
        elif message.startswith(_OF_STRANGERS):
            told.debug("a request could not be read", message=message)
        elif message.startswith("Cancel "):
            told.info("requests were cut off at the end")
        elif not record.exc_info:
            told.warning("the server says", message=message)


def _tell_by_our_log() -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.handlers = [_Told()]
