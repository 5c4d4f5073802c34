"""Where messages go. Addresses hold secrets: only ``Target.name`` may be shown."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from dropzone.notification_settings import Notifications

# Shorter parts of an address are words such as "to".
_SHORTEST_SECRET = 3


@dataclass(frozen=True, slots=True)
class Target:
    """``key`` tells it from the others, also after a restart, and gives nothing away.

    ``kind`` is apprise, webhook or command.
    """

    name: str
    key: str
    kind: str
    address: str = field(default="", repr=False)
    command: tuple[str, ...] = ()


def of(settings: Notifications) -> list[Target]:
    """Return every target of these settings."""
    seen: Counter[str] = Counter()
    found = []
    for kind, name, address, command in _named(settings):
        seen[name] += 1
        shown = name if seen[name] == 1 else f"{name} {seen[name]}"
        text = "\0".join((kind, address, *command))
        # 16 bits: enough to tell a few targets apart, too few to try passwords on.
        mark = hashlib.sha256(text.encode()).hexdigest()[:4]
        found.append(Target(shown, f"{name}-{mark}", kind, address, command))
    return found


def _named(
    settings: Notifications,
) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    for target in settings.targets:
        address = target.get_secret_value()
        yield "apprise", address.partition("://")[0].lower(), address, ()
    if settings.webhook is not None:
        yield "webhook", "webhook", settings.webhook.get_secret_value(), ()
    if settings.command:
        yield "command", "command", "", settings.command


def masked(text: str, address: str) -> str:
    """Return ``text`` without any part of the address but its scheme."""
    parts = set()
    for part in re.split(r"[/?&=:@#,;\s]+", address.partition("://")[2]):
        parts |= {part, unquote(part)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            text = text.replace(part, "****")
    return text
