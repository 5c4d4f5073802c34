"""The commands that watch and control a daemon: top, reload, pause, resume."""

from enum import StrEnum
from typing import Annotated

import typer

from dropzone.commands.options import Config, Json


class Step(StrEnum):
    """The steps that can be paused."""

    CLAIM = "claim"
    STORE = "store"
    INDEX = "index"
    RELEASE = "release"
    TRACK = "track"


Zone = Annotated[
    str | None, typer.Option("--zone", metavar="NAME", help="Otherwise all zones.")
]
Steps = Annotated[
    list[Step] | None,
    typer.Option("--step", help="May be given several times; otherwise all steps."),
]


def top(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Print it once, as also into a pipe.")
    ] = False,
    config: Config = None,
) -> None:
    """Watch what 'status' shows: steps, rates, services, pauses, last failures.

    Keys: q or Ctrl-C quits, p pauses everything (asks first), r resumes.
    """
    from dropzone.commands import top as live

    live.top(config, once=once)


def reload(*, config: Config = None, as_json: Json = False) -> None:
    """Let the running daemon read its configuration again; tell what changed.

    An edited file is read by itself a second later; SIGHUP does the same. What
    needs a restart keeps its old value. The exit code is 1 when no daemon runs
    or it keeps all old settings because something is wrong.
    """
    from dropzone.commands import reloader

    raise typer.Exit(reloader.reload(config, as_json=as_json))


def pause(
    *,
    zone: Zone = None,
    step: Steps = None,
    length: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Such as 30m, 2h or 1d12h."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Shown by status.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let steps stand still until 'resume', or for a time.

    What is under way is finished. It holds over restarts, and may be said
    before the daemon is started. Files that wait are not lost or failed.
    """
    from dropzone.commands import pausing

    pausing.pause(
        config,
        zone=zone,
        steps=[str(one) for one in step or ()],
        length=length,
        reason=reason,
        as_json=as_json,
    )


def resume(
    *,
    zone: Zone = None,
    step: Steps = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let steps go on that were paused by 'pause'; without options all of them."""
    from dropzone.commands import pausing

    pausing.resume(
        config, zone=zone, steps=[str(one) for one in step or ()], as_json=as_json
    )
