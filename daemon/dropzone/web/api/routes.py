"""All operations together: their routes, and their description."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.routing import BaseRoute

from dropzone import __version__
from dropzone.web.api import (
    aside,
    collections,
    control,
    failures,
    files,
    jobs,
    models,
    openapi,
    room,
    searching,
    settings,
)
from dropzone.web.api.backend import Backend
from dropzone.web.api.doctor import Doctor
from dropzone.web.api.feed import Feed
from dropzone.web.api.filters import Filters
from dropzone.web.api.operation import Ask, Operation, route
from dropzone.web.api.overview import Snapshots
from dropzone.web.api.services import Services
from dropzone.web.turns import Turns
from dropzone.web.uploads.described import OPERATIONS
from dropzone.web.uploads.handlers import Uploads

_DESCRIPTION = "/api/v1/openapi.json"


class _About:
    """What the API says of itself."""

    def __init__(self) -> None:
        self.operations: Sequence[Operation] = ()

    def own(self) -> Sequence[Operation]:
        return (
            Operation(
                *("GET", "/api/v1", "index"),
                "What there is.",
                self._index,
                models.Index,
            ),
            Operation(
                *("GET", "/api/v1/me", "me"),
                "Who asks, and what may be done.",
                lambda _backend, ask: ask.caller,
                models.Me,
                None,
            ),
            Operation(
                *("GET", _DESCRIPTION, "openapi"),
                "This description.",
                self._description,
            ),
        )

    def _index(self, _backend: Backend, _ask: Ask) -> models.Index:
        links = sorted({one.path for one in self.operations if one.method == "GET"})
        return models.Index(version=__version__, openapi=_DESCRIPTION, links=links)

    def _description(self, backend: Backend, _ask: Ask) -> dict[str, Any]:
        prefix = backend.settings().web.path_prefix
        return openapi.description(self.operations, prefix)


@dataclass(frozen=True, slots=True)
class Api:
    """The routes, the operations behind them, and whose turn it is."""

    routes: Sequence[BaseRoute]
    operations: Sequence[Operation]
    turns: Turns


def make(backend: Backend) -> Api:
    """Return the whole API."""
    turns = Turns()
    snapshots, about = Snapshots(backend), _About()
    feed = Feed(snapshots, backend.stop)
    made: list[Operation] = [
        *about.own(),
        *snapshots.operations(),
        *jobs.OPERATIONS,
        *Filters(backend).operations(),
        *files.OPERATIONS,
        *failures.OPERATIONS,
        *aside.OPERATIONS,
        *searching.OPERATIONS,
        *collections.Collected(backend).operations(),
        *Services(snapshots, snapshots.looking).operations(),
        *room.OPERATIONS,
        *settings.OPERATIONS,
        *Doctor().operations(),
        *control.OPERATIONS,
    ]
    made = [_then(one, snapshots.forget) for one in made]
    uploads = Uploads(backend)
    about.operations = [*made, feed.operation, *OPERATIONS]
    routes = [route(one, backend, turns) for one in made]
    found = [*routes, feed.route(), *uploads.routes()]
    return Api(found, about.operations, turns)


def _then(operation: Operation, forget: Callable[[], None]) -> Operation:
    """Let what changes something be seen in the next overview."""
    if operation.method == "GET":
        return operation

    def call(backend: Backend, ask: Ask) -> Any:
        try:
            return operation.call(backend, ask)
        finally:
            forget()

    return replace(operation, call=call)
