"""Counts failed attempts by address, in bounded memory, and says who must wait."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_FAILURES = 10
_WINDOW_SECONDS = 60.0
_MOST_ADDRESSES = 4096
_IPV6_BITS = 64


class Attempts:
    """Ten failures within a minute make an address wait until that minute is over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: By address: how many, and when the first of them was. Oldest first.
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_seconds(self, address: str) -> float:
        """Return how long this address must wait before another attempt; mostly 0."""
        with self._lock:
            count, since = self._failures.get(_network(address), (0, 0.0))
        left = since + _WINDOW_SECONDS - self._clock()
        return left if count >= _MOST_FAILURES and left > 0 else 0.0

    def failed(self, address: str) -> None:
        key, now = _network(address), self._clock()
        with self._lock:
            count, since = self._failures.pop(key, (0, now))
            if now - since >= _WINDOW_SECONDS:
                count, since = 0, now
            self._failures[key] = (count + 1, since)
            while len(self._failures) > _MOST_ADDRESSES:
                # Who has many addresses gains nothing by it that a token notices.
                self._failures.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failures)


def _network(address: str) -> str:
    """Return what counts as one: a whole subscriber's network with IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if parsed.version == 4:  # noqa: PLR2004 the protocol
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_BITS), strict=False))
