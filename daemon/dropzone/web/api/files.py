"""The file of a job as a download, which no browser shows in place."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dropzone import fsops
from dropzone.lookup import lies_in
from dropzone.models import ENDED, Job
from dropzone.places import unquoted
from dropzone.web.api.backend import Backend
from dropzone.web.api.jobs import job_of
from dropzone.web.api.operation import Ask, Operation
from dropzone.web.api.saving import MEDIA, disposition
from dropzone.web.problems import Problem

_BLOCK = 1 << 18
_SANDBOX = "default-src 'none'; sandbox"
# A disk that hangs must not keep the threads of others, such as those of health.
_READERS = 4
_readers: RunVar[anyio.CapacityLimiter] = RunVar("readers of files")


def download(backend: Backend, ask: Ask) -> Response:
    """Return the bytes of a file in processed/ or failed/."""
    job = job_of(backend, ask)
    zone = backend.zone_named(job.zone)
    if job.status not in ENDED:
        raise Problem(409, "The file is under way.", "Wait until it has ended.")
    if lies_in(job, zone.path) is None:
        raise Problem(
            404,
            "The file does not lie in the zone any more.",
            "Make a link to its object in S3: POST .../link.",
        )
    try:
        fd = _opened(zone.path, job)
    except OSError as error:
        raise Problem(
            409, f"The file cannot be read: {error.strerror}.", "See dropzone doctor."
        ) from error
    size = os.fstat(fd).st_size
    headers = {
        "content-length": str(size),
        "content-disposition": disposition(job.name),
        "content-security-policy": _SANDBOX,
    }
    return _File(fd, 0 if ask.request.method == "HEAD" else size, headers)


def _opened(root: Path, job: Job) -> int:
    folder, name = os.path.split(unquoted(str(job.data["place"])))
    top = os.open(root / str(job.data["area"]), fsops.DIRECTORY)
    with (
        fsops.opened(top),
        fsops.opened(fsops.open_directory(top, folder)) as fd,
    ):
        return fsops.open_plain(fd, name)


class _File(StreamingResponse):
    """Sends an open file, and closes it however that ends."""

    def __init__(self, fd: int, size: int, headers: Mapping[str, str]) -> None:
        super().__init__(_blocks(fd, size), headers=headers, media_type=MEDIA)
        self._fd = fd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._fd)


async def _blocks(fd: int, size: int) -> AsyncIterator[bytes]:
    at, limiter = 0, _limiter()
    while at < size:
        wanted = min(_BLOCK, size - at)
        block = await anyio.to_thread.run_sync(
            os.pread, fd, wanted, at, limiter=limiter
        )
        if not block:
            # It was cut off meanwhile: the length that was promised tells it.
            return
        at += len(block)
        yield block


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _readers.get()
    except LookupError:
        _readers.set(anyio.CapacityLimiter(_READERS))
        return _readers.get()


OPERATIONS = (
    Operation(
        *("GET", "/api/v1/jobs/{job}/file", "file"),
        "The file itself, to be saved.",
        download,
        media=MEDIA,
        also=(409,),
    ),
)
