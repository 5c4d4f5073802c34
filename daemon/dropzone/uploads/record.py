"""What is known of an upload, as it is kept on the disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dropzone.places import unquoted

# Who began it may never have heard the answer, and begun another one.
_EMPTY_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asks for: ``path`` is below ``input/``, ``length`` in bytes.

    ``metadata`` is the header as it came; ``given`` is what of it goes with the file.
    """

    owner: str
    path: bytes
    length: int
    metadata: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload. Its file has ``inode`` from the beginning, and takes it along.

    ``landed`` is the path that the file got below ``input/``. After a crash just then
    it may be None while ``landed_at`` is set: the file is there, under a name like
    ``wanted.path``.
    """

    id: str
    wanted: Wanted
    created_at: float
    inode: int
    landed_at: float | None = None
    landed: bytes | None = None

    def dump(self) -> bytes:
        wanted = self.wanted
        told = {
            "id": self.id,
            "owner": wanted.owner,
            "path": quote(wanted.path),
            "length": wanted.length,
            "metadata": wanted.metadata,
            "given": dict(wanted.given),
            "mtime_ns": wanted.mtime_ns,
            "created_at": self.created_at,
            "inode": self.inode,
            "landed_at": self.landed_at,
            "landed": None if self.landed is None else quote(self.landed),
        }
        return json.dumps(told).encode()

    @classmethod
    def load(cls, text: bytes) -> "Upload":
        """Return what ``dump`` made of it; ValueError for anything else."""
        try:
            return cls._load(json.loads(text))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no record of an upload: {error!r}") from error

    @classmethod
    def _load(cls, told: Mapping[str, Any]) -> "Upload":
        landed = told["landed"]
        wanted = Wanted(
            owner=told["owner"],
            path=unquoted(told["path"]),
            length=told["length"],
            metadata=told["metadata"],
            given=told["given"],
            mtime_ns=told["mtime_ns"],
        )
        return cls(
            id=told["id"],
            wanted=wanted,
            created_at=told["created_at"],
            inode=told["inode"],
            landed_at=told["landed_at"],
            landed=None if landed is None else unquoted(landed),
        )


@dataclass(frozen=True, slots=True)
class State:
    """An upload and how far it is; ``touched`` is when bytes last came."""

    upload: Upload
    offset: int
    touched: float

    @property
    def complete(self) -> bool:
        return self.offset == self.upload.wanted.length

    def ends_at(self, lasting: float) -> float:
        """Return when it is removed, if no byte comes for ``lasting`` seconds.

        One that never got any waits for some minutes at most.
        """
        if not self.offset and not self.complete:
            lasting = min(lasting, _EMPTY_SECONDS)
        return self.touched + lasting
