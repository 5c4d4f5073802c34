"""The way of one file, step by step: what was, what is, and what comes next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropzone.lookup import RETRIED
from dropzone.models import ENDED, Outcome, Status
from dropzone.web.api.models import Journey, Pause, Step, Try, Zone

ORDER = ("claim", "store", "index", "release", "track")
_AT = {
    Status.CLAIMING: "claim",
    Status.CLAIMED: "store",
    Status.STORED: "index",
    Status.INDEXED: "release",
}
# What a step is called once it is done, while it goes on, and before.
_TITLES = {
    "claim": ("Claimed", "Being claimed", "Claim"),
    "store": ("Stored in S3", "Being stored in S3", "Store in S3"),
    "index": ("Indexed", "Being indexed", "Index"),
    "release": ("Released", "Being released", "Release to processed/"),
    "track": ("Logged in MLflow", "Being logged in MLflow", "Log in MLflow"),
}
_INDEXED = {
    Outcome.INDEXED: "Indexed",
    Outcome.DUPLICATE: "Known already",
    Outcome.STORED_ONLY: "Not indexed",
    Outcome.EMPTY: "Nothing to index",
}
# What the notes of the index step say.
_NOTES = {
    "binary": "There is no text in such a file.",
    "no_text": "No text was found in it: it may hold only pictures.",
    "partial": "Parts of it could not be read.",
    "truncated_text": "Its text was cut off at the limit.",
    "invalid_json": "It is no valid JSON, and was taken as plain text.",
    "unsupported": "Files of this type are stored, not read.",
    "over_text_limit": "It is larger than what is read for text.",
    "metadata_unreadable": "What was said of it could not be read.",
}
_CLAIMED = "Taken out of input/; nobody else can change or take it."
_LATER = "Made batch by batch; this takes some seconds."


@dataclass(frozen=True, slots=True)
class Stop:
    """One step. ``tone`` is done, now, held, bad, ahead or skipped.

    ``when`` is another moment that belongs to it, and ``when_words`` says which.
    """

    step: str
    title: str
    tone: str
    text: str = ""
    hint: str = ""
    at: float | None = None
    seconds: float | None = None
    when: float | None = None
    when_words: str = ""
    tries: Sequence[Try] = ()


def stops(journey: Journey, zone: Zone | None) -> list[Stop]:
    """Return every step; ``zone`` tells what stands still, if it is known."""
    return [_dropped(journey), *(_stop(journey, zone, step) for step in ORDER)]


def _dropped(journey: Journey) -> Stop:
    return Stop(
        *("drop", "Dropped", "done"),
        when=journey.mtime,
        when_words="Last changed",
    )


def _stop(journey: Journey, zone: Zone | None, step: str) -> Stop:
    tries = [one for one in journey.tries if one.step == step]
    tone = _tone(journey, step)
    if tone == "now":
        return _current(journey, zone, step, tries)
    if tone == "bad":
        at, seconds = _times(journey, step)
        return Stop(
            *(step, _bad_title(step), tone, _why(journey), journey.job.what_to_do),
            at=tries[-1].at if at is None and tries else at,
            seconds=seconds,
            tries=tries,
        )
    if tone == "done":
        at, seconds = _times(journey, step)
        title, told = _done(journey, step)
        return Stop(step, title, tone, told, at=at, seconds=seconds, tries=tries)
    told = "The file did not get here." if tone == "skipped" else ""
    return Stop(step, _TITLES[step][2], tone, told, tries=tries)


def _tone(journey: Journey, step: str) -> str:
    job = journey.job
    if job.status in ENDED and step == "track":
        return "done" if journey.run_id else "now" if journey.batch else "skipped"
    if job.status is Status.FAILED:
        return _tone_of_failed(journey, step)
    at, here = ORDER.index(_now_at(journey)), ORDER.index(step)
    return "done" if here < at else "now" if here == at else "ahead"


def _tone_of_failed(journey: Journey, step: str) -> str:
    failed = journey.job.error_step
    if step == failed:
        return "bad"
    if step == "release" or (failed in ORDER and _is_before(step, failed)):
        return "done"
    if step == "claim" or (step == "store" and journey.s3_key):
        return "done"
    return "skipped"


def _is_before(step: str, other: str | None) -> bool:
    return other is not None and ORDER.index(step) < ORDER.index(other)


def _now_at(journey: Journey) -> str:
    job = journey.job
    if job.status in ENDED:
        return "track"
    if job.status is Status.WAITING:
        return job.error_step if job.error_step in ORDER else "store"
    return _AT[job.status]


def _current(
    journey: Journey, zone: Zone | None, step: str, tries: Sequence[Try]
) -> Stop:
    told = _step_of(zone, step)
    title, later = _TITLES[step][1:]
    if told is not None and told.paused:
        return _held(step, later, told.paused[0], tries)
    job = journey.job
    if job.status is Status.WAITING:
        last = job.error_message or "It did not work."
        return Stop(
            *(step, later, "held", last),
            when=job.retry_at,
            when_words="Tried again",
            tries=tries,
        )
    if told is not None and told.longest is not None and told.longest.job == job.id:
        since = told.longest.since
        return Stop(*(step, title, "now"), when=since, when_words="Since", tries=tries)
    text = _LATER if step == "track" else _queue(told)
    return Stop(step, title, "now", text, tries=tries)


def _step_of(zone: Zone | None, step: str) -> Step | None:
    if zone is None:
        return None
    return next((one for one in zone.steps if one.step == step), None)


def _held(step: str, title: str, pause: Pause, tries: Sequence[Try]) -> Stop:
    said = (
        pause.reason if pause.reason.endswith((".", "!", "?")) else f"{pause.reason}."
    )
    text = f"Paused by {pause.by}: {said}" if pause.by else f"Stands still: {said}"
    hint = " ".join(filter(None, (pause.next, pause.what_to_do)))
    return Stop(
        *(step, title, "held", text, hint),
        when=pause.since,
        when_words="Since",
        tries=tries,
    )


def _queue(told: Step | None) -> str:
    if told is None or told.queued <= 1:
        return ""
    return f"{told.queued:,} files wait for this step."


def _bad_title(step: str) -> str:
    return f"{_TITLES[step][2]}: failed"


def _why(journey: Journey) -> str:
    job = journey.job
    # That it was tried again took the place of why it failed.
    reason = None if job.end_reason == RETRIED else job.end_reason
    return reason or job.error_message or "Nothing is known of the reason."


def _done(journey: Journey, step: str) -> tuple[str, str]:
    """Return what a step that is done is called, and what it did."""
    title = _TITLES[step][0]
    if step == "claim":
        return title, _CLAIMED
    if step == "index" and journey.job.outcome in _INDEXED:
        return _INDEXED[journey.job.outcome], result(journey)
    if step == "release" and journey.job.status is Status.FAILED:
        return "Moved to failed/", "Nothing is lost: the file lies there whole."
    if step == "release":
        return title, "Its receipt is written, and the file lies in processed/."
    return title, ""


def _times(journey: Journey, step: str) -> tuple[float | None, float | None]:
    for one in journey.steps:
        if one.step == step:
            return one.ended_at, max(0.0, one.ended_at - one.began_at)
    known = {"claim": journey.job.created_at, "release": journey.job.ended_at}
    return known.get(step), journey.seconds.get(step)


def result(journey: Journey) -> str:
    """Return what came of a file that did not fail, in a sentence."""
    notes = " ".join(_notes(journey))
    outcome = journey.job.outcome
    if outcome is Outcome.INDEXED:
        pieces = _pieces(journey)
        told = f"Done. Search finds its text, in {pieces}." if pieces else "Done."
    elif outcome is Outcome.DUPLICATE:
        told = "Its collection has the same content already; it was not stored twice."
    elif outcome is Outcome.EMPTY:
        told = "The file is empty, so search finds nothing in it."
    else:
        told = "It is kept in S3, but search does not find it."
    return f"{told} {notes}".strip()


def _pieces(journey: Journey) -> str:
    receipt = journey.receipt or {}
    count = receipt.get("chunks")
    if journey.document is not None:
        count = journey.document.chunk_count
    return "" if not count else "1 piece" if count == 1 else f"{count:,} pieces"


def _notes(journey: Journey) -> Iterator[str]:
    for note in (journey.receipt or {}).get("notes", ()):
        yield _NOTES.get(note, f"({note})")


def lead(journey: Journey, found: Sequence[Stop]) -> tuple[str, str, str]:
    """Return the whole in a sentence: the tone of its box, it, and what follows."""
    job = journey.job
    if job.status is Status.FAILED:
        return _lead_of_failed(journey)
    if job.status is Status.DONE:
        return "good", result(journey), ""
    now = next(stop for stop in found if stop.tone in {"now", "held"})
    if now.tone == "held" and job.status is Status.WAITING:
        return "warn", f"It waits to be tried again: {now.text}", ""
    if now.tone == "held":
        return (
            "warn",
            f"It waits for the step {now.step.capitalize()}. {now.text}",
            now.hint,
        )
    return "busy", f"It is on its way: {_lowered(now.title)}.", _then(found)


def _lead_of_failed(journey: Journey) -> tuple[str, str, str]:
    job = journey.job
    if job.retried_as:
        return "calm", f"It failed, and was tried again. {_why(journey)}", ""
    if job.removed_at is not None:
        return "calm", f"It failed, and left failed/ ({job.removed_by}).", _why(journey)
    return "bad", f"It failed. {_why(journey)}", job.what_to_do


def _then(found: Sequence[Stop]) -> str:
    ahead = [stop.title for stop in found if stop.tone == "ahead"]
    return f"Then: {', '.join(_lowered(one) for one in ahead)}." if ahead else ""


def _lowered(words: str) -> str:
    return words[:1].lower() + words[1:]
