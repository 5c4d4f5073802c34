"""The pages and their addresses. Handlers run in threads: none may hold up another.

The threads come and go. What keeps something for each thread, as an open journal does,
is opened and closed within a request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dropzone import __version__
from dropzone.web.guard import Guard
from dropzone.web_settings import Web

_OPEN = ("/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the pages get what they show; each is called for each request.

    ``stale`` names the loops of the daemon that have not moved for too long, with
    the seconds; ``not_ready`` says why files are not processed, [] while they are;
    ``metrics`` gets what the scraper accepts, and returns the text and its type;
    ``reload`` returns how the configuration was last read again, None before that.
    """

    stale: Callable[[], Mapping[str, float]]
    not_ready: Callable[[], list[dict[str, Any]]]
    metrics: Callable[[str], tuple[bytes, str]]
    reload: Callable[[], Mapping[str, Any] | None] = lambda: None


def make(settings: Web, sources: Sources) -> ASGIApp:
    """Return the app with its guard."""

    def index(_request: Request) -> Response:
        return PlainTextResponse(
            f"dropzone {__version__}\n/metrics\n/healthz\n/readyz\n"
        )

    def healthz(request: Request) -> Response:
        stale = sources.stale()
        told: dict[str, Any] = {"alive": not stale}
        if stale and request.scope["trusted"]:
            told["standing_still_seconds"] = dict(stale)
        return JSONResponse(told, 503 if stale else 200)

    def readyz(request: Request) -> Response:
        reasons = sources.not_ready()
        told: dict[str, Any] = {"ready": not reasons}
        if request.scope["trusted"]:
            told["reasons"] = reasons
            if (reload := sources.reload()) is not None:
                told["reload"] = dict(reload)
        return JSONResponse(told, 503 if reasons else 200)

    def metrics(request: Request) -> Response:
        text, kind = sources.metrics(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind})

    routes = [
        Route("/", index),
        Route("/metrics", metrics),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]
    token = settings.token.get_secret_value() if settings.token else None
    return Guard(Starlette(routes=routes), token, _OPEN)
