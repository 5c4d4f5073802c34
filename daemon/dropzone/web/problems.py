"""Errors as RFC 9457 has them: a sentence, and what to do about it."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from dropzone.errors import (
    ConfigurationError,
    DropzoneError,
    NotFound,
    ServiceUnavailable,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
# What HTTP itself does not name: 460 is of tus.
_PHRASES = {460: "Checksum Mismatch"}


class Problem(Exception):
    """An answer that is an error. ``detail`` is a sentence for a person."""

    def __init__(
        self,
        status: int,
        detail: str,
        what_to_do: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """``members`` are told besides, such as ``errors``."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.what_to_do = what_to_do
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> Response:
        told = {
            "type": "about:blank",
            "title": phrase(self.status),
            "status": self.status,
            "detail": self.detail,
            "what_to_do": self.what_to_do,
            **self.members,
        }
        return Response(
            json.dumps(told), self.status, self.headers, media_type=MEDIA_TYPE
        )


def phrase(status: int) -> str:
    """Return what a status is called."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def of(error: DropzoneError) -> Problem:
    """Return the answer to an error of ours, by its class."""
    if isinstance(error, NotFound):
        status = HTTPStatus.NOT_FOUND
    elif isinstance(error, ServiceUnavailable):
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            error.message,
            error.hint,
            headers={"retry-after": "5"},
            service=error.service,
        )
    elif isinstance(error, UsageError | ConfigurationError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    else:
        status = HTTPStatus.CONFLICT
    return Problem(status, error.message, error.hint)
