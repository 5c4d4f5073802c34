"""The bodies that are coming in now: few at once, and one for each upload."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.types import Receive

from dropzone.web.problems import Problem
from dropzone.web.uploads.bodies import Body

#: Bodies that come in at once, of all callers and of one; each holds a block.
MOST = 32
MOST_OF_ONE = 16
# A body that was silent for so long gives way to another for the same upload: its
# connection may be dead, which nobody tells us.
_SILENT_SECONDS = 2.0
_ENDING_SECONDS = 5.0


class Stream:
    """One body on its way to one upload."""

    def __init__(self, receive: Receive, refusal: Callable[[], Problem | None]) -> None:
        self.unwanted = False
        self.ended = asyncio.Event()
        self._refusal = refusal
        self.body = Body(receive, self._why_end)

    def _why_end(self) -> Problem | None:
        return _taken_over() if self.unwanted else self._refusal()


class Streams:
    """All of them; used in the event loop only."""

    def __init__(self) -> None:
        self._by_upload: dict[str, Stream] = {}
        self._callers: Counter[str] = Counter()

    @contextmanager
    def opened(self, upload: str, caller: str, stream: Stream) -> Iterator[None]:
        """Count a stream while the block lasts.

        Raises:
            Problem: there are too many, or the upload has one.

        """
        if upload in self._by_upload:
            raise busy()
        if len(self._by_upload) >= MOST or self._callers[caller] >= MOST_OF_ONE:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many files are coming in just now.",
                "Send fewer at once; this one goes on where it was.",
                headers={"retry-after": "2"},
            )
        self._by_upload[upload] = stream
        self._callers[caller] += 1
        try:
            yield
        finally:
            del self._by_upload[upload]
            self._callers[caller] -= 1
            stream.ended.set()

    async def clear(self, upload: str, *, by_force: bool = False) -> None:
        """Let an upload's stream end that is silent, or any ``by_force``.

        Raises:
            Problem: it has one that goes on.

        """
        stream = self._by_upload.get(upload)
        if stream is None:
            return
        silent = time.monotonic() - stream.body.last
        if silent < _SILENT_SECONDS and not by_force:
            raise busy()
        stream.unwanted = True
        try:
            async with asyncio.timeout(_ENDING_SECONDS):
                await stream.ended.wait()
        except TimeoutError:
            raise busy() from None


def busy() -> Problem:
    return Problem(
        HTTPStatus.LOCKED,
        "Another request adds to this upload just now.",
        "Wait a moment, ask with HEAD how far it is, and go on from there.",
        headers={"retry-after": "1"},
    )


def _taken_over() -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        "Another request took this upload over.",
        "Ask with HEAD how far it is.",
        headers={"connection": "close"},
    )
