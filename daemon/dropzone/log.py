"""Logging: events with keys, told to people, to programs, or to the journal."""

import contextlib
import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

import structlog

from dropzone import journald
from dropzone.log_file import LogFile
from dropzone.settings import Log

_MEGABYTE = 1_000_000

_CALLSITE = structlog.processors.CallsiteParameterAdder(
    [
        structlog.processors.CallsiteParameter.PATHNAME,
        structlog.processors.CallsiteParameter.LINENO,
        structlog.processors.CallsiteParameter.FUNC_NAME,
    ],
    additional_ignores=[__name__],
)
# botocore prints session tokens and signatures at DEBUG, so these stay at WARNING
# whatever our own level is.
_QUIET = ("boto3", "botocore", "urllib3", "s3transfer", "httpx", "mlflow", "watchdog")
_LEVELS = {
    name.lower(): number for name, number in logging.getLevelNamesMapping().items()
}


class _Lines(structlog.PrintLogger):
    """Writes events to a stream. One that it does not take is lost, and stops nobody.

    The disk below standard error may be full, or who read it may be gone.
    """

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class _Form:
    """How lines are written now. Loggers that parts hold follow it when it changes."""

    level = logging.INFO
    last: tuple[Any, ...] = ()
    file: LogFile | None = None


def _drop_lower(_logger: Any, method: str, event: Any) -> Any:
    if _LEVELS[method] < _Form.level:
        raise structlog.DropEvent
    return event


def _render(logger: Any, method: str, event: Any) -> Any:
    for processor in _Form.last:
        event = processor(logger, method, event)
    return event


def configure(
    level: str = "info", form: str = "auto", out: TextIO | None = None
) -> None:
    """Set up structlog for this process; ``form`` is auto, human or json.

    May be called again: loggers that were made before then follow too.
    """
    stream = out or sys.stderr
    _Form.level = _LEVELS[level]
    _Form.last = _last(form, stream)
    structlog.configure(
        processors=[
            _drop_lower,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        # A logger keeps its class for good, so the level is looked at in each line.
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _last(form: str, stream: TextIO) -> tuple[Any, ...]:
    told = structlog.processors.format_exc_info
    if form == "human" or (form == "auto" and stream.isatty()):
        # The usual one shows the local variables of each frame, secrets among them.
        plain = structlog.dev.plain_traceback
        return (
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), sort_keys=False, exception_formatter=plain
            ),
        )
    if form == "auto" and journald.is_journal(stream):
        return (_CALLSITE, told, journald.Sender())
    return (told, structlog.processors.JSONRenderer(ensure_ascii=True))


def set_up(chosen: Log) -> None:
    """Set up structlog as the settings say; may be called again.

    Raises:
        ConfigurationError: the log file cannot be written.

    """
    if chosen.file is None:
        configure(chosen.level, chosen.format)
        return
    out = _Form.file
    if out is None or out.baseFilename != str(chosen.file):
        most = int(chosen.file_megabytes * _MEGABYTE)
        out = LogFile(chosen.file, most_bytes=most, count=chosen.file_count)
        _Form.file = out
    configure(chosen.level, chosen.format, cast("TextIO", out))


def bound(**keys: Any) -> AbstractContextManager[None]:
    """Bind keys, such as the job, to every line this thread logs in the block."""
    return structlog.contextvars.bound_contextvars(**keys)


def get(name: str) -> Any:
    """Return a logger that binds ``component``."""
    return structlog.get_logger().bind(component=name)
