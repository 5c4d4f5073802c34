import os
import threading

from dropzone.events import Events, Listener
from zones_helpers import DEADLINE, eventually

NOBODY_LISTENS = Listener(lambda *_: None, lambda _: None, lambda: None)


def test_a_queue_that_overflows_is_told(tmp_path):
    lost = threading.Event()
    go_on = threading.Event()

    def slow(_path, _arrived):
        go_on.wait(DEADLINE)

    events = Events(tmp_path, Listener(slow, lambda _: None, lost.set))
    assert events.start() is None
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        most = int(file.read())
    try:
        for number in range(most + 1000):
            # Opened for writing and closed: two events each.
            os.close(os.open(tmp_path / f"{number % 500}", os.O_CREAT | os.O_WRONLY))
            if lost.is_set():
                break
        go_on.set()
        assert events.alive
    finally:
        go_on.set()
        events.stop()
    assert not events.alive


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path):
    events = Events(tmp_path / "none", NOBODY_LISTENS)
    threads, files = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert "No such file" in str(events.start())
        assert not events.alive
    events.stop()
    # Fewer are no fault: what another test left may end meanwhile.
    assert set(threading.enumerate()) <= threads
    assert set(os.listdir("/proc/self/fd")) <= files


def test_a_reader_that_died_is_noticed(tmp_path):
    events = Events(tmp_path, NOBODY_LISTENS)
    assert events.start() is None
    assert events.alive
    events._observer.reader.stop()
    eventually(lambda: not events.alive)
    events.stop()


def test_events_whose_books_are_wrong_still_end(tmp_path):
    for number in range(3):
        (tmp_path / f"folder{number}").mkdir()
    before = set(threading.enumerate())
    events = Events(tmp_path, NOBODY_LISTENS)
    assert events.start() is None
    (emitter,) = events._observer.emitters
    eventually(lambda: emitter._inotify, "the folder is watched")
    # As after folders that took each other's place while it was behind.
    emitter._inotify._active_callbacks_by_path.clear()
    events.stop()
    eventually(lambda: set(threading.enumerate()) <= before, "its threads ended")
