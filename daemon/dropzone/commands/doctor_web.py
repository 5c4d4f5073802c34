"""What ``dropzone doctor`` says about the address of metrics and health."""

import http.client
from collections.abc import Iterator
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


def _asked(url: str) -> Diagnosis:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=_SECONDS
    )
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


def _tried(settings: Settings) -> Diagnosis:
    try:
        listener = server.bind(settings.web)
    except OSError as error:
        refusal = server.explained(error, settings.web)
        return warning(_CHECKED, refusal.reason, refusal.hint)
    with listener:
        return ok(_CHECKED, f"{server.address_of(listener)} is free for the daemon")
