"""What a running daemon does with settings that were edited.

A setting that is named in ``LIVE``, alone or by its section, can change while the
daemon runs; every other one needs a restart, which the log says. For a section of
your own to be reloadable:

1. Name it in ``LIVE`` (``"retention"``, or single keys such as
   ``"mlflow.batch_seconds"``).
2. Let the part that uses it hold one frozen value, and give it a small
   ``update(settings)`` that puts another in its place.
3. Hand that to the daemon where the part is made: ``daemon.on_reload(part.update)``.

``update`` is called in the daemon's main thread with the whole ``Settings`` in force,
after they were checked, and only when something changed. It must not raise, and must
not wait: what it does later is its own affair. ``Daemon.last_reload`` and the key
``reload`` of ``state/daemon.json`` tell how the last reload went.
"""

import dataclasses
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from dropzone import config
from dropzone.errors import ConfigurationError, DropzoneError
from dropzone.settings import Settings, Zone

#: Settings, or whole sections, that can change while the daemon runs.
LIVE = frozenset(
    {
        "log.level",
        "log.format",
        "limits",
        "notifications",
        "retention",
        "retry",
        "extract",
        "executor.uploads",
    }
    | {"mlflow.batch_seconds", "mlflow.batch_files", "web.token", "web.tokens"}
    | {"web.uploads_expire_hours"}
)
#: The same for each zone; a zone itself may be added, but not be removed.
LIVE_OF_ZONE = frozenset(
    {"quiet_seconds", "quiet_seconds_without_lease", "scan_seconds", "poll_seconds"}
    | {"when_held", "ignore"}
)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs, with its values as people may see them."""

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key}: {self.before or 'null'} -> {self.after or 'null'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload would do. ``settings`` is what is in force afterwards."""

    settings: Settings
    changed: tuple[Change, ...]
    refused: tuple[Change, ...]
    added: tuple[Zone, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """How a reload went. ``at`` is epoch seconds, ``began`` of the monotonic clock.

    ``needs_restart`` are settings that keep their old values. Where ``ok`` is false,
    all settings do.
    """

    at: float
    began: float
    ok: bool
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    problem: str = ""
    what_to_do: str = ""

    @classmethod
    def of(cls, began: float, plan: Plan) -> "Reload":
        changed = [str(change) for change in plan.changed]
        changed += [f"zones.{zone.name}: added" for zone in plan.added]
        refused = tuple(str(change) for change in plan.refused)
        return cls(time.time(), began, True, tuple(changed), refused)

    @classmethod
    def failed(cls, began: float, error: DropzoneError) -> "Reload":
        told = (error.message, error.hint)
        return cls(time.time(), began, False, (), (), *told)

    def told(self) -> dict[str, Any]:
        """Return it for the daemon's report."""
        return dataclasses.asdict(self)

    def tell(self, log: Any) -> None:
        """Log it: one line, and one for each setting that needs a restart."""
        if not self.ok:
            log.error(
                "not reloaded",
                reason=self.problem,
                hint=self.what_to_do or "Mend it; the old settings stay in force.",
            )
            return
        for setting in self.needs_restart:
            log.warning(
                "restart needed",
                setting=setting,
                hint="This setting keeps its old value until the daemon is restarted.",
            )
        log.info("reloaded", changed=list(self.changed))


def plan(old: Settings, new: Settings, reread: Container[str] = ()) -> Plan:
    """Return what can change now from ``old`` to ``new``, and what cannot.

    ``reread`` are secrets that their users read again by themselves.

    Raises:
        ConfigurationError: what can change does not fit with what cannot.

    """
    changed: list[Change] = []
    refused: list[Change] = []
    values: dict[str, Any] = {}
    for name in type(old).model_fields:
        if name != "zones":
            value = _Section(name, LIVE, reread, changed, refused)
            values[name] = value.merged(getattr(old, name), getattr(new, name))
    added = _zones(old, new, values, changed, refused)
    try:
        merged = Settings.model_validate(old.model_copy(update=values).model_dump())
    except ValidationError as error:
        told = "; ".join(problem["msg"] for problem in error.errors())
        raise ConfigurationError(
            f"What can change now does not fit with what needs a restart: {told}.",
            hint="Restart the daemon, or change less.",
        ) from error
    return Plan(merged, tuple(changed), tuple(refused), added)


def _zones(
    old: Settings,
    new: Settings,
    values: dict[str, Any],
    changed: list[Change],
    refused: list[Change],
) -> tuple[Zone, ...]:
    """Merge the zones by their names; return those that are new."""
    wanted = {zone.name: zone for zone in new.zones}
    kept = []
    for zone in old.zones:
        there = wanted.pop(zone.name, None)
        if there is None:
            refused.append(Change(f"zones.{zone.name}", str(zone.path), "removed"))
            kept.append(zone)
        else:
            key = f"zones.{zone.name}"
            section = _Section(key, LIVE_OF_ZONE, (), changed, refused)
            kept.append(section.merged(zone, there))
    names = [zone.name for zone in new.zones]
    first = old.zones[0].name
    if names[0] != first and first in names:
        # The first one keeps the servers and the runs of all.
        refused.append(Change("zones, which is the first", first, names[0]))
    added = tuple(wanted.values())
    values["zones"] = (*kept, *added)
    return added


@dataclass(frozen=True, slots=True)
class _Section:
    """Merges a section; ``live`` names keys from the top, those of a zone without."""

    name: str
    live: Container[str]
    reread: Container[str]
    changed: list[Change]
    refused: list[Change]

    def merged(self, old: Any, new: Any) -> Any:
        values = {}
        for field, before, after in _differing(old, new):
            key = f"{self.name}.{field}"
            change = Change(key, config.shown(before), config.shown(after))
            if self._is_live(field, key):
                self.changed.append(change)
                values[field] = after
            else:
                self.refused.append(change)
        return old.model_copy(update=values)

    def _is_live(self, field: str, key: str) -> bool:
        names = (self.name, key, field) if "." in self.name else (self.name, key)
        return any(name in self.live for name in names) or key in self.reread


def _differing(old: BaseModel, new: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    for field in type(old).model_fields:
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield field, before, after
