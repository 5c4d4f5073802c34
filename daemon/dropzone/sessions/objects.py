"""Objects as S3 sees them: digests, keys' metadata, what an upload proved."""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from dropzone import heartbeats

PART_SIZE = 16 << 20
_MOST_PARTS = 10_000
_BLOCK = 1 << 20
# S3 counts the UTF-8 bytes of all names and values together.
_METADATA_BYTES = 2048


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One pass over a file: ``sha256`` and ``md5`` in hex, and the MD5 of each part.

    ``part_md5s`` are 16 raw bytes each, for parts of ``part_size`` bytes.
    """

    sha256: str
    md5: str
    part_md5s: tuple[bytes, ...]
    part_size: int
    size: int

    @property
    def etags(self) -> tuple[str, str]:
        """The ETags S3 servers give these bytes: uploaded whole, and in parts."""
        parts = _md5(b"".join(self.part_md5s)).hexdigest()
        return self.md5, f"{parts}-{len(self.part_md5s)}"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that S3 is proven to hold.

    ``checksum_confirmed_by`` says how: ``etag`` or ``sha256`` from the answer to the
    upload, ``head`` from a look at the object, ``parts`` when each part's MD5 was
    accepted and the object is known to be exactly those parts.
    """

    key: str
    size: int
    etag: str
    checksum_confirmed_by: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What S3 says about an object; ``last_modified`` is in seconds since the epoch."""

    key: str
    size: int
    etag: str
    last_modified: float
    sha256: str | None = None
    metadata: Mapping[str, str] | None = None


def part_size_for(size: int) -> int:
    """Return the part size in bytes: 16 MiB, or more so that 10,000 parts suffice."""
    least = -(-size // _MOST_PARTS)
    return max(PART_SIZE, -(-least // _BLOCK) * _BLOCK)


def digest(file: BinaryIO) -> FileDigest:
    """Read ``file`` from its start to its end once, without holding the GIL for long.

    ``file`` is a real, unbuffered file: its size decides where the parts end. Should
    it grow meanwhile, the digest covers what was read, with ``size`` to match.
    """
    part_size = part_size_for(os.fstat(file.fileno()).st_size)
    sha256, part = hashlib.sha256(), _md5()
    whole = part  # while there is one part, they are the same
    parts: list[bytes] = []
    size = 0
    file.seek(0)
    while block := file.read(_BLOCK):
        heartbeats.beat()
        if size and size % part_size == 0:
            whole = part.copy() if whole is part else whole
            parts.append(part.digest())
            part = _md5()
        # Part sizes are multiples of the block, but a read may be short.
        room = part_size - size % part_size
        if len(block) > room:
            file.seek(room - len(block), os.SEEK_CUR)
            block = block[:room]
        sha256.update(block)
        part.update(block)
        if whole is not part:
            whole.update(block)
        size += len(block)
    parts.append(part.digest())
    return FileDigest(
        sha256.hexdigest(), whole.hexdigest(), tuple(parts), part_size, size
    )


def md5_of(data: bytes) -> bytes:
    """Return the MD5 of ``data``, which S3 uses as a checksum against line noise."""
    return _md5(data).digest()


def base64_of(checksum: bytes) -> str:
    """Return ``checksum`` as S3's headers want it."""
    return base64.b64encode(checksum).decode("ascii")


def encode_metadata(metadata: Mapping[str, str | bytes]) -> dict[str, str]:
    """Return ``metadata`` as S3 accepts it: lower-case names, percent-encoded values.

    Entries that would exceed S3's 2 KB are left out, the later ones first: this is a
    copy for people, the truth is in Postgres.
    """
    encoded: dict[str, str] = {}
    room = _METADATA_BYTES
    for name, value in metadata.items():
        raw = value if isinstance(value, bytes) else value.encode(errors="replace")
        text = quote(raw, safe=" /:;=,.+()[]@!")
        # S3 trims the ends of header values.
        text = text if text == text.strip() else quote(raw)
        if (room := room - len(name) - len(text)) < 0:
            break
        encoded[name.lower()] = text
    return encoded


def _md5(data: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)
