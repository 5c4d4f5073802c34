"""Removes the uploads that nobody goes on with; called now and then, and when full."""

import time

from dropzone import log
from dropzone.settings import Zone
from dropzone.text import display
from dropzone.uploads.record import Upload
from dropzone.uploads.shelf import Shelf


def tidy(zone: Zone, lasting: float) -> None:
    """Remove what got no bytes for ``lasting`` seconds, or none so far; tell of each.

    Raises:
        OSError: the disk fails.

    """
    done = Shelf(zone.path).tidy(lasting, time.time())
    for upload in done.landed:
        tell_landed(zone.name, upload)
    for state in done.expired:
        wanted = state.upload.wanted
        log.get("uploads").info(
            "upload expired",
            zone=zone.name,
            upload=state.upload.id,
            by=wanted.owner,
            path=display(wanted.path),
            bytes=state.offset,
            of=wanted.length,
        )


def tell_landed(zone: str, upload: Upload) -> None:
    """Log who put in which file."""
    log.get("uploads").info(
        "uploaded",
        zone=zone,
        upload=upload.id,
        by=upload.wanted.owner,
        path=display(upload.landed or upload.wanted.path),
        bytes=upload.wanted.length,
    )
