"""What a page tells once, after a form was sent and the browser led on."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

_MOST = 500


@dataclass(frozen=True, slots=True)
class Message:
    """``kind`` is good, warn or bad; ``url`` leads on, with ``label`` on it.

    ``lines`` are about one file each.
    """

    kind: str
    text: str
    hint: str = ""
    url: str = ""
    label: str = ""
    lines: tuple[tuple[str, str], ...] = ()


class Messages:
    """Each is kept until it is shown, to the one that it is meant for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Message] = OrderedDict()

    def keep(self, name: str, message: Message) -> str:
        """Return the number by which the visitor ``name`` gets it."""
        number = secrets.token_urlsafe(8)
        with self._lock:
            self._kept[name, number] = message
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return number

    def take(self, name: str, number: str) -> Message | None:
        with self._lock:
            return self._kept.pop((name, number), None)
