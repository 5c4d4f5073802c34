"""Puts the app together from the parts of a daemon."""

from collections.abc import Callable

from starlette.types import ASGIApp

from dropzone.settings import Settings
from dropzone.web import app, health
from dropzone.web.metrics import Metrics, Parts


def app_of(parts: Parts, settings: Callable[[], Settings]) -> ASGIApp:
    """Return what is served; ``settings`` returns those in force just now."""
    sources = app.Sources(
        stale=parts.stale,
        not_ready=lambda: health.not_ready(settings()),
        metrics=Metrics(parts).answer,
    )
    return app.make(settings().web, sources)
