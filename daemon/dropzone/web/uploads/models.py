"""What is told of uploads, and the headers that requests have."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dropzone.web.api.operation import Given
from dropzone.web.uploads import protocol


class Upload(BaseModel):
    """An upload. ``path`` is below input/: where it is to go, or has landed.

    It is "open" until it has landed; ``job`` is there once the file is taken. It is
    ``receiving`` while bytes came within the last seconds, from wherever; otherwise it
    has stopped, and waits for somebody to go on.
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
    last_byte_at: float | None
    receiving: bool
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
            "mtime in seconds since 1970; every other goes with the file, as does "
            "metadata, a JSON object of texts.",
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
