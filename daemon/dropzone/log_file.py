"""A log file that is rotated, found again after others moved it, and never fatal."""

import os
import sys
from io import FileIO
from logging.handlers import RotatingFileHandler
from pathlib import Path

from dropzone.errors import ConfigurationError
from dropzone.text import display

_MODE = 0o640


class LogFile(RotatingFileHandler):
    """Takes whole lines. What the disk refuses goes to standard error instead.

    The name is looked at before each line: after logrotate moved the file, lines go
    into a new one, without any signal.
    """

    stream: FileIO | None  # type: ignore[assignment]  # lines are whole, so no buffer

    def __init__(self, path: Path, *, most_bytes: int, count: int) -> None:
        """Open the file, and make its folder if need be.

        Raises:
            ConfigurationError: it cannot be written.

        """
        super().__init__(path, maxBytes=most_bytes, backupCount=count, delay=True)
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.stream = self._open()
        except OSError as error:
            raise ConfigurationError(
                f"The log file {display(bytes(path))} cannot be written: "
                f"{error.strerror}.",
                hint="Mend its rights, or name another in log.file.",
            ) from error

    def write(self, line: str) -> None:
        """Append a line; a file that grew too large is set aside first."""
        data = line.encode("utf-8", "backslashreplace")
        try:
            stream = self._current()
            size = os.fstat(stream.fileno()).st_size
            if size and size + len(data) > self.maxBytes:
                self.doRollover()
                stream = self._current()
            if stream.write(data) != len(data):
                # The disk took a part of it; the rest stands where a person looks.
                sys.stderr.write(line)
        except OSError:
            sys.stderr.write(line)

    def flush(self) -> None:
        """Do nothing: every line is written at once."""

    def isatty(self) -> bool:
        return False

    def _current(self) -> FileIO:
        """Return the file that has the name now."""
        if self.stream is not None:
            try:
                named, held = os.stat(self.baseFilename), os.fstat(self.stream.fileno())
                if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino):
                    return self.stream
            except FileNotFoundError:
                pass
            self.stream.close()
            self.stream = None
        self.stream = self._open()
        return self.stream

    def _open(self) -> FileIO:  # type: ignore[override]  # see stream
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return FileIO(os.open(self.baseFilename, flags, _MODE), "a")
