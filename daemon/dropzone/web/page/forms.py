"""Forms that change something, and the questions before those that reach far.

A form names an operation of the API; it works without a script. Each is answered by a
page that the browser is led to, so that loading it again does nothing again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dropzone.web import fields
from dropzone.web.page import links
from dropzone.web.page.calls import Calls
from dropzone.web.page.messages import Message, Messages
from dropzone.web.problems import Problem
from dropzone.web.turns import Turns


@dataclass(frozen=True, slots=True)
class Fields:
    """What a form brought."""

    values: Mapping[str, Sequence[str]]

    def one(self, name: str) -> str:
        return self.all(name)[0].strip() if self.all(name) else ""

    def all(self, name: str) -> Sequence[str]:
        return self.values.get(name, ())


@dataclass(frozen=True, slots=True)
class Form:
    """``given`` makes the path and the body of the operation of what was filled in.

    ``told`` gets what the operation answered, and says how it went.
    """

    operation: str
    given: Callable[[Fields], Mapping[str, Any]]
    told: Callable[[Any], Message]


class FormDesk:
    """Takes the forms at ``/do/OPERATION``."""

    def __init__(
        self,
        forms: Sequence[Form],
        calls: Calls,
        messages: Messages,
        turns: Turns,
        refused: Callable[[Request, Problem], Response],
    ) -> None:
        """``refused`` makes the page of a visitor who may not."""
        self._forms = {form.operation: form for form in forms}
        self._calls = calls
        self._messages = messages
        self._turns = turns
        self._refused = refused

    def route(self) -> Route:
        return Route("/do/{operation}", self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        brought = Fields(fields.of(await request.body()))
        form = self._forms.get(request.path_params["operation"])
        if form is None:
            return Problem(404, "There is no such form.").response()
        try:
            return await self._turns.run(
                request.scope["caller"],
                partial(self._taken, form, brought, request),
                asks_servers=self._calls.asks_servers(form.operation),
            )
        except Problem as problem:
            # It was not its turn.
            message = Message("bad", problem.detail, problem.what_to_do)
            return self._led(brought, request, message)

    def _taken(self, form: Form, brought: Fields, request: Request) -> Response:
        try:
            message = self._done(form, brought, request)
        except Problem as problem:
            return self._refused(request, problem)
        return self._led(brought, request, message)

    def _led(self, brought: Fields, request: Request, message: Message) -> Response:
        number = self._messages.keep(request.scope["caller"].name, message)
        after = brought.one("next")
        return links.to(request.scope["prefix"], after, told=number)

    def _done(self, form: Form, brought: Fields, request: Request) -> Message:
        try:
            given = form.given(brought)
            return form.told(self._calls(form.operation, request, **given))
        except Problem as problem:
            if problem.status == HTTPStatus.FORBIDDEN:
                raise
            return Message("bad", problem.detail, problem.what_to_do)
