"""The commands about files: options, exit codes, and what is printed."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dropzone.commands import completion
from dropzone.commands.command import PROBLEM
from dropzone.commands.options import Config, Json
from dropzone.errors import UsageError

Collection = Annotated[
    str | None,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="The collection: the first folder below input/.",
        autocompletion=completion.collections,
    ),
]


class SearchMode(StrEnum):
    """How ``search`` compares."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


def add(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.")],
    *,
    collection: Collection = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="The zone, if there are several.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until each file has ended.")
    ] = False,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            metavar="NAME=VALUE",
            help="What is to be known of the files; may be given several times.",
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put copies of files into input/, whole and under a free name.

    A folder comes with its own name and sub-folders, as with cp -r. With
    --wait the exit code is 1 when a file failed or was refused.
    """
    from dropzone.commands import adding

    code = adding.add(
        paths,
        collection=collection,
        zone=zone,
        wait=wait,
        metadata=metadata or (),
        config=config,
        as_json=as_json,
    )
    raise typer.Exit(code)


def jobs(
    *,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help="Only jobs in this state or with this outcome: claimed, stored, "
            "indexed, waiting, done, failed, duplicate, stored_only, empty.",
            autocompletion=completion.states,
        ),
    ] = None,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, help="How many at most.")
    ] = 20,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first: one line for each dropped file."""
    from dropzone import describing
    from dropzone.commands import access, output, render
    from dropzone.lookup import Zones, state_named

    with Zones(access.settings(config)) as zones:
        found = zones.newest(number, **state_named(state))
    if as_json:
        output.print_json({"jobs": [describing.told(job) for job in found]})
    else:
        output.print_all(render.jobs(found))


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="JOB|PATH|SHA256",
            help="A job's id or the end of it, a path below input/, a file name, a "
            "SHA-256, or where the file lies now.",
            autocompletion=completion.jobs,
        ),
    ],
    *,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell everything about a file: its job, where it lies, what went wrong.

    The exit code is 1 when nothing is known of it.
    """
    from dropzone import describing, plain
    from dropzone.commands import access, output, render
    from dropzone.lookup import Zones

    with Zones(access.settings(config)) as zones:
        found, lying = zones.show(what), zones.lying(what)
    if as_json:
        told = [{**plain.of(one), "job": describing.told(one.job)} for one in found]
        output.print_json({"jobs": told, "in_input": lying})
    elif found or lying:
        output.print_all(render.show(found, lying))
    else:
        print(f"Nothing is known of {output.shown(what)}.", file=sys.stderr)
    raise typer.Exit(0 if found or lying else PROBLEM)


def retry(
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB...", autocompletion=completion.failed_jobs),
    ] = None,
    *,
    failed: Annotated[
        bool, typer.Option("--failed", help="All that failed and were not put back.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put failed files back into input/, to be processed again.

    Moving a file from failed/ to input/ by hand does the same. The exit code
    is 1 when a file cannot be put back, for example because it is gone.
    """
    from dropzone import put_back
    from dropzone.commands import access, output, render
    from dropzone.lookup import Zones

    if bool(named) == failed:
        raise UsageError("Name the jobs to retry, or say --failed.")
    with Zones(access.settings(config)) as zones:
        results = list(
            put_back.all_failed(zones)
            if failed
            else put_back.named(zones, named or (), access.sessions)
        )
    if as_json:
        output.print_json({"put_back": results})
    elif results:
        output.print_all(render.retried(results))
    else:
        print("No file has failed.")
    raise typer.Exit(PROBLEM if any(result.problem for result in results) else 0)


def search(
    text: Annotated[str, typer.Argument(help='Words; "in quotes" they stay together.')],
    *,
    collection: Collection = None,
    limit: Annotated[
        int, typer.Option("-k", "--limit", min=1, max=1000, help="How many at most.")
    ] = 10,
    mode: Annotated[
        SearchMode, typer.Option("--mode", help="How to compare.")
    ] = SearchMode.HYBRID,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Find passages of the indexed files, the best first.

    Works while no daemon runs too: the embedded Postgres is then started for
    the moment. The exit code is 1 when nothing is found.
    """
    from dropzone.commands import access, output, render, searching

    settings = access.settings(config)
    hits = searching.search(
        settings,
        text,
        collection=collection,
        limit=limit,
        mode=mode.value,
    )
    if as_json:
        output.print_json({"hits": hits, "model": settings.embedding.model})
    elif hits:
        output.print_all(render.hits(hits))
    else:
        print("Nothing found.", file=sys.stderr)
    raise typer.Exit(0 if hits else PROBLEM)
