"""The command line. Each command reads the settings, makes one call, and prints.

Nothing heavy is imported before a command needs it: help and completion stay fast.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dropzone import __version__, pid_one
from dropzone.commands import (
    care_app,
    config_app,
    control_app,
    credentials_app,
    files_app,
    services_app,
)
from dropzone.commands.command import PROBLEM, Command
from dropzone.commands.options import Config, Json

app = typer.Typer(
    name="dropzone",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a problem was found, 2 wrong use or configuration. "
    "With --json, stdout holds exactly one JSON document, also for an error.",
)


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


def status(*, config: Config = None, as_json: Json = False) -> None:
    """Show how each zone is doing: daemon, paused steps, counts, refused files.

    The exit code is 1 when a zone has no daemon or one of its steps is paused.
    Files that failed do not change it; they wait for you in failed/.
    """
    from dropzone import status as collected
    from dropzone.commands import access, output, render_status

    settings = access.settings(config)
    zones, web = collected.of_all(settings), collected.web_of(settings)
    if as_json:
        output.print_json({"zones": zones, "web": web})
    else:
        output.print_all(render_status.status(zones, web))
    raise typer.Exit(0 if all(zone.fine for zone in zones) else PROBLEM)


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
    from dropzone.commands import installing

    if uninstall:
        installing.uninstall(of_user=user, dry_run=dry_run)
    else:
        installing.install(
            of_user=user, zone=zone, config=config, user=run_as, dry_run=dry_run
        )


# In the order in which the help shows them.
for _command in (
    care_app.clean,
    care_app.backup,
    care_app.restore,
    run,
    files_app.add,
    status,
    files_app.jobs,
    files_app.show,
    health,
    files_app.retry,
    files_app.search,
    verify,
    doctor,
    audit,
    mlflow,
    install_service,
    control_app.top,
    control_app.reload,
    control_app.pause,
    control_app.resume,
):
    app.command(cls=Command)(_command)
app.add_typer(config_app.app, name="config")
app.add_typer(services_app.app, name="services")
app.add_typer(credentials_app.app, name="credentials")


def main() -> None:
    """Run the command line; never returns."""
    pid_one.take_over()
    # A name that this terminal's encoding does not know must not end a command.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="dropzone")
