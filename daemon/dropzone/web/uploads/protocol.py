"""The headers of tus 1.0.0: what they may hold, and what every answer has."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers

from dropzone.web import limits
from dropzone.web.problems import Problem

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination,checksum"
#: What S3 takes as one object.
MOST_BYTES = 5 * (1 << 40)
#: What the checksum extension calls 460.
MISMATCH = 460
_ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
EVERY_ANSWER = {"tus-resumable": VERSION, "cache-control": "no-store"}
OPTIONS = {
    "tus-version": VERSION,
    "tus-extension": EXTENSIONS,
    "tus-max-size": str(MOST_BYTES),
    "tus-checksum-algorithm": ",".join(_ALGORITHMS),
}
_NUMBER = re.compile("[0-9]{1,18}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_MOST_KEYS = 64


class Checksum:
    """What a body must hash to, and what it does so far."""

    def __init__(self, algorithm: str, expected: bytes) -> None:
        self._hash = _ALGORITHMS[algorithm]()
        self._expected = expected

    def update(self, block: bytes | bytearray) -> None:
        self._hash.update(block)

    @property
    def fits(self) -> bool:
        digest: bytes = self._hash.digest()
        return digest == self._expected


def check_version(headers: Headers) -> None:
    """Refuse who speaks another version.

    Raises:
        Problem: with the versions that are spoken.

    """
    if headers.get("tus-resumable") != VERSION:
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            "The request does not say that it speaks tus 1.0.0.",
            f"Send the header Tus-Resumable: {VERSION}.",
            headers={"tus-version": VERSION},
        )


def length_of(headers: Headers) -> int:
    """Return how long the file is to be.

    Raises:
        Problem: it is not told, or more than any file may have.

    """
    if "upload-defer-length" in headers:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "The length of a file must be known before it is uploaded.",
            "Send Upload-Length; Upload-Defer-Length is not spoken here.",
        )
    length = _number(headers, "upload-length")
    if length > MOST_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A file may have {MOST_BYTES} bytes, which is what S3 takes.",
            "Cut it into several files.",
        )
    return length


def offset_of(headers: Headers) -> int:
    return _number(headers, "upload-offset")


def body_length(headers: Headers) -> int | None:
    """Return how many bytes the body has, None where it is not told."""
    if "content-length" not in headers:
        return None
    return _number(headers, "content-length")


def _number(headers: Headers, name: str) -> int:
    text = headers.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The header {name.title()} must be a number of bytes, 0 or more.",
            "See docs/api.md.",
        )
    return int(text)


def is_bytes(headers: Headers) -> bool:
    """Return whether the body is bytes of a file."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == limits.BYTES


def metadata_of(text: str) -> dict[str, str]:
    """Return the pairs of Upload-Metadata: keys, and values in Base64 of UTF-8.

    Raises:
        Problem: they cannot be read.

    """
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found or len(found) == _MOST_KEYS:
            raise _bad_metadata("a key that is empty, twice there, or one too many")
        try:
            raw = base64.b64decode(value.strip().encode(), validate=True)
            found[key] = raw.decode()
        except (binascii.Error, UnicodeError):
            raise _bad_metadata(f"{key[:100]!r}, which is no Base64 of UTF-8") from None
    return found


def _bad_metadata(what: str) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        f"The header Upload-Metadata has {what}.",
        "It holds pairs, divided by commas: a key, a blank, the value in Base64.",
    )


def checksum_of(headers: Headers) -> Checksum | None:
    """Return what the body must hash to, if the header says so.

    Raises:
        Problem: the header cannot be read, or names an unknown algorithm.

    """
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in _ALGORITHMS:
        raise _bad_checksum()
    try:
        expected = base64.b64decode(encoded.encode(), validate=True)
    except (binascii.Error, UnicodeError):
        raise _bad_checksum() from None
    return Checksum(algorithm, expected)


def _bad_checksum() -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "The header Upload-Checksum cannot be read.",
        f"It holds one of {', '.join(_ALGORITHMS)}, a blank, the sum in Base64.",
    )


def date(epoch: float) -> str:
    return formatdate(epoch, usegmt=True)
