"""All pages together."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from dropzone.web.api.backend import Backend
from dropzone.web.api.routes import Api
from dropzone.web.page import (
    collections,
    control,
    drop,
    failures,
    files,
    forms,
    journey,
    now,
    search,
    settings,
)
from dropzone.web.page.calls import Calls
from dropzone.web.page.desk import Desk
from dropzone.web.page.messages import Messages
from dropzone.web.page.rendering import Rendering

VIEWS = (
    *now.VIEWS,
    *files.VIEWS,
    *journey.VIEWS,
    *failures.VIEWS,
    *drop.VIEWS,
    *control.VIEWS,
    *search.VIEWS,
    *collections.VIEWS,
    *settings.VIEWS,
)
FORMS = (*control.FORMS, *journey.FORMS, *failures.FORMS, *settings.FORMS)


@dataclass(frozen=True, slots=True)
class Site:
    """The routes of the pages, and the desk that tells problems as they do."""

    routes: Sequence[BaseRoute]
    desk: Desk


def make(backend: Backend, api: Api, rendering: Rendering) -> Site:
    """Return the pages over the API."""
    calls, messages = Calls(backend, api.operations), Messages()
    desk = Desk(calls, rendering, messages, api.turns)
    taken = forms.FormDesk(FORMS, calls, messages, api.turns, desk.problem)
    return Site([*map(desk.route, VIEWS), taken.route()], desk)
