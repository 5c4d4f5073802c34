"""What is told of uploads as JSON, to requests and to our own pages."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dropzone.models import Job
from dropzone.places import collection_of
from dropzone.text import display
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask
from dropzone.web.uploads.shelves import Place, Shelves, of_disk

# A sender who was silent for so long has stopped, as far as anybody can tell.
_STOPPED_SECONDS = 10.0


def mine(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return the unfinished uploads of who asks."""
    shelves = Shelves(backend)
    return {"uploads": [of(shelves, place) for place in shelves.mine(ask.caller.name)]}


def one(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return one upload, and the job that it became.

    Raises:
        Problem: there is none, or it is complete and cannot be put into input/.

    """
    shelves = Shelves(backend)
    try:
        place = shelves.find(ask.path["upload"], ask.caller.name)
        return of(shelves, place, shelves.job_of(place))
    except OSError as error:
        raise of_disk(error) from error


def of(shelves: Shelves, place: Place, job: Job | None = None) -> Mapping[str, Any]:
    """Return what ``models.Upload`` tells."""
    upload = place.upload
    path = job.path if job is not None else upload.landed or upload.wanted.path
    last = place.state.touched if place.state.offset else None
    is_open = upload.landed_at is None
    return {
        "id": upload.id,
        "state": "open" if is_open else "landed",
        "zone": place.zone.name,
        "collection": collection_of(path),
        "path": display(path),
        "path_quoted": quote(path),
        "length": upload.wanted.length,
        "offset": place.state.offset,
        "metadata": dict(upload.wanted.given),
        "created_at": upload.created_at,
        "last_byte_at": last,
        "receiving": is_open
        and last is not None
        and time.time() - last < _STOPPED_SECONDS,
        "expires_at": shelves.expires_at(place.state),
        "landed_at": upload.landed_at,
        "job": job.id if job is not None else None,
    }
