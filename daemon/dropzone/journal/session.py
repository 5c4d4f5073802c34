"""The words of the session records as values: records, events, metrics, counts."""

import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

from dropzone.journal.session_errors import SessionDataError


class SessionStatus(StrEnum):
    """Active, or one of the three ways a session ends."""

    ACTIVE = "active"
    ENDED = "ended"
    TIMEOUT = "timeout"
    ERROR = "error"


class Session(NamedTuple):
    """A session record as it was when it was read; nothing changes in it later.

    Times are seconds since the epoch. ``data`` and ``metadata`` are read anew from
    their JSON at every access, so changing what they return changes no record: use
    ``Sessions.update``. ``version`` counts changes of content and state, not mere
    activity. ``ttl`` is how many seconds the session lives after its last activity,
    None for ever. ``failures`` counts wrong tokens. ``token`` is there only on what
    ``create`` and ``lease`` returned, and what came of using that: the file keeps its
    SHA-256 alone.
    """

    id: str
    owner: str
    status: SessionStatus
    started_at: float
    ended_at: float | None
    end_reason: str | None
    last_activity: float
    data_json: str
    metadata_json: str
    interaction_count: int
    version: int
    ttl: float | None
    expires_at: float | None
    lease_owner: str | None
    lease_until: float | None
    lease_digest: bytes | None
    failures: int
    locked: bool
    token: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """What ``create`` or ``update`` was given, as a copy of your own."""
        return _decode(self.data_json)[0]  # type: ignore[no-any-return]

    @property
    def metadata(self) -> dict[str, Any]:
        return _decode(self.metadata_json)[0]  # type: ignore[no-any-return]

    @property
    def active(self) -> bool:
        return self.status == SessionStatus.ACTIVE

    def expired(self, now: float) -> bool:
        """Whether its time to live is over and nobody has noted that yet."""
        return self.active and self.expires_at is not None and self.expires_at <= now

    def changed(self, data: str, metadata: str | None, now: float) -> Self:
        """Return the next version, with this JSON as data; None keeps the metadata."""
        # Not _replace, which takes three times as long.
        return type(self)._make((
            *self[:6], now, data, self.metadata_json if metadata is None else metadata,
            self.interaction_count + 1, self.version + 1, self.ttl,
            None if self.ttl is None else now + self.ttl, *self[13:18], None,
        ))  # fmt: skip

    def carrying(self, token: str | None) -> Self:
        """Return the same with the token."""
        return self if token is None else type(self)._make((*self[:COLUMNS], token))

    def counted(self, interactions: int, failures: int) -> Self:
        """Return the same with the counts that the file has."""
        if interactions == self.interaction_count and failures == self.failures:
            return self
        return self._replace(interaction_count=interactions, failures=failures)

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Self:
        """Return the record of a row of the table."""
        values = list(row[:18])
        # Said often, kept once.
        values[1] = sys.intern(row[1])
        values[2] = _STATUSES[row[2]]
        values[8] = "{}" if row[8] == "{}" else row[8]
        values[13] = row[13] and sys.intern(row[13])
        values[17] = bool(row[17])
        return cls._make([*values, None])

    def __repr__(self) -> str:
        # Never the token, and not megabytes of data.
        return f"Session({self.id}, {self.owner!r}, {self.status}, v{self.version})"


_STATUSES = {str(status): status for status in SessionStatus}
#: How many of the table's columns are fields of a Session.
COLUMNS = len(Session._fields) - 1


@dataclass(frozen=True, slots=True)
class Event:
    """Something recorded about a session; ``at`` in epoch seconds.

    ``kind`` is what the caller chose, or ``security`` for a refused token; ``seq``
    grows with each event of the file.
    """

    seq: int
    session_id: str
    at: float
    kind: str
    data: Any


@dataclass(frozen=True, slots=True)
class Metric:
    """What was measured under one name in one session, in the caller's unit."""

    name: str
    count: int
    total: float
    least: float
    most: float
    last: float

    @property
    def mean(self) -> float:
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class SessionStats:
    """How many records have each status; ``locked`` of the active are locked out."""

    active: int
    ended: int
    timeout: int
    error: int
    locked: int
    #: Records in this process's memory.
    cached: int

    @property
    def records(self) -> int:
        return self.active + self.ended + self.timeout + self.error


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
# Twice as fast as json.loads, and good enough for what this module wrote.
_decode = json.JSONDecoder().raw_decode


def to_json(value: Any, what: str) -> str:
    """Return the value as JSON text that reads back as an equal value.

    Raises:
        SessionDataError: it is not JSON.

    """
    try:
        text = _encode(value)
        same = _decode(text)[0] == value
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionDataError(
            f"The {what} cannot be written as JSON: {_reason(error)}.", hint=_HINT
        ) from error
    if not same:
        raise SessionDataError(
            f"The {what} would not come back from JSON as it is: it has a tuple, or a "
            "key that is not text.",
            hint=_HINT,
        )
    return text


_HINT = "Use dicts with text as keys, lists, text, finite numbers, booleans and None."


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def object_json(value: dict[str, Any] | None, what: str) -> str:
    """As ``to_json``, for what must be an object; None is an empty one."""
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise SessionDataError(
            f"The {what} must be a dict, not {type(value).__name__}.", hint=_HINT
        )
    return to_json(value, what)


def positive(number: float, what: str) -> None:
    """Refuse what can only be a mistake in the program.

    Raises:
        ValueError: it is not more than 0.

    """
    if not number > 0:
        raise ValueError(f"{what} must be more than 0, not {number}")


def plain(text: Any, what: str) -> str:
    """Return the text as it is, if SQLite can keep it.

    Raises:
        SessionDataError: it is empty, no text, or has half a surrogate pair.

    """
    if not (isinstance(text, str) and text):
        raise SessionDataError(f"The {what} must be text, and not empty.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SessionDataError(f"The {what} is not valid Unicode text.") from error
    return text
