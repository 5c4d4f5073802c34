"""Open pages without a browser: each follows the events, and loads itself anew."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

# As the page does: it loads itself anew at most so often.
_MOST_OFTEN = 2.0


@contextlib.contextmanager
def following(url: str, token: str, count: int) -> Iterator[list["Follower"]]:
    """Open so many pages; the next event after the end of the context ends them."""
    stop = threading.Event()
    try:
        yield [Follower(url, token, stop, number) for number in range(count)]
    finally:
        stop.set()


class Follower(threading.Thread):
    """Does what an open page does, until ``stop`` is set and one more event comes."""

    def __init__(
        self, url: str, token: str, stop: threading.Event, number: int
    ) -> None:
        super().__init__(daemon=True)
        # One address may have 128 connections: these are other people's.
        self._address = f"127.0.1.{number + 1}", 0
        self._place, self._stop_event = urlsplit(url).netloc, stop
        self._headers = {"authorization": f"Bearer {token}"}
        self.events = self.loads = 0
        self.start()

    def run(self) -> None:
        with (
            contextlib.closing(self._connection()) as feed,
            contextlib.closing(self._connection()) as page,
        ):
            feed.request("GET", "/api/v1/events", headers=self._headers)
            answer, before = feed.getresponse(), 0.0
            assert answer.status == 200, answer.read()
            while not self._stop_event.is_set():
                line = answer.readline()
                assert line or self._stop_event.is_set(), "the events ended"
                self.events += line.startswith(b"data:")
                pause = before + _MOST_OFTEN - time.monotonic()
                if line.startswith(b"data:") and not self._stop_event.wait(pause):
                    before = time.monotonic()
                    self._load(page)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            self._place, timeout=60, source_address=self._address
        )

    def _load(self, page: http.client.HTTPConnection) -> None:
        page.request("GET", "/", headers={**self._headers, "accept": "text/html"})
        answer = page.getresponse()
        assert answer.read(), answer.status
        assert answer.status == 200
        self.loads += 1
