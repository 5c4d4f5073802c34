"""Where a running daemon's settings come from, to be read again and again."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from dropzone import config
from dropzone.config import Loaded

#: An edit is complete when the file has looked the same for so long: editors truncate
#: and write, or rename a new file over the old one.
QUIET_SECONDS = 1.0

_Look = tuple[str, int, int, int, int] | None


class ConfigSource:
    """The configuration file, if there is one, and the environment.

    Used by one thread. ``last`` is what was read last without an error.
    """

    def __init__(
        self, path: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Read the settings; ``path`` as ``config.load`` takes it.

        Raises:
            ConfigurationError: something in them is wrong.

        """
        self._path = path or config.find_file(environ)
        self._environ = environ
        self._seen: _Look = None
        self._edited: tuple[_Look, float] | None = None
        self.last = self.read()

    def read(self) -> Loaded:
        """Return the settings as they are now.

        A file that was used and is gone is an error: nobody means all the defaults.

        Raises:
            ConfigurationError: something in them is wrong; ``last`` stays.

        """
        # Looked at before it is read: an edit meanwhile is seen as one.
        self._seen, self._edited = self._look(), None
        loaded = config.load(self._path, self._environ)
        self._path, self.last = loaded.path, loaded
        return loaded

    def is_edited(self) -> bool:
        """Return True when the file is another than was read, and complete."""
        look, now = self._look(), time.monotonic()
        if look == self._seen:
            self._edited = None
        elif self._edited is None or self._edited[0] != look:
            self._edited = (look, now)
        return self._edited is not None and now - self._edited[1] >= QUIET_SECONDS

    def _look(self) -> _Look:
        path = self._path or config.find_file(self._environ)
        try:
            status = os.stat(path) if path is not None else None
        except OSError:
            status = None
        if status is None:
            return None
        return (
            str(path),
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
        )
