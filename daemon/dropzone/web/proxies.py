"""What a reverse proxy says of the request it hands on; believed only of known ones."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
_MOST_HOPS = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: the client's address, and the address it asked."""

    address: str
    scheme: str
    host: str


class Proxies:
    """The proxies that are believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def knows(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:  # noqa: PLR2004
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def origin(self, peer: str, scheme: str, headers: Headers) -> Origin:
        """Return where the request came from."""
        host = headers.get("host", "")
        if not self.knows(peer):
            return Origin(peer, scheme, host)
        address = self._client(headers) or peer
        proto = _last(headers.get("x-forwarded-proto", "")).lower()
        scheme = proto if proto in {"http", "https"} else scheme
        return Origin(
            address, scheme, _last(headers.get("x-forwarded-host", "")) or host
        )

    def _client(self, headers: Headers) -> str:
        """Return the last address that no proxy of ours has; those before may lie."""
        hops = [
            hop.strip()
            for line in headers.getlist("x-forwarded-for")
            for hop in line.split(",")
        ]
        for hop in reversed(hops[-_MOST_HOPS:]):
            if not self.knows(hop):
                return hop
        return ""


def is_handed_on(headers: Headers) -> bool:
    """Return whether some proxy sent this, known or not."""
    return any(name in headers for name in _FORWARDED)


def _last(values: str) -> str:
    return values.rpartition(",")[2].strip()
