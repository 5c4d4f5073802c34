"""Brings the body of a request into an upload, in blocks, and keeps what came."""

import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from dropzone.uploads.writing import TooMuch, Writer
from dropzone.web.problems import Problem
from dropzone.web.uploads.bodies import Body
from dropzone.web.uploads.protocol import MISMATCH, Checksum

#: Runs a function in a thread that may wait for the disk.
Run = Callable[..., Awaitable[Any]]


async def pour(body: Body, writer: Writer, checksum: Checksum | None, run: Run) -> None:
    """Add the whole body, durably.

    With a checksum all of it counts or nothing; otherwise what came counts.

    Raises:
        Problem: not all came, or it is too much, or does not fit its checksum.
        OSError: the disk does not take it.

    """
    try:
        if checksum is not None:
            await run(writer.verify_first)
        while block := await body.block():
            await run(_write, writer, checksum, block)
    except TooMuch:
        await run(writer.take_back)
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "More bytes came than Upload-Length says; this request counts for nothing.",
            "Ask with HEAD how far the upload is.",
        ) from None
    except (OSError, Problem):
        with contextlib.suppress(OSError):
            await run(writer.sync if checksum is None else writer.take_back)
        raise
    await _end(body, writer, checksum, run)


def _write(writer: Writer, checksum: Checksum | None, block: bytearray) -> None:
    if checksum is not None:
        checksum.update(block)
    writer.write(block)


async def _end(body: Body, writer: Writer, checksum: Checksum | None, run: Run) -> None:
    if checksum is not None and (body.problem is not None or not checksum.fits):
        await run(writer.take_back)
        raise body.problem or Problem(
            MISMATCH,
            "The bytes do not have the sum of Upload-Checksum; they count for nothing.",
            "Send them again.",
        )
    # A complete file is synced when it lands.
    if not writer.complete or checksum is not None:
        await run(writer.sync)
    if body.problem is not None:
        raise body.problem
