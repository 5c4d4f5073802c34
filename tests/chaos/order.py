"""Whether a trace keeps the order that makes a power cut harmless.

File systems forgive: on ext4 the sync of any file makes every rename durable. A trace
does not. It must be that of a fresh zone whose files are all claimed together.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.supervisor import Call

_WATCHED = ("input", "state/work", "state/receipts", "processed", "failed")
_WRITES = {"write", "pwrite64", "writev", "pwritev", "ftruncate"}
_SENDS = {"sendto", "sendmsg"}
_RENAMES = {"rename", "renameat", "renameat2"}
_PROBE = ".rename-probe"


@dataclass(frozen=True)
class _Due:
    """What made a path undurable; ``claim``: no server may hear of it before."""

    told: str
    claim: bool


class _Order:
    """What is not durable yet at some point of the trace, and what was wrong."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._areas = tuple(f"{root}/{area}" for area in _WATCHED)
        self._made: set[str] = set()
        self._undurable: dict[str, _Due] = {}
        self._delivered = self._committed = False
        self.wrong: list[str] = []
        self._rules: dict[str, Callable[[Call], None]] = {
            **dict.fromkeys(_WRITES, self._wrote),
            **dict.fromkeys(_SENDS, self._sent),
            **dict.fromkeys(_RENAMES, self._renamed),
            **dict.fromkeys(("mkdir", "mkdirat"), self._made_folder),
            **dict.fromkeys(("fsync", "fdatasync"), self._synced),
            **dict.fromkeys(("unlinkat", "rmdir"), self._removed),
            "syncfs": lambda _call: self._undurable.clear(),
        }

    def take(self, call: Call) -> None:
        rule = self._rules.get(call.name)
        if rule is not None and not any(_PROBE in path for path in call.paths):
            rule(call)

    def end(self) -> None:
        """At the end nothing may be left to a later moment."""
        self._expect_durable("the daemon ends")

    def _wrote(self, call: Call) -> None:
        if self._is_watched(call.paths[0]):
            self._owe(call.paths[0], call, claim=False)

    def _made_folder(self, call: Call) -> None:
        path = call.paths[0]
        # Made before, this time it only was there.
        if path.startswith(self._root) and path not in self._made:
            self._made.add(path)
            self._owe(os.path.dirname(path), call, claim=not self._is_end(path))

    def _renamed(self, call: Call) -> None:
        old, new = call.paths
        if not self._is_watched(new):
            return
        claim = old.startswith(f"{self._root}/input/")
        if old.startswith(f"{self._root}/state/work/"):
            self._released(new)
        if claim:
            # The producer may never have flushed it.
            self._owe(new, call, claim=True)
        if old in self._undurable:
            self._undurable[new] = self._undurable.pop(old)
        for path in (old, new):
            self._owe(os.path.dirname(path), call, claim=claim)

    def _owe(self, path: str, call: Call, *, claim: bool) -> None:
        before = self._undurable.get(path)
        claim |= before is not None and before.claim
        self._undurable[path] = _Due(str(call), claim)

    def _released(self, new: str) -> None:
        if not self._committed:
            self.wrong.append(f"{new} is released before Postgres committed")
        for path in self._undurable:
            if path.endswith(".jsonl"):
                self.wrong.append(f"{new} is released before its receipt is durable")
        if not any(path.endswith(".jsonl") for path in self._made):
            self.wrong.append(f"{new} is released without a receipt")

    def _synced(self, call: Call) -> None:
        self._undurable.pop(call.paths[0], None)
        self._made.add(call.paths[0])

    def _removed(self, call: Call) -> None:
        self._undurable.pop(call.paths[0], None)

    def _sent(self, call: Call) -> None:
        self._delivered |= b"INSERT INTO dropzone.deliveries" in call.sent
        self._committed |= self._delivered and b"COMMIT" in call.sent
        # One file's end may go beside another's commit; a claim never does.
        self._expect_durable(f"{call.sent[:40]!r} is sent", claims_only=True)

    def _expect_durable(self, when: str, *, claims_only: bool = False) -> None:
        for path, due in list(self._undurable.items()):
            if due.claim or not claims_only:
                del self._undurable[path]
                self.wrong.append(f"{when} while {path} is not durable ({due.told})")

    def _is_end(self, path: str) -> bool:
        return path.startswith((f"{self._root}/processed/", f"{self._root}/failed/"))

    def _is_watched(self, path: str) -> bool:
        return path.startswith(self._areas)


def violations(calls: Sequence[Call], root: str) -> list[str]:
    """Return what is out of order in the trace of a daemon over one zone."""
    order = _Order(root)
    for call in calls:
        order.take(call)
    order.end()
    return order.wrong
