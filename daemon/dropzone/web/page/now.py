"""The first page: whether all is well, and what is going on."""

import time
from collections.abc import Mapping
from typing import Any

from dropzone.web.api.models import Overview, Throughput
from dropzone.web.page.desk import View, Visit
from dropzone.web.page.words import count

_LATEST = 8
_RANGES = {"hour": "minute", "day": "15 minutes", "week": "2 hours"}
_NAMES = {
    "claim": "Claim",
    "store": "Store",
    "index": "Index",
    "release": "Release",
    "track": "Track",
}
_DOES = {
    "claim": "takes complete files",
    "store": "uploads to S3",
    "index": "makes text and vectors",
    "release": "moves to processed/",
    "track": "logs runs in MLflow",
}
_SERVICES = {"s3": "S3", "postgres": "Postgres", "mlflow": "MLflow"}


def _now(visit: Visit) -> Mapping[str, Any]:
    overview: Overview = visit.ask("overview")
    chosen = visit.given("range", "hour")
    throughput = visit.ask("throughput", query={"range": chosen})
    zones = overview.zones
    waits = [zone.oldest_waiting_at for zone in zones if zone.in_input.files]
    failed = sum(zone.failed for zone in zones)
    return {
        "now": overview,
        "at_once": time.time(),
        "calm": _calm(overview),
        "failed": failed,
        "waiting": sum(zone.under_way for zone in zones),
        "lying": sum(zone.in_input.files for zone in zones),
        "oldest": min((at for at in waits if at is not None), default=None),
        "hour": visit.ask("throughput", query={"range": "hour"}),
        "range": chosen,
        "throughput": throughput,
        **_chart(throughput, chosen),
        "names": _NAMES,
        "does": _DOES,
        "services": _SERVICES,
        "latest": visit.ask("jobs", query={"limit": _LATEST}).jobs,
    }


def _calm(overview: Overview) -> str:
    """Return what to know besides: what waits, and that nothing is lost."""
    waiting = sum(zone.under_way + zone.in_input.files for zone in overview.zones)
    if not waiting:
        return "Nothing waits; every file that was dropped has ended."
    told = count(waiting, "file")
    if overview.tone == "bad":
        return f"{told} wait, and go on by themselves; none is lost."
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
