"""What each step of a zone is doing, from what its status tells: for people."""

from dataclasses import dataclass
from typing import Any

from dropzone.pauses import STEPS
from dropzone.status import ZoneStatus

# What waits before each step, by the state of its jobs.
_STATES = {"store": "claimed", "index": "stored", "release": "indexed"}
#: While the servers are started, no step has any.
_SERVICES = "services"
#: What each step does, in a few words.
DOES = {
    "claim": "takes complete files",
    "store": "uploads to S3",
    "index": "makes text and vectors",
    "release": "moves to processed/",
    "track": "logs runs in MLflow",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step, in the order of a file's way.

    ``queued`` files wait for it (of ``track``: batches), ``working`` are worked on, and
    ``longest`` is the one among these that has been for the longest time. ``paused``
    has everything that keeps it from its work, what is wanted first. Times are in
    seconds and None where nothing is known; ``a_minute`` is the rate of the last one.
    """

    step: str
    queued: int
    working: int
    longest: dict[str, Any] | None
    paused: tuple[dict[str, Any], ...]
    done: int
    a_minute: float | None
    median_seconds: float | None
    mean_seconds: float | None


def of(zone: ZoneStatus) -> list[Step]:
    """Return the steps of a zone; without a daemon they only have queues."""
    return [_step(zone, step) for step in STEPS]


def _step(zone: ZoneStatus, step: str) -> Step:
    told = zone.steps.get(step, {})
    done, working = int(told.get("done", 0)), int(told.get("working", 0))
    return Step(
        step=step,
        queued=max(0, _waiting(zone, step) - working),
        working=working,
        longest=told.get("longest"),
        paused=tuple(p for p in zone.paused if p["step"] in {step, _SERVICES}),
        done=done,
        a_minute=told.get("a_minute"),
        median_seconds=told.get("median_seconds"),
        mean_seconds=told["seconds"] / done if done else None,
    )


def _waiting(zone: ZoneStatus, step: str) -> int:
    if step == "claim":
        return zone.in_input.files
    if step == "track":
        return zone.history.unlogged_batches
    return zone.history.states.get(_STATES[step], 0)
