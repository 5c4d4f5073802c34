"""What ``dropzone top`` shows, made of the values that it collected."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from dropzone import steps
from dropzone.commands.output import ago, cells, clock, length, shown, span, table
from dropzone.commands.render_status import serving, span_since, wanted_or_fault
from dropzone.models import Job
from dropzone.status import ZoneStatus
from dropzone.text import display

ASK = "Pause all steps of all zones? y: yes, any other key: no"
_BARS = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS = " .:-=+*#@"


@dataclass(frozen=True, slots=True)
class View:
    """One picture; ``slots`` are of 10 s each."""

    zones: Sequence[ZoneStatus]
    slots: Sequence[int]
    failures: Sequence[Job]
    said: str = ""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        yield self._headline(options)
        # Above what a small terminal cuts off.
        if console.is_terminal:
            yield Text(self.said or "q quit   p pause   r resume", style="dim")
        for zone in self.zones:
            yield from self._zone(zone)
        yield from self._services()
        yield from self._failures()

    def _headline(self, options: ConsoleOptions) -> Text:
        plain = (options.encoding or "").lower() not in {"utf-8", "utf8"}
        minutes = len(self.slots) // 6
        line = sparkline(self.slots, plain=plain)
        return Text.assemble(
            ("dropzone", "bold"),
            f"  {clock(time.time())}  last {minutes} min: {sum(self.slots)} files |",
            (line, "cyan"),
            "|",
        )

    def _zone(self, zone: ZoneStatus) -> Iterator[RenderableType]:
        yield Text()
        yield Text.assemble((f"Zone {zone.zone}  ", "bold"), serving(zone))
        if zone.pauses_unknown:
            yield Text(zone.pauses_unknown, style="bold yellow")
        history = zone.history
        if history.under_way:
            oldest = span(history.oldest_unfinished_seconds or 0)
            yield Text(f"{history.under_way} files under way, the oldest for {oldest}")
        if zone.in_input.oldest_at is not None:
            count = zone.in_input.files
            files = "1 file" if count == 1 else f"{count} files"
            oldest = span_since(zone.in_input.oldest_at)
            yield Text(f"{files} in input/, the oldest for {oldest}")
        yield self._steps(zone)
        for pause in zone.paused:
            yield from wanted_or_fault(pause)

    def _steps(self, zone: ZoneStatus) -> Table:
        made = table("Step", "Waiting", "A minute", "Each", "Now", numbers=_NUMBERS)
        for told in steps.of(zone):
            each = told.median_seconds or told.mean_seconds
            rate = told.a_minute
            made.add_row(
                *cells(
                    told.step,
                    str(told.queued),
                    "" if rate is None else f"{rate:.0f}",
                    length(each),
                ),
                _now(zone, told),
            )
        return made

    def _services(self) -> Iterator[RenderableType]:
        # Each zone of one daemon tells of the same services.
        found = {name: s for zone in self.zones for name, s in zone.services.items()}
        if not found:
            return
        made = table("Service", "Typical", "Slow", "Now", "Errors", numbers=_NUMBERS)
        for name, told in found.items():
            failing = told["failing_since"]
            made.add_row(
                *cells(
                    name,
                    length(told["typical_seconds"]),
                    length(told["slow_seconds"]),
                    f"{told['in_flight']} calls",
                    told["errors"],
                )
            )
            if failing is not None:
                made.add_row(Text(f"failing since {clock(failing)}", style="yellow"))
        yield Text()
        yield made

    def _failures(self) -> Iterator[RenderableType]:
        if not self.failures:
            return
        made = table("Failed", "File", "Why")
        for job in self.failures:
            made.add_row(
                *cells(ago(job.ended_at), display(job.path), job.end_reason or "")
            )
        yield Text()
        yield made


_NUMBERS = ("Waiting", "A minute", "Each", "Typical", "Slow", "Errors")


def sparkline(counts: Sequence[int], *, plain: bool = False) -> str:
    """Return a bar for each count; ``plain`` in ASCII."""
    bars = _PLAIN_BARS if plain else _BARS
    most = max(counts, default=0)
    # Whatever is there is seen, however little beside the rest.
    return "".join(
        bars[-(-count * (len(bars) - 1) // most) if most else 0] for count in counts
    )


def _now(zone: ZoneStatus, told: steps.Step) -> Text:
    if told.paused:
        return Text("paused", style="bold yellow")
    if zone.pid is None:
        return Text("no daemon", style="dim")
    if (work := told.longest) is None:
        return Text(steps.DOES[told.step])
    more = f" and {told.working - 1} more" if told.working > 1 else ""
    return Text(
        f"{shown(work['path'])} for {length(time.time() - work['since'])}{more}"
    )
