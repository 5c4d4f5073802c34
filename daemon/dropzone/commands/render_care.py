"""What ``clean`` shows to people."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from dropzone.backup import Made, Restored
from dropzone.care import Report
from dropzone.commands.output import cells, shown, size, table

_MOST_SHOWN = 50


def reports(found: Sequence[Report]) -> Iterator[RenderableType]:
    for report in found:
        yield from _report(report)


def backed_up(made: Made) -> Iterator[RenderableType]:
    yield Text(
        f"Backup {made.name} in {shown(bytes(made.folder))}: {made.files} files, "
        f"{size(made.bytes)}, of which {size(made.new_bytes)} were read."
    )
    for told in made.left_out:
        yield Text(f"Left out: {shown(told)}.", style="yellow")
    for told in made.not_ours:
        yield Text(told, style="yellow")
    if made.pruned:
        yield Text(f"Removed: {', '.join(made.pruned)}.")


def restored(done: Restored) -> Iterator[RenderableType]:
    yield Text(
        f"Restored {done.files} files ({size(done.bytes)}) of {done.name}, made "
        f"{done.made_at} by dropzone {done.version}."
    )
    for told in done.not_ours:
        yield Text(told, style="yellow")
    yield Text("Start the daemon (dropzone run), then prove it: dropzone verify --deep")


def _report(report: Report) -> Iterator[RenderableType]:
    verb = "would be removed" if report.dry_run else "were removed"
    parts = [f"{report.files} files"]
    parts += [f"{report.months} months of receipts"] if report.months else []
    parts += [f"{report.rows} rows of the journal"] if report.rows else []
    yield Text(
        f"Zone {report.zone}: {', '.join(parts)} {verb} ({size(report.bytes)}); "
        f"{report.kept_files} files that are due stay."
    )
    if report.left:
        made = table("Goes", "Size", "Because of", numbers=["Size"])
        for left in report.left[:_MOST_SHOWN]:
            made.add_row(*cells(left.path, size(left.size), left.rule))
        yield made
        yield from _more(len(report.left))
    if report.kept:
        made = table("Stays", "Because it")
        for kept in report.kept[:_MOST_SHOWN]:
            made.add_row(*cells(kept.path, kept.reason))
        yield made
        yield from _more(len(report.kept))


def _more(count: int) -> Iterator[RenderableType]:
    if count > _MOST_SHOWN:
        yield Text(shown(f"{count - _MOST_SHOWN} more: --json has a thousand"))
