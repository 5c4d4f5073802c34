"""The command line. Each command reads the settings, makes one call, and prints.

Nothing heavy is imported before a command needs it: help and completion stay fast.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dropzone import __version__, pid_one
from dropzone.commands import care_app, completion, control_app, credentials_app
from dropzone.commands.command import PROBLEM, Command
from dropzone.commands.options import Config, Json
from dropzone.errors import UsageError

app = typer.Typer(
    name="dropzone",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a problem was found, 2 wrong use or configuration. "
    "With --json, stdout holds exactly one JSON document, also for an error.",
)
configs = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")
services = typer.Typer(no_args_is_help=True, help="The embedded Postgres and S3.")
app.add_typer(control_app.app)
app.add_typer(configs, name="config")
app.add_typer(services, name="services")
app.add_typer(credentials_app.app, name="credentials")
care_app.add_to(app)

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


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dropzone {__version__}")
        raise typer.Exit


@app.callback()
def dropzone(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Drop a file into a folder; it is stored, made searchable, and tracked."""


@app.command(cls=Command)
def run(
    *,
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Process what is there, then end.")
    ] = False,
) -> None:
    """Watch the input folders and process every file dropped there.

    Ends at Ctrl-C or SIGTERM with 0; what is under way goes on at the next
    start. With --once the exit code is 1 when a file failed. A zone that cannot
    be served until a person acts ends it with 78, a wrong configuration with 2.
    """
    from dropzone.commands import serving

    raise typer.Exit(serving.serve(config, once=once))


@app.command(cls=Command)
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


@app.command(cls=Command)
def status(*, config: Config = None, as_json: Json = False) -> None:
    """Show how each zone is doing: daemon, paused steps, counts, refused files.

    The exit code is 1 when a zone has no daemon or one of its steps is paused.
    Files that failed do not change it; they wait for you in failed/.
    """
    from dropzone import status as collected
    from dropzone.commands import access, output, render

    settings = access.settings(config)
    zones, web = collected.of_all(settings), collected.web_of(settings)
    if as_json:
        output.print_json({"zones": zones, "web": web})
    else:
        output.print_all(render.status(zones, web))
    raise typer.Exit(0 if all(zone.fine for zone in zones) else PROBLEM)


@app.command(cls=Command)
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
    from dropzone.commands import access, output, render
    from dropzone.lookup import Zones, state_named

    with Zones(access.settings(config)) as zones:
        found = zones.newest(number, **state_named(state))
    if as_json:
        output.print_json({"jobs": found})
    else:
        output.print_all(render.jobs(found))


@app.command(cls=Command)
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
    from dropzone.commands import access, output, render
    from dropzone.lookup import Zones

    with Zones(access.settings(config)) as zones:
        found, lying = zones.show(what), zones.lying(what)
    if as_json:
        output.print_json({"jobs": found, "in_input": lying})
    elif found or lying:
        output.print_all(render.show(found, lying))
    else:
        print(f"Nothing is known of {output.shown(what)}.", file=sys.stderr)
    raise typer.Exit(0 if found or lying else PROBLEM)


@app.command(cls=Command)
def health(*, config: Config = None, as_json: Json = False) -> None:
    """Tell whether a daemon serves each zone and its main loop goes round.

    For the health check of a container. A paused step is healthy: what it waits
    for comes back without a restart, and 'status' tells it. The exit code is 1
    when a zone has no daemon, or one that hangs.
    """
    from dropzone.commands import access, health, output

    zones = health.of_all(access.settings(config))
    if as_json:
        output.print_json({"zones": zones})
    else:
        print("\n".join(zone.told for zone in zones))
    raise typer.Exit(0 if all(zone.healthy for zone in zones) else PROBLEM)


@app.command(cls=Command)
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


@app.command(cls=Command)
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

    hits = searching.search(
        access.settings(config),
        text,
        collection=collection,
        limit=limit,
        mode=mode.value,
    )
    if as_json:
        output.print_json({"hits": hits})
    elif hits:
        output.print_all(render.hits(hits))
    else:
        print("Nothing found.", file=sys.stderr)
    raise typer.Exit(0 if hits else PROBLEM)


@app.command(cls=Command)
def verify(
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file and object, compare hashes.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what is safe to mend.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Prove that folders, receipts, S3, Postgres and MLflow agree.

    A daemon may go on meanwhile. --repair uploads and indexes again from what
    the zone holds, and logs missing runs; it deletes nothing. The exit code is
    1 when something does not fit.
    """
    from dropzone.commands import access, output, render_verify, verifying

    with render_verify.progress(as_json=as_json) as advance:
        summaries = verifying.verify(
            access.settings(config), deep=deep, repair=repair, progress=advance
        )
    if as_json:
        output.print_json({"zones": summaries})
    else:
        output.print_all(render_verify.summaries(summaries))
    problems = any(summary.problems for summary in summaries)
    raise typer.Exit(PROBLEM if problems else 0)


@app.command(cls=Command)
def doctor(
    *,
    canary: Annotated[
        bool,
        typer.Option(
            "--canary",
            help="Also drop a small file, and follow it to processed/, S3, Postgres "
            "and search; needs the running daemon.",
        ),
    ] = False,
    notify: Annotated[
        bool,
        typer.Option("--notify", help="Also send a test message to each target."),
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check configuration, folders, limits and services; say how to mend each.

    A small object is written to S3 and removed again, and the MLflow experiment
    gets a tag. Embedded servers that do not run are started for the moment. The
    exit code is 1 when something keeps dropzone from working.
    """
    from dropzone.commands import doctor as checks
    from dropzone.commands import output, render

    findings = checks.examine(config, canary=canary, notify=notify)
    if as_json:
        output.print_json({"findings": findings})
    else:
        output.print_all(render.findings(findings))
    raise typer.Exit(PROBLEM if checks.is_ill(findings) else 0)


@app.command(cls=Command)
def audit(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files and folders.")
    ],
    *,
    sarif: Annotated[
        bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code hosts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find clients, connections and secrets outside of a session pool.

    Reads any Python code below PATH, notebooks too; nothing of it is run. What
    is meant to be so is listed in pyproject.toml with a reason, or has a
    comment: # dropzone: allow DZ101 reason. The exit code is 1 when something
    is found.
    """
    from dropzone.commands import auditing

    raise typer.Exit(auditing.run(paths, as_json=as_json, as_sarif=sarif))


@app.command(cls=Command)
def mlflow(
    *,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            help="The port; otherwise 5000, or a free one if that is taken.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Serve the MLflow page over the runs of this installation, until Ctrl-C.

    Only this machine can reach it. When the configuration names an MLflow
    server, its address is printed instead.
    """
    from dropzone.commands import access, mlflow_page

    raise typer.Exit(mlflow_page.serve(access.settings(config), port))


@app.command("install-service", cls=Command)
def install_service(
    *,
    user: Annotated[
        bool, typer.Option("--user", help="A service of your own, without root.")
    ] = False,
    zone: Annotated[
        Path | None,
        typer.Option(
            "--zone",
            metavar="PATH",
            help="The folder to watch, if no configuration names one yet: "
            "/srv/dropzone, or ~/dropzone with --user.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="PATH",
            help="The configuration: /etc/dropzone/config.yaml, or "
            "~/.config/dropzone/config.yaml with --user. Written if it is not there.",
        ),
    ] = None,
    run_as: Annotated[
        str, typer.Option("--as", metavar="USER", help="Whom it runs as.")
    ] = "dropzone",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done.")
    ] = False,
    uninstall: Annotated[
        bool, typer.Option("--uninstall", help="Take the service away again.")
    ] = False,
) -> None:
    """Install the daemon as a service of systemd, and start it.

    Tells each step. Run it again after an upgrade, or when the zones have
    changed: only what differs is written. Files and settings stay when it is
    uninstalled.
    """
    from dropzone.commands import service_app

    if uninstall:
        service_app.uninstall(of_user=user, dry_run=dry_run)
    else:
        service_app.install(
            of_user=user, zone=zone, config=config, user=run_as, dry_run=dry_run
        )


@configs.command("check", cls=Command)
def config_check(*, config: Config = None, as_json: Json = False) -> None:
    """Check the configuration; the exit code is 2 when something is wrong."""
    from dropzone import config as configuration
    from dropzone.commands import output

    loaded = configuration.load(config)
    if as_json:
        output.print_json({"file": loaded.path, "settings_made": loaded.origins})
    else:
        file = output.shown(bytes(loaded.path)) if loaded.path else "No file is used"
        print(f"{file}: nothing is wrong ({len(loaded.origins)} settings made).")


@configs.command("show", cls=Command)
def config_show(*, config: Config = None, as_json: Json = False) -> None:
    """Show every setting, its value and where it came from; secrets as stars."""
    from dropzone.commands import access, output

    settings = access.explained(config)
    if as_json:
        output.print_json({"settings": settings})
        return
    made = output.table("Setting", "Value", "From")
    for setting in settings:
        made.add_row(*output.cells(setting.key, setting.value, setting.where))
    output.print_all([made])


@services.command("up", cls=Command)
def services_up(*, config: Config = None) -> None:
    """Start the embedded Postgres and S3, and leave them running."""
    from dropzone.commands import access, background

    print(background.up(access.settings(config)))


@services.command("down", cls=Command)
def services_down(*, config: Config = None) -> None:
    """Stop what 'services up' started; servers of a daemon end with it."""
    from dropzone.commands import access, background

    print(background.down(access.settings(config)))


@services.command("env", cls=Command)
def services_env(*, config: Config = None, as_json: Json = False) -> None:
    """Print how to reach the services, for: eval "$(dropzone services env)".

    The lines hold passwords. They name your own services where the
    configuration does.
    """
    from dropzone.commands import access, background, output, shells

    values = background.environment(access.settings(config))
    if as_json:
        output.print_json(values)
    else:
        print(shells.lines(values, shells.Shell.BASH))


def main() -> None:
    """Run the command line; never returns."""
    pid_one.take_over()
    # A name that this terminal's encoding does not know must not end a command.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="dropzone")
