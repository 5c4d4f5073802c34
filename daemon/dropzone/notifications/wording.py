"""What messages say: sentences that somebody with a phone understands. Pure."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dropzone.notifications.gathering import Gathered, Reason
from dropzone.notifications.message import Message, Words
from dropzone.notifications.pauses import Standing
from dropzone.pauses import PERSON
from dropzone.status import ZoneStatus
from dropzone.text import display, size, span

_LONGEST_REASON = 300
# Some services cut a text at 2,000 characters.
_LONGEST_TEXT = 1800
_MOST_LISTED = 15


def failures(gathered: Gathered, hints: Mapping[str, str]) -> Words:
    """Tell of files that failed; ``hints`` has a mending by the job of a reason."""
    lines = [_times(gathered)]
    for reason in gathered.reasons:
        lines += ["", f"{_named(reason)}: {_short(reason.told)}"]
        if hint := hints.get(reason.job):
            lines.append(f"What to do: {_short(hint)}")
    if gathered.others:
        lines += ["", f"{_files(gathered.others)} for further reasons."]
    lines += [
        "",
        "They lie in failed/, each with its reason beside it.",
        "After mending: dropzone retry --failed",
    ]
    data = {
        "count": gathered.count,
        "reasons": [
            {
                "count": reason.count,
                "step": reason.step,
                "reason": reason.told,
                "what_to_do": hints.get(reason.job, ""),
                "names": reason.names,
                "job": reason.job,
            }
            for reason in gathered.reasons
        ],
        "of_further_reasons": gathered.others,
    }
    return Words(f"{_who(gathered)} failed", _cut(lines), data)


def mended(gathered: Gathered) -> Words:
    """Tell of files that had failed, were put back, and went through."""
    names = ", ".join(gathered.reasons[0].names)
    more = " and others" if gathered.count > len(gathered.reasons[0].names) else ""
    return Words(
        f"{_who(gathered)} processed after having failed",
        f"Put back, and processed now: {names}{more}.",
        {"count": gathered.count, "names": gathered.reasons[0].names},
    )


def paused(one: Standing, now: float) -> Words:
    lasted = span(now - one.since)
    lines = [
        f"Since {_clock(one.since)} ({', '.join(one.steps)}): {_short(one.reason)}",
        f"What to do: {_short(one.what_to_do)}" if one.what_to_do else "",
        "",
        "Nothing is lost: files wait, and go on by themselves once this is over.",
    ]
    title = f"waits for {one.service} for {lasted}"
    if one.service == PERSON:
        title = f"paused by a person for {lasted}"
    return Words(title, _cut(lines), _of(one))


def resumed(one: Standing) -> Words:
    lasted = span(one.seen - one.since)
    title = f"goes on, {one.service} is back"
    if one.service == PERSON:
        title = "goes on, a person resumed it"
    return Words(
        title,
        f"It had waited for {lasted}, since {_clock(one.since)}. What waited is being "
        "worked off.",
        {**_of(one), "seconds": round(one.seen - one.since)},
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended since a moment: files by outcome, and their bytes."""

    outcomes: Mapping[str, int]
    bytes: int
    since: float


def summary(ended: Ended, now: tuple[ZoneStatus, int] | None) -> Words:
    """Tell what ended since the last summary, and what waits for a person.

    ``now`` is how the zone is and what is free on its disk, if that can be told.
    """
    counts = ended.outcomes
    failed = counts.get("failed", 0)
    title = _files(sum(counts.values())) + (f", {failed} failed" if failed else "")
    told = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()) if n)
    told = f"{told}; {size(ended.bytes)}" if told else "nothing was dropped"
    lines = [f"Since {_clock(ended.since)}: {told}."]
    data = {"since": ended.since, "outcomes": dict(counts), "bytes": ended.bytes}
    if now is None:
        lines.append("How the zone is cannot be told. See: dropzone status")
        return Words(title, _cut(lines), data)
    zone, free = now
    lines += [*_waiting(zone), f"Free on the zone's disk: {size(free)}."]
    data |= {
        "failed_and_not_put_back": zone.history.failed,
        "under_way": zone.history.under_way,
        "refused": len(zone.history.refused),
        "free_bytes": free,
    }
    return Words(title, _cut(lines), data)


def _waiting(zone: ZoneStatus) -> Iterator[str]:
    history = zone.history
    if history.failed:
        files = _files(history.failed)
        yield f"In failed/ and not put back: {files}. See: dropzone jobs --state failed"
    if history.under_way:
        oldest = span(history.oldest_unfinished_seconds or 0)
        yield f"Under way: {_files(history.under_way)}, the oldest for {oldest}."
    if history.refused:
        yield f"Refused in input/: {_files(len(history.refused))}. See: dropzone status"
    if history.unlogged_batches:
        yield f"MLflow runs still to be logged: {history.unlogged_batches}."
    for pause in zone.faults:
        what = f"waits for {pause['service']}"
        if pause["service"] == PERSON:
            what = "is paused by a person"
        yield f"The step {pause['step']} {what} since {_clock(pause['since'])}."


def several(messages: Sequence[Message], dropped: int) -> Words:
    """Make one message of those that could not be sent for a while."""
    lines = [
        f"{_clock(one.created_at)} {one.title}" for one in messages[-_MOST_LISTED:]
    ]
    if older := len(messages) - len(lines) + dropped:
        lines.insert(0, f"{older} older ones are left out here.")
    return Words(
        f"{len(messages) + dropped} messages that could not be sent before",
        _cut([*lines, "", "How it is now: dropzone status"]),
        {"messages": [one.told() for one in messages], "dropped": dropped},
    )


def test() -> Words:
    return Words(
        "this is a test",
        "Messages of dropzone arrive here: somebody ran dropzone doctor --notify.",
    )


def _of(one: Standing) -> dict[str, Any]:
    return {
        "service": one.service,
        "steps": one.steps,
        "since": one.since,
        "reason": one.reason,
        "what_to_do": one.what_to_do,
    }


def _who(gathered: Gathered) -> str:
    one = gathered.count == 1
    return _short(gathered.reasons[0].names[0]) if one else _files(gathered.count)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _named(reason: Reason) -> str:
    names = ", ".join(_short(name) for name in reason.names)
    more = " and others" if reason.count > len(reason.names) else ""
    return f"{_files(reason.count)} ({names}{more})"


def _times(gathered: Gathered) -> str:
    first, last = _clock(gathered.first), _clock(gathered.last)
    return f"At {last}:" if first == last else f"Between {first} and {last}:"


def _clock(moment: float) -> str:
    local = dt.datetime.fromtimestamp(moment, dt.UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M")


def _short(text: str) -> str:
    shown = display(" ".join(text.split()))
    if len(shown) <= _LONGEST_REASON:
        return shown
    return shown[:_LONGEST_REASON] + "…"


def _cut(lines: Sequence[str]) -> str:
    text = "\n".join(lines).replace("\n\n\n", "\n\n").strip()
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
