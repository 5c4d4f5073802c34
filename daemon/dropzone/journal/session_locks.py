"""A lock for each record that is being changed, and none for the others."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

L = TypeVar("L")


class Locks(Generic[L]):
    """Makes locks by key, and forgets those that nobody wants; thread-safe."""

    def __init__(self, make: Callable[[], L]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._wanted: dict[str, tuple[L, int]] = {}

    def want(self, key: str) -> L:
        """Return the key's lock; ``leave`` must be called once it is released."""
        with self._guard:
            lock, users = self._wanted.get(key) or (self._make(), 0)
            self._wanted[key] = (lock, users + 1)
            return lock

    def leave(self, key: str) -> None:
        with self._guard:
            lock, users = self._wanted[key]
            if users == 1:
                del self._wanted[key]
            else:
                self._wanted[key] = (lock, users - 1)
