"""Where to look before the next scan: left by the events, taken by the watcher."""

import threading

# Beyond this many hints a scan is cheaper than following each.
_MOST = 5_000


class Hints:
    """Of one zone; shared by the thread of the events and that of the watcher."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._files: dict[bytes, bool] = {}
        self._folders: set[bytes] = set()
        # The first look is a scan.
        self._scan = True

    def file(self, path: bytes, arrived: bool) -> None:
        """Have a file looked at; ``arrived``: it was renamed into its place."""
        with self._lock:
            if len(self._files) >= _MOST:
                self._scan = True
            else:
                self._files[path] = arrived or self._files.get(path, False)
        self.wake()

    def folder(self, path: bytes) -> None:
        """Have all that lies in a folder looked at."""
        with self._lock:
            self._folders.add(path)
        self.wake()

    def scan(self) -> None:
        """Have everything looked at in the next round; wakes nobody."""
        with self._lock:
            self._scan = True

    def take(self) -> tuple[dict[bytes, bool], set[bytes], bool]:
        """Return the files, the folders, and whether to scan; forget them."""
        with self._lock:
            files, self._files = self._files, {}
            folders, self._folders = self._folders, set()
            scan, self._scan = self._scan, False
        return files, folders, scan

    @property
    def waiting(self) -> bool:
        """True while something was not taken yet."""
        with self._lock:
            return bool(self._files or self._folders or self._scan)

    def wake(self) -> None:
        """Begin the next round now."""
        self._wake.set()

    def wait(self, seconds: float) -> None:
        """Return when somebody woke the watcher, or after so many seconds."""
        self._wake.wait(seconds)
        self._wake.clear()
