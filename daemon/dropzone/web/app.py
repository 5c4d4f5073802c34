"""The pages and their addresses. Handlers run in threads: none may hold up another.

The threads come and go. What keeps something for each thread, as an open journal does,
is opened and closed within a request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from dropzone.web.accounts import Accounts
from dropzone.web.api import routes as api
from dropzone.web.api.backend import Backend
from dropzone.web.attempts import Attempts
from dropzone.web.guard import Guard
from dropzone.web.login import Login
from dropzone.web.page import site
from dropzone.web.page.desk import Desk
from dropzone.web.page.rendering import Rendering
from dropzone.web.page.statics import Statics
from dropzone.web.problems import Problem
from dropzone.web.sessions import Sessions
from dropzone.web_settings import Web


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the pages get what they show; each is called for each request.

    ``stale`` names the loops of the daemon that have not moved for too long, with
    the seconds; ``not_ready`` says why files are not processed, [] while they are;
    ``metrics`` gets what the scraper accepts, and returns the text and its type;
    ``reload`` returns how the configuration was last read again, None before that;
    ``api`` is what the API works with: without it there is none.
    """

    stale: Callable[[], Mapping[str, float]]
    not_ready: Callable[[], list[dict[str, Any]]]
    metrics: Callable[[str], tuple[bytes, str]]
    reload: Callable[[], Mapping[str, Any] | None] = lambda: None
    api: Backend | None = None


def make(settings: Web, sources: Sources, accounts: Accounts | None = None) -> ASGIApp:
    """Return the app with its guard; ``accounts`` are those of ``settings``."""
    accounts = accounts or Accounts(settings)
    sessions, attempts = Sessions(accounts), Attempts()
    statics = Statics()
    rendering = Rendering(statics)
    login = Login(settings, accounts, sessions, attempts, rendering)
    routes = [*_routes(sources), *login.routes(), statics.route()]
    handlers, page = _HANDLERS, None
    if sources.api is not None:
        made = api.make(sources.api)
        pages = site.make(sources.api, made, rendering)
        page = pages.desk.problem
        routes = [*pages.routes, *made.routes, *routes]
        handlers = {
            **handlers,
            HTTPException: partial(_as_page, pages.desk),
            Exception: partial(_as_faulty_page, pages.desk),
        }
    app = Starlette(routes=routes, exception_handlers=handlers)
    # "/api/v1/" is another address than "/api/v1", and no page leads there.
    app.router.redirect_slashes = False
    return Guard(app, settings, accounts, sessions, attempts, page)


def _as_problem(_request: Request, error: Exception) -> Response:
    """Tell what the framework raises as everything else is told."""
    if not isinstance(error, HTTPException):
        raise error
    return _problem_of(error).response()


def _as_told(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return error.response()


def _as_page(desk: Desk, request: Request, error: Exception) -> Response:
    """Tell it to a browser as a page."""
    asks_api = request.scope["path"].startswith("/api/")
    if isinstance(error, HTTPException) and not asks_api and wants_page(request):
        problem = _problem_of(error)
        if error.status_code == HTTPStatus.NOT_FOUND:
            problem.what_to_do = "Look for the file by its name in the field above."
        return desk.problem(request, problem)
    return _as_problem(request, error)


def wants_page(request: Request) -> bool:
    """Return whether a person asks, with a browser."""
    return "text/html" in request.headers.get("accept", "")


def _problem_of(error: HTTPException) -> Problem:
    told, hint = _KNOWN.get(error.status_code, (str(error.detail), ""))
    return Problem(error.status_code, told, hint, headers=error.headers)


def _as_fault(_request: Request, _error: Exception) -> Response:
    return _fault().response()


def _as_faulty_page(desk: Desk, request: Request, error: Exception) -> Response:
    """Tell a browser of a fault, as a page."""
    if wants_page(request) and not request.scope["path"].startswith("/api/"):
        return desk.problem(request, _fault())
    return _as_fault(request, error)


def _fault() -> Problem:
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "This is a fault of dropzone, not of yours.",
        "The daemon's log tells where; please report it.",
    )


_HANDLERS = {HTTPException: _as_problem, Problem: _as_told, Exception: _as_fault}
_KNOWN = {
    404: ("There is nothing at this address.", "GET /api/v1 lists what there is."),
    405: ("This address does not take that method.", "See the header Allow."),
}


def _routes(sources: Sources) -> list[BaseRoute]:

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

    return [
        Route("/metrics", metrics),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]
