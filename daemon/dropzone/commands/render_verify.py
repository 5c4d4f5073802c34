"""What ``verify`` shows to people."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.text import Text

from dropzone.commands.output import cells, table
from dropzone.verify import Summary

_MOST_SHOWN = 100


@contextmanager
def progress(*, as_json: bool) -> Iterator[Callable[[int], None]]:
    """Lend a function that shows on a terminal how many receipts are checked."""
    console = Console(stderr=True)
    hidden = as_json or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("Checking receipts", total=None)
        yield lambda done: bar.update(task, completed=done, description=f"{done} files")


def summaries(found: Sequence[Summary]) -> Iterator[RenderableType]:
    for summary in found:
        yield from _summary(summary)


def _summary(summary: Summary) -> Iterator[RenderableType]:
    how = "every byte read" if summary.deep else "sizes compared, hashes not"
    yield Text(
        f"Zone {summary.zone}: {summary.receipts} receipts, "
        f"{summary.documents} documents, {summary.objects} objects, "
        f"{summary.runs} runs checked ({how})."
    )
    if summary.under_way:
        yield Text(f"{summary.under_way} files are under way.")
    if summary.no_longer_in_processed:
        yield Text(
            f"{summary.no_longer_in_processed} files were taken out of processed/; "
            "S3 and Postgres hold them."
        )
    if summary.removed_by_retention:
        yield Text(
            f"{summary.removed_by_retention} files were removed by retention; "
            "S3 and Postgres hold them."
        )
    if summary.unnamed_objects:
        yield Text(
            f"{summary.unnamed_objects} objects in S3 belong to no document "
            "(left by a crash or by others; harmless)."
        )
    if summary.repaired:
        yield Text(f"{len(summary.repaired)} problems were mended.", style="green")
    if not summary.problems:
        yield Text("Nothing is lost, doubled or hidden.", style="bold green")
        return
    yield _problems(summary)


def _problems(summary: Summary) -> RenderableType:
    made = table("What", "Problem", "To mend it")
    for problem in summary.problems[:_MOST_SHOWN]:
        made.add_row(*cells(problem.subject, problem.problem, problem.command))
    if (more := len(summary.problems) - _MOST_SHOWN) > 0:
        made.add_row(*cells("…", f"{more} more; all of them with --json", ""))
    return made
