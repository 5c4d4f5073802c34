"""Answers visitors: finds what a page shows, makes it, and tells problems as pages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dropzone.web.accounts import Caller
from dropzone.web.api.feed import mark_of
from dropzone.web.page.calls import Calls
from dropzone.web.page.messages import Message, Messages
from dropzone.web.page.rendering import Rendering
from dropzone.web.problems import Problem
from dropzone.web.turns import Turns
from dropzone.web_settings import Role


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page."""

    request: Request
    calls: Calls

    @property
    def caller(self) -> Caller:
        found: Caller = self.request.scope["caller"]
        return found

    def ask(self, name: str, **given: Any) -> Any:
        """Return what an operation of the API answers this visitor.

        Raises:
            Problem: it cannot, or the visitor may not.

        """
        return self.calls(name, self.request, **given)

    def given(self, name: str, otherwise: str = "") -> str:
        """Return a parameter of the address."""
        return self.request.query_params.get(name, otherwise).strip()


@dataclass(frozen=True, slots=True)
class View:
    """A page: ``show`` returns what its template needs, or an answer without one.

    ``at`` is the entry of the navigation it belongs to. ``asks_servers`` says that an
    operation behind it does, and is waited for.
    """

    path: str
    template: str
    show: Callable[[Visit], Mapping[str, Any] | Response]
    at: str = ""
    asks_servers: bool = False


class Desk:
    """Renders every view within the layout that all share."""

    def __init__(
        self,
        calls: Calls,
        rendering: Rendering,
        messages: Messages,
        turns: Turns,
    ) -> None:
        self._calls = calls
        self._rendering = rendering
        self._messages = messages
        self._turns = turns

    def route(self, view: View) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._turns.run(
                    request.scope["caller"],
                    partial(self._answered, view, request),
                    asks_servers=view.asks_servers,
                )
            except Problem as problem:
                return await anyio.to_thread.run_sync(self.problem, request, problem)

        return Route(view.path, endpoint, methods=["GET"])

    def problem(self, request: Request, problem: Problem) -> Response:
        """Return the page of an error."""
        values: dict[str, Any] = {"problem": problem, "at": "", "message": None}
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            # What failed once would fail again, and nothing would be told.
            values["overview"] = None
        return self._page(
            "error.html", request, values, problem.status, problem.headers
        )

    def _answered(self, view: View, request: Request) -> Response:
        try:
            _let_in(request.scope["caller"])
            # First: what changes while the rest is looked up is then told once more.
            overview = self._overview(request)
            values = view.show(Visit(request, self._calls))
        except Problem as problem:
            return self.problem(request, problem)
        if isinstance(values, Response):
            return values
        told = {"at": view.at, "message": self._message(request), "overview": overview}
        return self._page(view.template, request, {**told, **values})

    def _message(self, request: Request) -> Message | None:
        number = request.query_params.get("told", "")
        return self._messages.take(request.scope["caller"].name, number)

    def _page(
        self,
        template: str,
        request: Request,
        values: Mapping[str, Any],
        status: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        caller: Caller | None = request.scope["caller"]
        if "overview" not in values:
            values = {**values, "overview": self._overview(request)}
        overview = values["overview"]
        shared = {
            "me": caller,
            "known": mark_of(overview) if overview else "",
            "may_drop": caller is not None and caller.may(Role.DROP),
            "may_operate": caller is not None and caller.may(Role.OPERATE),
            "here": _here(request),
        }
        prefix = request.scope["prefix"]
        page = self._rendering(template, prefix, {**shared, **values})
        return HTMLResponse(page, status, headers)

    def _overview(self, request: Request) -> Any:
        """Return what the head of every page tells, None where nothing may be told."""
        caller: Caller | None = request.scope["caller"]
        if caller is None or not caller.may(Role.READ):
            return None
        try:
            return self._calls("overview", request)
        except Problem:
            # The page itself is worth showing, or is what tells the problem.
            return None


def _let_in(caller: Caller) -> None:
    if caller.may(Role.READ):
        return
    if caller.by == "local":
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "Another user than the daemon's asks, and no token is set up.",
            "Run the browser as the daemon's user, or set web.tokens: "
            "docs/security.md.",
        )
    raise Problem(
        HTTPStatus.FORBIDDEN,
        "This token is for scraping metrics; it opens no pages.",
        "Use a token of web.tokens.",
    )


def _here(request: Request) -> str:
    """Return the address of this page below the prefix, without what it told."""
    rest = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name != "told"
    ]
    path: str = request.scope["path"]
    return f"{path}?{urlencode(rest)}" if rest else path
