"""What ``dropzone status`` shows, made of what was collected."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from dropzone.commands.output import cells, clock, shown, size, span, table
from dropzone.journal import Finding
from dropzone.models import Outcome
from dropzone.pauses import WINDOW
from dropzone.status import MOST_WAITING, History, ZoneStatus
from dropzone.text import display


def status(
    zones: Sequence[ZoneStatus], web: Mapping[str, Any]
) -> Iterator[RenderableType]:
    for zone in zones:
        yield from _zone(zone)
    if web.get("url"):
        yield Text(f"Page, metrics and health: {shown(web['url'])}")
    if web.get("problem"):
        yield Text(f"Metrics are not served: {shown(web['problem'])}", style="yellow")
        yield Text(f"  {shown(web['what_to_do'])}")


def _zone(zone: ZoneStatus) -> Iterator[RenderableType]:
    yield Text.assemble((f"Zone {zone.zone}", "bold"), f"  {display(bytes(zone.path))}")
    yield serving(zone)
    for pause in zone.paused:
        yield from wanted_or_fault(pause)
    if zone.pauses_unknown:
        yield Text(zone.pauses_unknown, style="bold yellow")
    yield from _without_events(zone.watcher)
    yield from reloaded(zone.reload)
    yield from _not_told(zone.notifications)
    if zone.served:
        yield from _history(zone.history)
    yield Text()


def wanted_or_fault(pause: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Show one pause: which step, because of whom or what, and what to do."""
    who = f"by {shown(pause['by'])}" if pause.get("by") else ""
    why = who or f"because of {pause['service']}"
    if pause["service"] == WINDOW:
        why = "outside of its hours"
    until = f", until {clock(pause['until'])}" if pause.get("until") else ""
    yield Text.assemble(
        (f"Paused: {pause['step']}", "bold yellow"),
        f", {why}, since {span_since(pause['since'])}{until}: ",
        shown(pause["reason"]),
    )
    after = [shown(pause[key]) for key in ("next", "what_to_do") if pause.get(key)]
    if after:
        yield Text(f"  {' '.join(after)}")


def reloaded(outcome: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    """Show how the daemon's last reload went."""
    if outcome is None:
        return
    when = span_since(outcome["at"])
    if outcome["ok"]:
        yield Text(f"Configuration read again {when} ago")
    else:
        yield Text.assemble(
            ("Configuration not read again", "bold yellow"),
            f", {when} ago; the old one is in force: ",
            "; ".join(shown(line) for line in outcome["problem"].splitlines()),
        )
    for setting in outcome["needs_restart"]:
        yield Text(f"  Needs a restart: {shown(setting)}", style="yellow")


def span_since(moment: float) -> str:
    return span(time.time() - moment)


def serving(zone: ZoneStatus) -> Text:
    """Say whether a daemon serves the zone."""
    if zone.pid is not None:
        text = Text.assemble(("Running", "green"), f" as process {zone.pid}")
        if zone.since is not None:
            text.append(f" for {span_since(zone.since)}")
        if watcher := zone.watcher:
            text.append(
                f"; {zone.in_input.files} in input/ not taken yet"
                f" ({watcher['being_written']} being written)"
            )
        return text
    more = " or more" if zone.waiting_in_input == MOST_WAITING else ""
    waiting = f"; {zone.waiting_in_input}{more} wait in input/"
    text = Text.assemble(("Not running", "bold yellow"), waiting)
    told = "" if zone.served else " (no daemon ever ran here)"
    return text.append(f"{told}. Start it: dropzone run")


def _without_events(watcher: Mapping[str, Any]) -> Iterator[RenderableType]:
    if reason := watcher.get("without_events_because"):
        yield Text(f"Scanning, without file events: {shown(reason)}", style="yellow")
        if hint := watcher.get("what_to_do"):
            yield Text(f"  {shown(hint)}")


def _not_told(notifications: Mapping[str, Any]) -> Iterator[RenderableType]:
    for target in notifications.get("targets", ()):
        if target["problem"]:
            lasted = span_since(target["since"])
            told = f"Messages have not arrived ({target['name']}) for {lasted}: "
            yield Text(f"{told}{shown(target['problem'])}", style="yellow")
            yield Text("  See: dropzone doctor --notify")


def _history(history: History) -> Iterator[RenderableType]:
    done = sum(n for name, n in history.outcomes.items() if name != Outcome.FAILED)
    rate = history.last_minute
    gone = f", {history.gone} set aside or removed" if history.gone else ""
    besides = f"{history.put_back} put back{gone}"
    yield Text(
        f"Processed {done}, failed {history.failed} ({besides}), "
        f"under way {history.under_way}; last minute: {rate.files} files, "
        f"{size(rate.bytes)}"
    )
    if history.under_way:
        states = {
            s: n for s, n in history.states.items() if s not in {"done", "failed"}
        }
        oldest = span(history.oldest_unfinished_seconds or 0)
        counted = ", ".join(f"{name} {n}" for name, n in states.items())
        yield Text(f"Under way: {counted}; the oldest for {oldest}")
    if history.unlogged_batches:
        yield Text(f"MLflow runs still to be logged: {history.unlogged_batches}")
    if history.failed:
        yield Text("See: dropzone jobs --state failed", style="red")
    if history.refused:
        yield Text()
        yield _refused(history.refused)
    if history.collections:
        yield Text()
        yield _collections(history)


def _refused(findings: Sequence[Finding]) -> RenderableType:
    made = table("Refused in input/", "because it", "what to do")
    for finding in findings:
        made.add_row(*cells(finding.path, finding.reason, finding.hint))
    return made


def _collections(history: History) -> RenderableType:
    seen = {name for row in history.collections for name in row.outcomes}
    outcomes = [str(outcome) for outcome in Outcome if outcome in seen]
    made = table(
        "Collection",
        *("files", "size", *outcomes),
        numbers=["files", "size", *outcomes],
    )
    for row in history.collections:
        counts = [row.outcomes.get(name, 0) for name in outcomes]
        made.add_row(*cells(row.collection, row.files, size(row.bytes), *counts))
    return made
