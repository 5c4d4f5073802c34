"""The error family, named for what the caller does next.

Every message is a sentence for a person; ``hint`` says what to do about it.
"""


class DropzoneError(Exception):
    """Base of every error that dropzone raises on purpose."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            # Shown below a traceback, where the error is not told by a command.
            self.add_note(hint)


class ConfigurationError(DropzoneError):
    """A setting is wrong: say which, and stop (exit code 2)."""


class UsageError(DropzoneError):
    """The command was called in a way that cannot work (exit code 2)."""


class ZoneError(DropzoneError):
    """The folders of a zone cannot be used as they are: stop, a person must act."""


class ZoneHeld(ZoneError):
    """Another process serves the zone: wait until it ends, or stop."""


class ZoneNotOurs(ZoneError):
    """The zone belongs to another user: a start again will not mend it."""


class ServiceUnavailable(DropzoneError):
    """The surroundings are at fault, not the document.

    Pause the step for all jobs, probe, resume; nobody's attempts are used up.
    ``service`` is one of ``s3``, ``postgres``, ``mlflow``, ``bedrock``, ``disk``,
    ``parser``.
    """

    def __init__(self, service: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.service = service


class DocumentRejected(DropzoneError):
    """The document can never pass: move it to ``failed/`` at once."""


class NotFound(DocumentRejected):
    """There is no such thing, and asking again will not bring it."""


class ParserDied(DropzoneError):
    """The parser process was killed by this document; three deaths are final."""


class SourceChanged(DropzoneError):
    """The file changed while it was being read: start again from its claim."""


#: What to do about a file that does not keep still.
WRITTEN_TO = "Something still writes to it; write aside and rename into input/."


class Stopping(DropzoneError):
    """The daemon is stopping: give the work back as it is."""
