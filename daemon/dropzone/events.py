"""File system events as hints: they wake the scan, they never replace it.

watchdog loses events in bursts and never says so to its handler, so this module adds
what it leaves out: a word when the kernel's queue overflowed, which folders could not
be watched, and whether it is alive.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)


@dataclass(frozen=True, slots=True)
class Listener:
    """What is called, from a thread of the events.

    ``on_file`` gets a relative path, and whether it came by a rename. After
    ``on_overflow`` events are missing.
    """

    on_file: Callable[[bytes, bool], None]
    on_folder: Callable[[bytes], None]
    on_overflow: Callable[[], None]


class Events:
    """Watches one folder tree and calls back from a thread of its own."""

    def __init__(self, root: Path, listener: Listener) -> None:
        self._root = root
        self._listener = listener
        self._handler = _Handler(os.fsencode(root), listener)
        self._observer: _Observer | None = None

    def start(self) -> OSError | None:
        """Begin to watch; return why that cannot be, or None when it works."""
        observer = None
        try:
            observer = _Observer(self._listener.on_overflow)
            observer.schedule(self._handler, str(self._root), recursive=True)
            observer.start()
        except OSError as error:
            if observer is not None:
                observer.stop()
                observer.end_reader()
            return error
        self._observer = observer
        return None

    @property
    def alive(self) -> bool:
        """True while events can come."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and observer.reader.is_alive()
            and all(emitter.is_alive() for emitter in observer.emitters)
        )

    @property
    def unwatched(self) -> int:
        """How many folders got no watch since the start."""
        return self._observer.reader.unwatched if self._observer else 0

    @property
    def refused(self) -> OSError | None:
        """Why the last of them got none."""
        return self._observer.reader.refused if self._observer else None

    def stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(2.0)
            self._observer = None


class _Emitter(InotifyFullEmitter):
    """Asks for arrivals only.

    Departures are left out because watchdog holds each back for half a second, and
    what came after it too; our own claims are departures.
    """

    on_overflow: Callable[[], None] = staticmethod(lambda: None)

    def get_event_mask_from_filter(self) -> Mask:
        return Mask(
            InotifyConstants.IN_CREATE
            | InotifyConstants.IN_CLOSE_WRITE
            | InotifyConstants.IN_MOVED_TO
            | InotifyConstants.IN_DELETE_SELF
        )

    def on_thread_start(self) -> None:
        super().on_thread_start()
        group = self._inotify
        if group is None:
            return
        rebuild = group.on_queue_overflow

        def overflowed() -> None:
            rebuild()
            self.on_overflow()

        group.on_queue_overflow = overflowed  # type: ignore[method-assign]

    def on_thread_stop(self) -> None:
        group = self._inotify
        try:
            super().on_thread_stop()
        except KeyError:
            # watchdog loses count where folders take each other's place faster than it
            # reads. The watches are gone by then; but this thread waits at the queue.
            if group is not None:
                group._move_event_grouper.close()  # noqa: SLF001 nothing else ends it


class _Reader(InotifyFD):
    """Reads the kernel's events in a thread of its own.

    Counts the folders that get no watch: watchdog passes over them in silence.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unwatched = 0
        self.refused: OSError | None = None

    def _add_callback(
        self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId
    ) -> WatchDescriptor:
        # A folder that is made and filled at once is met twice. watchdog warns of it,
        # which ends this thread where warnings are errors.
        try:
            watch = self._get_or_create_watch(path, mask)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.unwatched += 1
                self.refused = error
            raise
        watch.callbacks[id_] = callback
        return watch.wd


class _Observer(BaseObserver):
    def __init__(self, on_overflow: Callable[[], None]) -> None:
        self.reader = _Reader()
        self.reader.start()
        emitter = type(
            "_Emitter", (_Emitter,), {"on_overflow": staticmethod(on_overflow)}
        )
        super().__init__(emitter, inotify_fd=self.reader)

    def on_thread_stop(self) -> None:
        super().on_thread_stop()
        self.end_reader()

    def end_reader(self) -> None:
        """End the thread that reads, also of an observer that never ran."""
        self.reader.stop()
        self.reader.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, root: bytes, listener: Listener) -> None:
        self._root = root
        self._on_file = listener.on_file
        self._on_folder = listener.on_folder

    def on_any_event(self, event: FileSystemEvent) -> None:
        moved = isinstance(event, FileMovedEvent)
        path = os.fsencode(event.dest_path or event.src_path)
        if not path.startswith(self._root + b"/"):
            return
        relative = path[len(self._root) + 1 :]
        if not event.is_directory:
            self._on_file(relative, moved)
        elif event.event_type in {"created", "moved"}:
            self._on_folder(relative)
