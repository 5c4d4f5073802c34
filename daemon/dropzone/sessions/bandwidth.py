"""Keeps what is sent below a rate, over all threads that share it."""

import threading
import time
from typing import BinaryIO

from dropzone import heartbeats
from dropzone.errors import Stopping

# Time that was not used is made up for by no more than this: enough for the delays of
# a busy machine, too little to be seen as a burst.
_CREDIT_SECONDS = 0.1
# Small pieces let all threads, and so all connections, move on all the time.
_PIECE_SECONDS = 0.05
_LEAST_PIECE = 1024
_LOOK_SECONDS = 1.0
_BLOCK = 1 << 16


class Bandwidth:
    """A rate in bytes a second, or None for no limit; it may change at any time."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._free_at = 0.0

    @property
    def rate(self) -> float | None:
        return self._rate

    def update(self, rate: float | None) -> None:
        with self._lock:
            if rate != self._rate:
                self._rate = rate
                # What waits now waits for what was promised at the old rate.
                self._free_at = min(self._free_at, time.monotonic() + _LOOK_SECONDS)

    def piece(self, wanted: int) -> int:
        """Return how many bytes to send at once, ``wanted`` at most."""
        rate = self._rate
        if rate is None:
            return wanted
        return max(1, min(wanted, max(_LEAST_PIECE, int(rate * _PIECE_SECONDS))))

    def take(self, size: int) -> None:
        """Return when so many bytes may have been sent.

        Raises:
            Stopping: the program stops meanwhile.

        """
        with self._lock:
            if self._rate is None:
                return
            begin = max(self._free_at, time.monotonic() - _CREDIT_SECONDS)
            self._free_at = free_at = begin + size / self._rate
        while (left := free_at - time.monotonic()) > 0:
            heartbeats.beat()
            if self._stop.wait(min(left, _LOOK_SECONDS)):
                raise Stopping("The daemon is stopping, so the upload is given up.")


class Paced:
    """A binary file that is read no faster than the bandwidth allows."""

    def __init__(self, file: BinaryIO, bandwidth: Bandwidth) -> None:
        self._file = file
        self._bandwidth = bandwidth
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, perhaps fewer than asked for; none at the end.

        Raises:
            Stopping: the program stops meanwhile.

        """
        data = self._file.read(self._bandwidth.piece(size if size > 0 else _BLOCK))
        self._bandwidth.take(len(data))
        return data
