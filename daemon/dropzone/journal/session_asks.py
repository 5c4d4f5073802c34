"""What an operation on session records asks for, and for which record."""

import hashlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from dropzone.journal.session import Session
from dropzone.journal.session_errors import SessionDataError, SessionUnknown
from dropzone.journal.session_works import Work

T = TypeVar("T")
#: What changes the data: in place, or by returning the new data.
Changer = Callable[[dict[str, Any]], dict[str, Any] | None]


class Read(NamedTuple):
    """Ask for the record as it is in the file now."""

    key: str


class Peek(NamedTuple):
    """Ask for the record as memory has it, old or not; None if it has not."""

    key: str


class Query(NamedTuple):
    """Ask for the rows of a named statement."""

    name: str
    values: Any = ()


Step = Work[Any] | Read | Peek | Query
Steps = Generator[Step, Any, T]


class Key(NamedTuple):
    """Which record, and what was shown for it."""

    id: str
    digest: bytes | None
    token: str | None = None


def key(session: Any, token: Any) -> Key:
    """Return the id, and the digest of the token given or carried by the record.

    Raises:
        SessionUnknown: that can be no id.

    """
    if isinstance(session, Session):
        token = session.token if token is None else token
        session = session.id
    if not isinstance(session, str) or not session.isascii():
        raise unknown(session)
    return Key(session, digest_of(token), token)


def digest_of(token: Any) -> bytes | None:
    return None if token is None else hashlib.sha256(_bytes(token)).digest()


def _bytes(token: Any) -> bytes:
    if not isinstance(token, str):
        raise SessionDataError("A token must be text.")
    return token.encode("utf-8", "surrogatepass")


def unknown(session: object) -> SessionUnknown:
    return SessionUnknown(
        f"There is no session {session!r}.", hint="Create one, or look for its id."
    )
