"""Pausing, resuming and reloading, as the commands do."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from dropzone import holding
from dropzone.settings import Zone
from dropzone.text import clean
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Given, Operation
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

_RELOAD_SECONDS = 20.0
_LOOK_SECONDS = 0.05
Step = Literal["claim", "store", "index", "release", "track"]
Steps = Annotated[list[Step], Field(max_length=5)]


class Resuming(Given):
    """Of one zone or of all; without steps all of them."""

    zone: str | None = None
    steps: Steps = Field(default=[])


class Pausing(Resuming):
    """The same; without ``seconds`` until somebody resumes it."""

    seconds: Annotated[int, Field(ge=1, le=holding.LONGEST_SECONDS)] | None = None
    reason: Annotated[str, Field(max_length=500)] = ""


def pause(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    body: Pausing = ask.body
    changed = holding.pause(
        _zones(backend, body.zone),
        list(dict.fromkeys(body.steps)),
        lasting=body.seconds,
        reason=clean(body.reason),
        by=ask.caller.name,
    )
    return {"changed": changed}


def resume(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    body: Resuming = ask.body
    return {"changed": holding.resume(_zones(backend, body.zone), body.steps)}


def reload(backend: Backend, _ask: Ask) -> Mapping[str, Any]:
    """Let the main loop reload; return how that went."""
    asked, moment = time.monotonic(), threading.Event()
    backend.ask_reload()
    while time.monotonic() - asked < _RELOAD_SECONDS and not backend.stop.is_set():
        outcome = backend.last_reload()
        if outcome is not None and outcome.began >= asked:
            return outcome.told()
        moment.wait(_LOOK_SECONDS)
    raise Problem(
        503,
        f"The daemon has not reloaded after {_RELOAD_SECONDS:.0f} s.",
        "It does once its main loop is free; see GET /api/v1/overview.",
    )


def _zones(backend: Backend, name: str | None) -> Sequence[Zone]:
    return backend.settings().zones if name is None else [backend.zone_named(name)]


OPERATIONS = (
    Operation(
        *("POST", "/api/v1/pause", "pause"),
        "Let steps stand still, also over restarts; what is under way is finished.",
        pause,
        models.Held,
        Role.OPERATE,
        body=Pausing,
    ),
    Operation(
        *("POST", "/api/v1/resume", "resume"),
        "Let steps go on that a person paused.",
        resume,
        models.Held,
        Role.OPERATE,
        body=Resuming,
    ),
    Operation(
        *("POST", "/api/v1/reload", "reload"),
        "Read the configuration again, and tell what changed.",
        reload,
        models.ReloadTold,
        Role.OPERATE,
        body=Given,
    ),
)
