"""A TCP proxy on 127.0.0.1 between the program under test and a real server.

It passes bytes until it is told to refuse, freeze, slow down, cut or falsify them;
``heal`` makes it pass them again. A frozen or slow line stays open, as with a server
that hangs; connections that were cut are gone.
"""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Upstream = str | tuple[str, int]
_RESET = struct.pack("ii", 1, 0)
_BLOCK = 1 << 16


@dataclass
class _Line:
    """One connection: the client's end and the server's."""

    client: socket.socket
    server: socket.socket
    #: The client said what was waited for: what comes back now is dropped.
    deaf: bool = False
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    def reset(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                end.close()


class FaultProxy:
    """``upstream`` is a path of a unix socket, or (host, port)."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._changed = threading.Condition()
        self._lines: list[_Line] = []
        self._listener: socket.socket | None = None
        self._ended = False
        # Bound and never listening, it keeps the port ours while none is accepted.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        #: How many connections were made, and answered by nobody.
        self.connections = 0
        self._forget()
        self.heal()

    def _forget(self) -> None:
        self._frozen = False
        self._latency = 0.0
        self._rate = 0.0
        self._cut: tuple[str, int] | None = None
        self._said: tuple[bytes, bool] | None = None
        self._answer: bytes | None = None
        self._falsify: Callable[[bytes], bytes] | None = None

    # Faults

    def heal(self) -> None:
        """Pass everything again, on old lines and new ones."""
        with self._changed:
            self._forget()
            if self._listener is None:
                self._listen()
            self._changed.notify_all()

    def refuse(self) -> None:
        """Break every line, and refuse new ones."""
        with self._changed:
            listener, self._listener = self._listener, None
            if listener is not None:
                # Wakes the thread that waits in accept; closing alone does not.
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every line; new ones are accepted."""
        with self._changed:
            lines, self._lines = self._lines, []
        for line in lines:
            line.reset()

    def freeze(self) -> None:
        """Accept connections and pass nothing, like a black hole."""
        with self._changed:
            self._frozen = True
            if self._listener is None:
                self._listen()

    def slow(self, *, latency: float = 0.0, rate: float = 0.0) -> None:
        """Hold back each block by ``latency`` seconds, and to ``rate`` bytes/s."""
        with self._changed:
            self._latency, self._rate = latency, rate

    def cut_after(self, count: int, direction: str = "up") -> None:
        """Break each line when so many further bytes went up (or down)."""
        with self._changed:
            for line in self._lines:
                line.passed[direction] = 0
            self._cut = (direction, count)

    def cut_at(self, words: bytes, *, deliver: bool) -> None:
        """Break the next line whose client says ``words``, once.

        With ``deliver`` the server gets them and only its answer is lost.
        """
        with self._changed:
            self._said = (words, deliver)

    def answer(self, status: str, body: bytes = b"", header: str = "") -> None:
        """Answer each HTTP request on a new line ourselves, with this status."""
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\n{header}"
        text = f"{head}Content-Length: {len(body)}\r\n\r\n"
        with self._changed:
            self._answer = text.encode("ascii") + body
        self.cut()

    def falsify(self, pattern: bytes) -> None:
        """Put zeros in the place of what matches in the server's answers."""
        found = re.compile(pattern)

        def zeros(match: "re.Match[bytes]") -> bytes:
            return b"0" * len(match[0])

        with self._changed:
            self._falsify = lambda block: found.sub(zeros, block)

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self.refuse()
        self._holder.close()

    @property
    def pending(self) -> bool:
        """True until ``cut_at`` has met its words."""
        return self._said is not None

    # Passing

    def _listen(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(64)
        _spawn(self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                _spawn(self._serve, client, listener)

    def _serve(self, client: socket.socket, listener: socket.socket) -> None:
        if self._answer is not None:
            with client, contextlib.suppress(OSError):
                client.recv(_BLOCK)
                client.sendall(self._answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(_BLOCK):
                    pass
            return
        try:
            server = _connected(self._upstream)
        except OSError:
            client.close()
            return
        line = _Line(client, server)
        with self._changed:
            refused = self._listener is not listener
            if not refused:
                self._lines.append(line)
        if refused:
            # It was accepted just before, and must not outlive the others.
            line.reset()
            return
        _spawn(self._pass, line, client, server, "up")
        _spawn(self._pass, line, server, client, "down")

    def _pass(
        self, line: _Line, source: socket.socket, sink: socket.socket, direction: str
    ) -> None:
        try:
            while block := source.recv(_BLOCK):
                self._hold_back(len(block))
                if not self._let_through(line, sink, block, direction):
                    line.reset()
                    return
        except OSError:
            line.reset()
            return
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _hold_back(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._frozen or self._ended)
            seconds = self._latency + (size / self._rate if self._rate else 0.0)
            if seconds:
                # Ends early when the line is healed.
                self._changed.wait_for(
                    lambda: self._ended or not (self._latency or self._rate), seconds
                )

    def _let_through(
        self, line: _Line, sink: socket.socket, block: bytes, direction: str
    ) -> bool:
        if direction == "down" and line.deaf:
            return False
        if direction == "up" and self._heard(block):
            said, self._said = self._said, None
            if said is None or not said[1]:
                return False
            line.deaf = True
        if direction == "down" and self._falsify is not None:
            block = self._falsify(block)
        line.passed[direction] += len(block)
        sink.sendall(block)
        cut = self._cut
        return cut is None or cut[0] != direction or line.passed[direction] < cut[1]

    def _heard(self, block: bytes) -> bool:
        return self._said is not None and self._said[0] in block


@contextmanager
def proxy_to(upstream: Upstream) -> Iterator[FaultProxy]:
    """Lend a proxy, and end its threads afterwards."""
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def _connected(upstream: Upstream) -> socket.socket:
    if isinstance(upstream, tuple):
        return socket.create_connection(upstream)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(upstream)
    except OSError:
        sock.close()
        raise
    return sock


def _spawn(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()
