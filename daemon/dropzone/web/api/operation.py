"""An operation: where it is, who may, what it takes and answers, what it does."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dropzone import disk, plain
from dropzone.errors import DropzoneError
from dropzone.web import problems
from dropzone.web.accounts import Caller
from dropzone.web.api.backend import Backend
from dropzone.web.problems import Problem
from dropzone.web.turns import Turns
from dropzone.web_settings import Role

_JSON = "application/json"
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Given(BaseModel):
    """What a request brings: nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Nothing(Given):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: who asks, the parts of the path, the checked parameters."""

    caller: Caller
    path: Mapping[str, str]
    query: Any
    body: Any
    request: Request


@dataclass(frozen=True, slots=True)
class Operation:
    """``call`` returns what ``answer`` is made of, or a Response.

    ``role`` None lets everybody in whom the guard lets in. What ``asks_servers``, S3 or
    Postgres, may hang and must not hold up the rest. ``media`` is the type of an
    answer that is not JSON. ``also`` are problems beside the usual ones. What is told
    only: ``status`` of a good answer, ``headers`` that are read, and the type of a body
    that ``takes`` no JSON.
    """

    method: str
    path: str
    name: str
    summary: str
    call: Callable[[Backend, Ask], Any]
    answer: type[BaseModel] | None = None
    role: Role | None = Role.READ
    query: type[Given] = Nothing
    body: type[Given] | None = None
    media: str = _JSON
    also: tuple[int, ...] = field(default=())
    status: int = 200
    headers: type[Given] | None = None
    takes: str = ""
    asks_servers: bool = False


def route(operation: Operation, backend: Backend, turns: Turns) -> Route:
    """Return the route of an operation, which works when it is its caller's turn."""

    async def endpoint(request: Request) -> Response:
        try:
            ask = await _ask(operation, request)
            return await turns.run(
                ask.caller,
                partial(_answered, operation, backend, ask),
                asks_servers=operation.asks_servers,
            )
        except Problem as problem:
            return problem.response()

    return Route(operation.path, endpoint, methods=[operation.method])


async def _ask(operation: Operation, request: Request) -> Ask:
    caller: Caller = request.scope["caller"]
    permit(operation, caller)
    query = _checked(operation.query, _query(request), "query")
    body = None
    if operation.body is not None:
        body = _checked(operation.body, _json(request, await request.body()), "body")
    return Ask(caller, request.path_params, query, body, request)


def check_role(caller: Caller, needed: Role) -> None:
    """Check that somebody may.

    Raises:
        Problem: the role is not enough.

    """
    if not caller.may(needed):
        raise Problem(403, _why_not(caller, needed), _WHAT_TO_DO)


def permit(operation: Operation, caller: Caller) -> None:
    """Let this caller pass.

    Raises:
        Problem: the caller's role does not suffice.

    """
    if operation.role is not None:
        check_role(caller, operation.role)


def asked(
    operation: Operation,
    request: Request,
    path: Mapping[str, str],
    query: Mapping[str, Any],
    body: Mapping[str, Any],
) -> Ask:
    """Return what a page asks for its visitor, checked as a request is.

    Raises:
        Problem: the visitor may not, or something does not fit.

    """
    caller: Caller = request.scope["caller"]
    permit(operation, caller)
    checked = _checked(operation.query, query, "query")
    brought = None
    if operation.body is not None:
        brought = _checked(operation.body, body, "body")
    return Ask(caller, path, checked, brought, request)


def called(operation: Operation, backend: Backend, ask: Ask) -> Any:
    """Return what the operation returns.

    Raises:
        Problem: it did not go well.

    """
    try:
        return operation.call(backend, ask)
    except DropzoneError as error:
        raise problems.of(error) from error
    except OSError as error:
        if error.errno not in disk.ERRORS:
            raise
        raise problems.of(disk.fault(error)) from error


def _answered(operation: Operation, backend: Backend, ask: Ask) -> Response:
    value = called(operation, backend, ask)
    if isinstance(value, Response):
        return value
    return answer(operation.answer, value, ask.request)


def answer(model: type[BaseModel] | None, value: object, request: Request) -> Response:
    """Return the JSON of ``value`` as ``model`` has it, or 304 if it is known."""
    content = text_of(model, value)
    if request.method not in {"GET", "HEAD"}:
        return Response(content, media_type=_JSON)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if known == "*" or tag in {
        one.strip().removeprefix("W/") for one in known.split(",")
    }:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_JSON, headers=headers)


def text_of(model: type[BaseModel] | None, value: object) -> bytes:
    """Return JSON; where there is a ``model`` the value must fit it."""
    told = value if isinstance(value, BaseModel) else plain.of(value)
    if model is not None:
        told = model.model_validate(told).model_dump(mode="json")
    return json.dumps(told).encode()


def _query(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            raise Problem(422, "A parameter is given twice.", errors=[name[:100]])
        found[name] = value
    return found


def _json(request: Request, body: bytes) -> Any:
    if not body:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        raise Problem(415, "The body must be JSON.", f"Send Content-Type: {_JSON}.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is no JSON that can be read.") from None


def _checked(model: type[Given], given: Any, where: str) -> Given:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = [
            ".".join(str(part)[:100] for part in one["loc"]) + f": {one['msg']}"
            for one in error.errors(include_url=False, include_context=False)
        ]
        raise Problem(
            422,
            f"The {where} is not what this takes: {'; '.join(wrong[:5])}.",
            "See /api/v1/openapi.json.",
            errors=wrong[:20],
        ) from None


def _why_not(caller: Caller, needed: Role) -> str:
    if caller.by == "local":
        return "Another user than the daemon's asks, and no token is set up."
    has = caller.role or "to scrape metrics"
    return f"The token {caller.name} has the role {has}; this takes {needed}."


_WHAT_TO_DO = (
    "Ask for a token with that role (web.tokens), or run as the daemon's user: "
    "docs/security.md."
)
