"""Puts the app together from the parts of a daemon."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp

from dropzone.settings import Settings
from dropzone.web import app, health
from dropzone.web.metrics import Metrics, Parts


def app_of(
    parts: Parts,
    settings: Callable[[], Settings],
    reload: Callable[[], Mapping[str, Any] | None],
) -> ASGIApp:
    """Return what is served; ``settings`` returns those in force just now.

    ``reload`` returns how the configuration was last read again.
    """
    sources = app.Sources(
        stale=parts.stale,
        not_ready=lambda: health.not_ready(settings()),
        metrics=Metrics(parts).answer,
        reload=reload,
    )
    return app.make(settings().web, sources)
