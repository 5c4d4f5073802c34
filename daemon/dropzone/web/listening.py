"""Takes in only so many connections: each is a descriptor that files need, too.

They are counted as they come. The server knows none before its TLS handshake ended,
which strangers need never end.
"""

import socket
from typing import Any

#: Above what is answered (uvicorn's limit_concurrency): these get no answer at all.
_MOST = 256
_MOST_OF_ONE_ADDRESS = 128


class Listener(socket.socket):
    """A listening socket. Used by one thread."""

    def __init__(self, listening: socket.socket) -> None:
        """Take the listening socket over."""
        family, kind, proto = listening.family, listening.type, listening.proto
        super().__init__(family, kind, proto, fileno=listening.detach())
        self._taken: list[tuple[socket.socket, str]] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection.

        Raises:
            ConnectionAbortedError: there were too many, so it was closed.

        """
        connection, address = super().accept()
        # Who takes a connection closes it in the end.
        self._taken = [one for one in self._taken if one[0].fileno() >= 0]
        mine = sum(host == address[0] for _, host in self._taken)
        if len(self._taken) >= _MOST or mine >= _MOST_OF_ONE_ADDRESS:
            connection.close()
            raise ConnectionAbortedError("There are too many connections.")
        self._taken.append((connection, address[0]))
        return connection, address
