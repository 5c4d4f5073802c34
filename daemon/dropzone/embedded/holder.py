"""The process behind ``dropzone services up``: holds the servers until SIGTERM.

It writes one JSON line to its standard output when it is ready or has failed, and then
closes it.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from dropzone import log
from dropzone.embedded.record import Role
from dropzone.embedded.services import EmbeddedServices
from dropzone.errors import DropzoneError, ServiceUnavailable, Stopping


def main() -> int:
    arguments = _arguments().parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    log.configure(form="json")
    services = EmbeddedServices(
        arguments.directory,
        postgres=not arguments.no_postgres,
        s3=not arguments.no_s3,
        s3_port=arguments.s3_port,
        fast_init=arguments.fast,
        role=Role.HOLDER,
        stopping=stopping,
    )
    try:
        services.start()
    except DropzoneError as error:
        service = error.service if isinstance(error, ServiceUnavailable) else ""
        _report({"service": service, "message": error.message, "hint": error.hint})
        return 1
    _report(None)
    with services:
        _hold(services, stopping)
    return 0


def _hold(services: EmbeddedServices, stopping: threading.Event) -> None:
    # Servers that another process owns need no holder.
    while services.owns and not stopping.wait(1):
        try:
            services.check()
        except ServiceUnavailable as error:
            log.get("embedded").error("service down", error=error.message)
        except Stopping:
            return


def _report(error: dict[str, str] | None) -> None:
    os.write(sys.stdout.fileno(), json.dumps({"error": error}).encode() + b"\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dropzone.embedded.holder")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--no-postgres", action="store_true")
    parser.add_argument("--no-s3", action="store_true")
    parser.add_argument("--s3-port", type=int, default=0)
    parser.add_argument("--fast", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
