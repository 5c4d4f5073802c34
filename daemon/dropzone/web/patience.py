"""Connections that take no answer are ended.

uvicorn waits for ever for a reader who never reads. Those that ask nothing are ended
by the server.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_STALLED_SECONDS = 60.0


class Patience(H11Protocol):
    """One connection, whose answers must be taken."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken_until: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._taken_until is None:
            self._taken_until = self.loop.call_later(
                _STALLED_SECONDS, self.transport.abort
            )

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def _taken(self) -> None:
        if self._taken_until is not None:
            self._taken_until.cancel()
            self._taken_until = None
