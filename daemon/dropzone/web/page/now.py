"""The first page: whether all is well, and what is going on."""

import time
from collections.abc import Mapping
from typing import Any

from dropzone.pauses import PERSON, WINDOW
from dropzone.steps import DOES
from dropzone.web.api.models import Job, Overview, Throughput
from dropzone.web.page.desk import View, Visit
from dropzone.web.page.words import count

_LATEST = 8
_RANGES = {"hour": "minute", "day": "15 minutes", "week": "2 hours"}
_EACH = {"hour": "a minute", "day": "15 minutes", "week": "2 hours"}
_FAILURES = 5
_NAMES = {
    "claim": "Claim",
    "store": "Store",
    "index": "Index",
    "release": "Release",
    "track": "Track",
    # The servers that the daemon runs itself, without which no step works.
    "services": "All work",
}
# Of a pause, by who or what wants it.
_TONES = {PERSON: "warn", WINDOW: "calm"}
_SERVICES = {"s3": "S3", "postgres": "Postgres", "mlflow": "MLflow"}


def _now(visit: Visit) -> Mapping[str, Any]:
    overview: Overview = visit.ask("overview")
    chosen = visit.given("range", "hour")
    throughput = visit.ask("throughput", query={"range": chosen})
    zones = overview.zones
    waits = [zone.oldest_waiting_at for zone in zones if zone.in_input.files]
    failed = sum(zone.failed for zone in zones)
    newest = _newest_failures(visit) if failed and not _broken(overview) else []
    latest = visit.ask("jobs", query={"limit": _LATEST}).jobs
    return {
        "now": overview,
        "headline": _headline(overview),
        "newest": newest,
        "at_once": time.time(),
        "calm": _calm(overview),
        "failed": failed,
        "waiting": sum(zone.under_way for zone in zones),
        "lying": sum(zone.in_input.files for zone in zones),
        "oldest": min((at for at in waits if at is not None), default=None),
        "hour": visit.ask("throughput", query={"range": "hour"}),
        "range": chosen,
        "each": f"in {_EACH.get(chosen, '')}",
        "throughput": throughput,
        **_chart(throughput, chosen),
        "tones": _TONES,
        "names": _NAMES,
        "does": DOES,
        "services": _SERVICES,
        "latest": latest,
        "ever": bool(latest) or any(zone.in_input.files for zone in zones),
    }


def _newest_failures(visit: Visit) -> list[Job]:
    """Return some that wait for a person: the first thing to know of them is why."""
    found = visit.ask("jobs", query={"state": "failed", "limit": 10 * _FAILURES}).jobs
    waiting = [job for job in found if not job.retried_as and not job.removed_at]
    return waiting[:_FAILURES]


def _faults(overview: Overview) -> set[tuple[str, str]]:
    """Return the steps that stand still by nobody's wish, and what is missing."""
    return {
        (_NAMES[pause.step], pause.service)
        for zone in overview.zones
        for pause in zone.paused
        if pause.service not in _TONES
    }


def _unknown(overview: Overview) -> bool:
    return any(zone.pid is None or zone.pauses_unknown for zone in overview.zones)


def _broken(overview: Overview) -> bool:
    """Tell whether there is worse to say than that files failed."""
    return _unknown(overview) or bool(_faults(overview))


def _headline(overview: Overview) -> str:
    """Return the headline; why a step stands still is told below it, whole."""
    faults = _faults(overview)
    if not faults or _unknown(overview):
        return overview.headline
    if len(faults) > 1:
        return "Some steps stand still."
    ((step, service),) = faults
    why = f" because of {_SERVICES[service]}" if service in _SERVICES else ""
    return f"{step} stands still{why}."


def _calm(overview: Overview) -> str:
    """Return what to know besides: what waits, and that nothing is lost."""
    waiting = sum(zone.under_way + zone.in_input.files for zone in overview.zones)
    if not waiting:
        if any(zone.failed for zone in overview.zones):
            return "All other files are done."
        return "Every file that was dropped is done."
    failed = any(zone.failed for zone in overview.zones)
    told = count(waiting, "other file" if failed else "file")
    if any(zone.paused for zone in overview.zones):
        steps = {_NAMES[one.step] for zone in overview.zones for one in zone.paused}
        what = f"{steps.pop()} stands" if len(steps) == 1 else "some steps stand"
        verb = "waits" if waiting == 1 else "wait"
        return f"{told} {verb} because {what} still; none is lost."
    return f"{told} {'is' if waiting == 1 else 'are'} on the way."


def _chart(throughput: Throughput, chosen: str) -> Mapping[str, Any]:
    begin = throughput.until - len(throughput.files) * throughput.step_seconds
    times = [
        begin + number * throughput.step_seconds
        for number in range(len(throughput.files))
    ]
    files, failed = sum(throughput.files), sum(throughput.failed)
    return {
        "times": times,
        "labels": [
            f"{count(one, 'file')}, {bad} failed"
            for one, bad in zip(throughput.files, throughput.failed, strict=True)
        ],
        "about": f"Files by {_RANGES[chosen]} over the last {chosen}: "
        f"{count(files, 'file')}, {failed} failed",
    }


VIEWS = (View("/", "now.html", _now, "now"),)
