"""What the ``credentials`` commands show to people."""

import time
from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from dropzone.commands.credentials import Renewed
from dropzone.commands.output import cells, clock, shown, span, table
from dropzone.sessions.origins import Credentials
from dropzone.sessions.proof import Proof

_NAMES = {"s3": "S3", "postgres": "Postgres", "mlflow": "MLflow"}
_STYLES = {"in use": "green", "broken": "bold red", "empty": "yellow"}


def sources(found: Iterable[Credentials]) -> Iterator[RenderableType]:
    for one in found:
        yield Text(f"{_NAMES[one.service]}: {shown(one.address)}", style="bold")
        if one.source is None:
            yield Text(shown(one.problem), style="bold red")
            yield Text(shown(one.what_to_do), style="italic")
        else:
            yield Text(f"{one.source}: {shown(one.told)}{_end(one.expires)}")
        if one.sources:
            made = table("Source", "", "Why", whole=["Source", ""])
            for source in one.sources:
                verdict = Text(source.verdict, style=_STYLES.get(source.verdict, "dim"))
                made.add_row(Text(source.source), verdict, *cells(source.told))
            yield made
        yield Text()


def proofs(found: Iterable[Proof]) -> Iterator[RenderableType]:
    made = table("Service", "Tried", "", "Found", whole=["Service", "Tried", ""])
    for one in found:
        verdict = Text("works", "green") if one.works else Text("refused", "bold red")
        told = Text(shown(one.told))
        if one.missing:
            told.append(f"\nmissing: {shown(one.missing)}")
        if one.what_to_do:
            told.append(f"\n{shown(one.what_to_do)}", style="italic")
        if one.seconds is not None:
            told.append(f"{one.seconds * 1000:.0f} ms")
        made.add_row(Text(_NAMES[one.service]), Text(one.tried), verdict, told)
    yield made


def renewed(found: Iterable[Renewed]) -> Iterator[RenderableType]:
    for one in found:
        name = _NAMES[one.service]
        if one.source is not None:
            keys = one.service == "s3" and one.source != "embedded"
            end = _end(one.expires) or (", which does not run out" if keys else "")
            yield Text(f"{name}: {one.source}: {shown(one.told)}{end}")
        if one.works:
            yield Text(f"{name} takes it.", style="green")
        else:
            yield Text(shown(one.problem), style="bold red")
        if one.what_to_do:
            yield Text(shown(one.what_to_do), style="italic")


def _end(moment: float | None) -> str:
    if moment is None:
        return ""
    return f", runs out in {span(moment - time.time())} ({clock(moment)})"
