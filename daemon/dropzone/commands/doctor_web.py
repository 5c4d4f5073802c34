"""What ``dropzone doctor`` says about metrics, health and traces."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from importlib import metadata
from urllib.parse import urlsplit

from dropzone import status
from dropzone.commands.diagnosis import Diagnosis, ok, warning
from dropzone.errors import ZoneError
from dropzone.settings import Settings
from dropzone.web import server

_CHECKED = "metrics and health"
_SECONDS = 5.0


def page(settings: Settings) -> Iterator[Diagnosis]:
    """Ask the running daemon's page; without a daemon, look whether the port is free.

    Files are processed whatever comes out, so nothing here is a problem.
    """
    if not settings.web.enabled:
        yield ok(_CHECKED, "switched off (web.enabled)")
        return
    try:
        told = status.web_of(settings)
    except ZoneError:
        # Another user's zone: that is told where the zones are.
        return
    if told.get("problem"):
        yield warning(_CHECKED, told["problem"], told["what_to_do"])
    elif told.get("url"):
        yield _asked(told["url"])
    else:
        yield _tried(settings)


def traces(settings: Settings) -> Iterator[Diagnosis]:
    """Look whether the collector of traces can be reached, where one is named."""
    endpoint = settings.traces.endpoint
    if endpoint is None:
        return
    try:
        metadata.distribution("opentelemetry-exporter-otlp-proto-http")
    except metadata.PackageNotFoundError:
        yield warning(
            "traces",
            "traces.endpoint is set, and its package is not installed",
            "pip install 'dropzone-daemon[otel]', or unset traces.endpoint.",
        )
        return
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _SECONDS).close()
    except OSError as error:
        yield warning(
            "traces",
            f"the collector at {endpoint} cannot be reached: {error}",
            "Look after the collector, or mend traces.endpoint; files do not wait.",
        )
    else:
        yield ok("traces", f"sent to {endpoint}")


def _asked(url: str) -> Diagnosis:
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse().status
    except OSError as error:
        return warning(
            _CHECKED,
            f"{url} does not answer: {error}",
            "See the daemon's log for lines of the component web.",
        )
    finally:
        connection.close()
    if answer == http.HTTPStatus.OK:
        return ok(_CHECKED, f"served at {url}")
    return warning(
        _CHECKED,
        f"{url}/healthz answers {answer}: a loop of the daemon stands still",
        f"See which: curl {url}/healthz; then start the daemon again.",
    )


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)
    # It is ours, on this machine, and its certificate has another name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)


def _tried(settings: Settings) -> Diagnosis:
    try:
        listener = server.bind(settings.web)
    except OSError as error:
        refusal = server.explained(error, settings.web)
        return warning(_CHECKED, refusal.reason, refusal.hint)
    with listener:
        return ok(_CHECKED, f"{server.address_of(listener)} is free for the daemon")
