"""Connections that are too many, or take no answer, are ended.

uvicorn waits for ever for a reader who never reads. Those that ask nothing are ended
by the server.
"""

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_STALLED_SECONDS = 60.0
#: Above what is answered (uvicorn's limit_concurrency): these get no answer at all.
_MOST_CONNECTIONS = 256
_MOST_OF_ONE_ADDRESS = 128


class Patience(H11Protocol):
    """One connection, whose answers must be taken."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken_until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        here = Counter(
            client[0]
            for one in self.connections
            if (client := getattr(one, "client", None)) is not None
        )
        mine = here[self.client[0]] if self.client is not None else 0
        if len(self.connections) > _MOST_CONNECTIONS or mine > _MOST_OF_ONE_ADDRESS:
            transport.abort()

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
