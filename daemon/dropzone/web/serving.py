"""Puts the app together from the parts of a daemon."""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp

from dropzone.web import app, health
from dropzone.web.accounts import Accounts
from dropzone.web.api.backend import Backend
from dropzone.web.metrics import Metrics, Parts


def app_of(parts: Parts, backend: Backend, accounts: Accounts) -> ASGIApp:
    """Return what is served."""

    def reload() -> Mapping[str, Any] | None:
        last = backend.last_reload()
        return last.told() if last is not None else None

    sources = app.Sources(
        stale=parts.stale,
        not_ready=lambda: health.not_ready(backend.settings()),
        metrics=Metrics(parts).answer,
        reload=reload,
        api=backend,
    )
    return app.make(backend.settings().web, sources, accounts)
