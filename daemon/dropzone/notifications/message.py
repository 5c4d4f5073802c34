"""A message: what a person reads, and the same as values for programs."""

import dataclasses
import datetime as dt
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from dropzone import __version__


@dataclass(frozen=True, slots=True)
class Words:
    """What a message says; ``data`` holds the same as values."""

    title: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """``kind`` is failures, pauses, recovery, summary, several or test.

    ``id`` stays the same when a message is sent again.
    """

    kind: str
    zone: str
    title: str
    text: str
    data: Mapping[str, Any]
    id: str
    created_at: float
    host: str
    #: The daemon's page.
    url: str | None = None

    @classmethod
    def of(cls, kind: str, zone: str, words: Words, url: str | None = None) -> Self:
        host = socket.gethostname()
        return cls(
            kind=kind,
            zone=zone,
            title=f"{host}/{zone}: {words.title}",
            # An address of this machine leads nowhere on a phone.
            text=words.text if not url or _is_local(url) else f"{words.text}\n{url}",
            data=words.data,
            id=secrets.token_hex(8),
            created_at=time.time(),
            host=host,
            url=url,
        )

    def dump(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def told(self) -> dict[str, Any]:
        """Return what a webhook and a command get."""
        at = dt.datetime.fromtimestamp(self.created_at, dt.UTC)
        return {
            **self.dump(),
            "created_at": at.isoformat(timespec="seconds"),
            "dropzone": __version__,
        }


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
