"""What is told of uploads, and the headers that requests have."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from dropzone.models import Job
from dropzone.places import collection_of
from dropzone.text import display
from dropzone.uploads.record import State
from dropzone.web.api.operation import Given
from dropzone.web.uploads import protocol


class Upload(BaseModel):
    """An upload. ``path`` is below input/: where it is to go, or has landed.

    It is "open" until it has landed; ``job`` is there once the file is taken.
    """

    id: str
    state: Literal["open", "landed"]
    zone: str
    collection: str
    path: str
    path_quoted: str
    length: int
    offset: int
    metadata: dict[str, str]
    created_at: float
    expires_at: float | None
    landed_at: float | None
    job: str | None


class Uploads(BaseModel):
    """The unfinished uploads of who asks, the oldest first."""

    uploads: list[Upload]


class _Headers(Given):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    version: Annotated[
        Literal["1.0.0"], Field(alias="Tus-Resumable", description="The version.")
    ]


class Asking(_Headers):
    """Of a new upload."""

    length: Annotated[
        int,
        Field(
            alias="Upload-Length",
            ge=0,
            le=protocol.MOST_BYTES,
            description="How many bytes the file has.",
        ),
    ]
    metadata: Annotated[
        str,
        Field(
            alias="Upload-Metadata",
            description="Pairs of a key and a value in Base64, divided by commas: "
            "filename, or relativePath with the name at its end; zone, collection, "
            "mtime in seconds since 1970; every other goes with the file.",
        ),
    ]


class Adding(_Headers):
    """Of more bytes."""

    offset: Annotated[
        int,
        Field(
            alias="Upload-Offset",
            ge=0,
            le=protocol.MOST_BYTES,
            description="Where these bytes begin: what HEAD says.",
        ),
    ]
    checksum: Annotated[
        str | None,
        Field(
            alias="Upload-Checksum",
            pattern="^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$",
            description="sha1 or sha256, a blank, and the sum of the body in Base64.",
        ),
    ] = None


class Speaking(_Headers):
    """Of anything else that tus asks."""


def told(
    zone: str, state: State, job: Job | None, expires_at: float | None
) -> Mapping[str, Any]:
    """Return what ``Upload`` tells."""
    upload = state.upload
    path = job.path if job is not None else upload.landed or upload.wanted.path
    return {
        "id": upload.id,
        "state": "open" if upload.landed_at is None else "landed",
        "zone": zone,
        "collection": collection_of(path),
        "path": display(path),
        "path_quoted": quote(path),
        "length": upload.wanted.length,
        "offset": state.offset,
        "metadata": dict(upload.wanted.given),
        "created_at": upload.created_at,
        "expires_at": expires_at,
        "landed_at": upload.landed_at,
        "job": job.id if job is not None else None,
    }
