"""What the commands show to people, made of the values they collected."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from dropzone import describing, tries
from dropzone.commands.diagnosis import Diagnosis
from dropzone.commands.follow import Ended
from dropzone.commands.gather import LeftOut
from dropzone.commands.output import (
    ago,
    cells,
    clock,
    length,
    shown,
    size,
    table,
)
from dropzone.lookup import RETRIED, Found, Lying, short
from dropzone.models import Job, Outcome
from dropzone.put import Placed
from dropzone.put_back import PutBack
from dropzone.text import display

if TYPE_CHECKING:
    # Search brings the Postgres driver, which `status` does without.
    from dropzone.search import Hit

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"} | {
    "failed": "red",
    "waiting": "yellow",
    "refused": "yellow",
    "indexed": "green",
}


def _state(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def state_of(job: Job) -> str:
    """Return the outcome of an ended job, the state of any other."""
    if job.end_reason == RETRIED:
        return "put back"
    return str(job.outcome or job.status)


def reason_of(job: Job) -> str:
    if job.outcome is None or job.end_reason == RETRIED:
        return job.error_message or ""
    if job.outcome is Outcome.FAILED:
        return job.end_reason or ""
    return ", ".join(job.data.get("notes", ()))


# jobs, show, retry, add


def jobs(found: Sequence[Job]) -> Iterator[RenderableType]:
    made = table(
        "Job",
        "File",
        "State",
        "Size",
        "Chunks",
        "Taken",
        "Reason",
        numbers=["Size", "Chunks"],
        whole=["Job", "State", "Taken"],
    )
    for job in found:
        row = cells(short(job.id), job.path)
        row += [_state(state_of(job))]
        row += cells(size(job.size), job.data.get("chunks"), ago(job.created_at))
        made.add_row(*row, *cells(reason_of(job)))
    yield made


def show(found: Sequence[Found], lying: Sequence[Lying]) -> Iterator[RenderableType]:
    for item in lying:
        yield Text.assemble(
            (shown(item.path), "bold"), " in input/: ", _state(item.state)
        )
        yield Text(f"  {item.reason}\n  {item.hint}\n")
    for one in found:
        yield Text.assemble(
            (shown(one.job.path), "bold"), "  ", _state(state_of(one.job))
        )
        for name, value in _facts(one):
            if value not in {None, ""}:
                # Not folded, so that keys and hashes can be copied.
                line = f"{name:<20} {shown(value)}"
                yield Text(line, no_wrap=True, overflow="ignore")
        yield from _tries(one.job)
        yield Text()


def _facts(found: Found) -> Iterator[tuple[str, object]]:
    job = found.job
    yield "job", job.id
    yield "zone and collection", f"{job.zone}, {job.collection}"
    yield "lies in", found.lies_in or _left(job)
    yield "size", f"{size(job.size)} ({job.size} bytes)"
    yield "type", job.doc_type
    yield "sha256", job.sha256
    yield "S3 key", job.s3_key
    yield "document", job.data.get("document_id")
    yield "chunks", job.data.get("chunks")
    yield "notes", ", ".join(job.data.get("notes", ()))
    for name, value in describing.given_of(job).items():
        yield "metadata", f"{name}: {value}"
    yield "metadata", describing.problem_of(job)
    yield "taken", clock(job.created_at)
    yield "ended", clock(job.ended_at)
    for step, (began, ended) in tries.times(job).items():
        yield step, f"{clock(began)}, {length(max(0.0, ended - began))}"
    yield "attempts", job.attempts or None
    yield "next attempt", clock(job.retry_at)
    yield from _failure(job)
    yield "put back as", job.data.get("retried_as")
    yield "retry of", job.metadata.get("retry_of")
    yield "batch", job.batch_id
    yield "MLflow run", found.run_id
    yield "receipt", "found" if found.receipt else "none yet"


def _tries(job: Job) -> Iterator[RenderableType]:
    for one in tries.of(job):
        after = f"next try {clock(one['until'])}" if one["until"] else "gave up"
        told = f"{clock(one['at'])}, {one['step']}: {one['reason']} ({after})"
        yield Text(f"{'tried':<20} {shown(told)}", no_wrap=True, overflow="ignore")


def _left(job: Job) -> str:
    if job.removed_at is None:
        return "nowhere of dropzone's any more"
    if job.removed_by == "a person":
        return f"taken away by a person (noticed {clock(job.removed_at)})"
    return f"removed {clock(job.removed_at)} by {job.removed_by}; S3 has it"


def _failure(job: Job) -> Iterator[tuple[str, object]]:
    if job.error_step and (job.outcome in {None, Outcome.FAILED}):
        yield "error in step", job.error_step
        yield "reason", reason_of(job)
        yield "what to do", job.data.get("what_to_do")


def retried(results: Sequence[PutBack]) -> Iterator[RenderableType]:
    made = table("Job", "File", "", whole=["Job"])
    for result in results:
        job = result.job
        name = job.path if job else result.named
        told = result.problem or f"is in input/ again as {shown(result.path or b'')}"
        style = "red" if result.problem else ""
        made.add_row(*cells(short(job.id) if job else "", name), Text(told, style))
    yield made


def added(
    placed: Sequence[Placed], left: Sequence[LeftOut], ended: Sequence[Ended]
) -> Iterator[RenderableType]:
    """Tell where files went, or once they ended, how."""
    for item in left:
        yield Text(f"Left out: {display(item.file)} {item.reason}.", style="yellow")
    if not ended:
        total = size(sum(file.size for file in placed))
        files = "1 file is" if len(placed) == 1 else f"{len(placed)} files are"
        yield Text(f"{files} in input/ now ({total}).")
        for file in placed:
            if file.path != file.source.path:
                yield Text(f"{shown(file.source.path)} is there as {shown(file.path)}.")
        return
    made = table(
        "File",
        "State",
        "Chunks",
        "Seconds",
        "Reason",
        numbers=["Chunks", "Seconds"],
        whole=["State"],
    )
    for end in ended:
        made.add_row(*_end(end))
    yield made


def _end(end: Ended) -> list[Text]:
    job = end.job
    if job is None:
        path, why = cells(end.placed.path, f"{end.refusal}. {end.hint}")
        return [path, _state("refused"), Text(), Text(), why]
    seconds = f"{(job.ended_at or 0) - job.created_at:.2f}"
    path, chunks, took, why = cells(
        end.placed.path, job.data.get("chunks"), seconds, reason_of(job)
    )
    return [path, _state(state_of(job)), chunks, took, why]


# search


def hits(found: "Sequence[Hit]") -> Iterator[RenderableType]:
    for rank, hit in enumerate(found, 1):
        place = f", page {hit.page}" if hit.page else ""
        yield Text.assemble(
            f"{rank}. ",
            (shown(hit.name), "bold"),
            f"  {shown(hit.collection)}{place}",
            (f"  {hit.matched_by} {hit.score:.3f}", "dim"),
        )
        if hit.heading:
            yield Text(f"   {shown(hit.heading)}", style="italic")
        yield _snippet(hit)


def _snippet(hit: "Hit") -> RenderableType:
    made = Text()
    at = 0
    for start, end in hit.marks:
        made.append(_line(hit.snippet[at:start]))
        made.append(_line(hit.snippet[start:end]), style="bold yellow")
        at = end
    made.append(_line(hit.snippet[at:]))
    return Padding(made, (0, 0, 1, 3), expand=False)


def _line(text: str) -> str:
    """Return text of a document on one line, safe to show."""
    return display(" ".join(text.split("\n")).replace("\t", " "))


# doctor


def findings(found: "Sequence[Diagnosis]") -> Iterator[RenderableType]:
    made = table("Checked", "", "Found", whole=["Checked", ""])
    for one in found:
        told = Text(display(one.found))
        if one.what_to_do:
            told.append(f"\n{display(one.what_to_do)}", style="italic")
        made.add_row(Text(one.checked), _state(one.verdict), told)
    yield made
