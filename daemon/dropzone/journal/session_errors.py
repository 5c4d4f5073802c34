"""What can go wrong with a session record, named for what the caller does next."""

from dropzone.errors import DropzoneError


class SessionError(DropzoneError):
    """Base of every error about session records."""


class SessionUnknown(SessionError):
    """No record has this id: create one."""


class SessionEnded(SessionError):
    """The session is not active any more: create another.

    ``status`` is ``ended``, ``timeout`` or ``error``; ``reason`` is what was given
    when it ended.
    """

    def __init__(self, message: str, *, status: str, reason: str) -> None:
        super().__init__(message, hint="Create another session.")
        self.status = status
        self.reason = reason


class SessionLimit(SessionError):
    """As many sessions are active as may be: end some, or try later."""


class SessionDataError(SessionError):
    """What was given cannot be kept as it is: give JSON, or text where text is due."""


class SessionConcurrencyError(SessionError):
    """Somebody else was faster: read the record again, and decide again."""


class SessionLeased(SessionConcurrencyError):
    """Somebody else holds the lease: wait until ``until`` (epoch seconds, or None)."""

    def __init__(self, message: str, *, owner: str, until: float | None) -> None:
        super().__init__(message, hint="Wait for its release, or for its end.")
        self.owner = owner
        self.until = until


class SessionLeaseLost(SessionConcurrencyError):
    """A token was shown, but nobody holds a lease: take a new one."""


class SessionSecurityError(SessionError):
    """The token is wrong or missing: do not go on with this session.

    ``failures`` is how often that has happened to this record.
    """

    def __init__(self, message: str, *, failures: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.failures = failures


class SessionLocked(SessionSecurityError):
    """Too many wrong tokens were shown: only ``unlock`` opens it again."""


class SessionCleanupError(SessionError):
    """A clean-up stopped half-way: try it later. ``ended`` sessions are durable."""

    def __init__(self, message: str, *, ended: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.ended = ended


class SessionFileError(SessionError):
    """The file cannot be used as it is, or is closed: a person must act."""
