"""What ``dropzone doctor`` asks of S3, Postgres and MLflow, and how fast they are."""

import hashlib
import re
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata

from dropzone.commands import access, doctor_postgres
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.commands.output import span
from dropzone.embedded import postgres as embedded_postgres
from dropzone.embedded import running
from dropzone.embedded import s3 as embedded_s3
from dropzone.errors import DropzoneError
from dropzone.sessions import SessionPool, probes
from dropzone.sessions.settings import (
    mlflow_settings,
    tracking_uri,
    without_userinfo,
)
from dropzone.settings import Settings

_MEND = "Start it, or mend its address and credentials: dropzone config show"
_WAIT = "Files do not wait for it; their runs are logged when it answers."
# AWS refuses requests that are a quarter of an hour off.
_CLOCK_SECONDS = 60
_VERSION_SECONDS = 5


def programs(settings: Settings) -> Iterator[Diagnosis]:
    """Look for the programs of the embedded servers that are needed, and who runs them.

    Raises:
        ZoneError: their folder belongs to another user.

    """
    wanted: list[tuple[str, bool, Callable[[], object]]] = [
        ("Postgres program", settings.embeds_postgres, embedded_postgres.binaries),
        ("S3 program", settings.embeds_s3, embedded_s3.program),
    ]
    for checked, needed, find in wanted:
        if needed:
            try:
                yield ok(checked, str(find()))
            except DropzoneError as error:
                yield problem(checked, error.message, error.hint)
    if any(needed for _, needed, _ in wanted):
        yield from _told("embedded servers", lambda: _embedded(settings))


def all_services(settings: Settings) -> Iterator[Diagnosis]:
    """Use each service once; embedded servers run for the moment if need be."""
    try:
        with access.sessions(settings) as pool:
            yield from _told("S3", lambda: _s3(pool, settings))
            found = [*_told("Postgres", lambda: doctor_postgres.server(pool, settings))]
            yield from found
            # Else the same would be told again, after as long a wait.
            if any(one.checked == doctor_postgres.CONNECTIONS for one in found):
                yield from _told(
                    "Postgres schema", lambda: doctor_postgres.schema(pool)
                )
            yield from _told("MLflow", lambda: _mlflow(pool, settings))
    except DropzoneError as error:
        yield problem("embedded services", error.message, error.hint)


def _told(checked: str, ask: Callable[[], Iterator[Diagnosis]]) -> Iterator[Diagnosis]:
    try:
        yield from ask()
    except DropzoneError as error:
        yield problem(checked, error.message, error.hint or _MEND)


def _embedded(settings: Settings) -> Iterator[Diagnosis]:
    found = running(settings.services_directory)
    told = (
        f"run under process {found.owner_pid}"
        if found
        else "do not run; they are started for the moment"
    )
    yield ok("embedded servers", f"{told}; data in {settings.services_directory}")


def _s3(pool: SessionPool, settings: Settings) -> Iterator[Diagnosis]:
    s3 = pool.s3
    if settings.embeds_s3:
        s3.ensure_bucket()
    content = secrets.token_bytes(64)
    key = f"{settings.aws.prefix}doctor/{secrets.token_hex(8)}"
    began = time.monotonic()
    s3.put(key, content, sha256=hashlib.sha256(content).hexdigest())
    took = time.monotonic() - began
    try:
        seen = s3.head(key)
        same = seen is not None and seen.size == len(content) and s3.get(key) == content
        answer = probes.s3_answer(s3, key)
    finally:
        s3.delete(key)
    if not same:
        yield problem(
            "S3",
            f"{s3.address} gives back something else than was put",
            "Look at what stands between this machine and S3.",
        )
        return
    told = f"{s3.address}, credentials from {s3.credentials_source}"
    yield ok("S3", f"{told}; a put takes {took * 1000:.0f} ms", took)
    if not settings.embeds_s3:
        yield _encryption(answer, settings)
    yield _clock(answer)


def _encryption(answer: probes.Answer, settings: Settings) -> Diagnosis:
    wanted = settings.aws.encryption
    if wanted in {"none", answer.encryption}:
        return ok("S3 encryption", f"objects are kept with: {answer.encryption}")
    return warning(
        "S3 encryption",
        f"{wanted} is asked for, and the server says it uses {answer.encryption}",
        "Switch it on in the server, or do without: aws.encryption: none in the file, "
        "or export DROPZONE__AWS__ENCRYPTION=none",
    )


def _clock(answer: probes.Answer) -> Diagnosis:
    off = abs(answer.clock)
    if off < _CLOCK_SECONDS:
        return ok("clock", "the same as that of S3")
    way = "behind" if answer.clock > 0 else "ahead of"
    return warning(
        "clock",
        f"this machine is {span(off)} {way} S3, which takes nothing from 15 min on",
        "As root: timedatectl set-ntp true",
    )


def _mlflow(pool: SessionPool, settings: Settings) -> Iterator[Diagnosis]:
    whole = tracking_uri(mlflow_settings(settings))
    uri = without_userinfo(whole)
    if uri.startswith(("http://", "https://")):
        yield from _mlflow_version(uri)
    health = pool.mlflow.check()
    # The first look opens the store; the second one is what a run costs.
    health = pool.mlflow.check() if health.healthy else health
    if not health.healthy:
        yield warning("MLflow", health.error or f"{uri} does not answer", _WAIT)
        return
    seconds = health.latency_seconds or 0.0
    yield ok("MLflow", f"{uri}; a look takes {seconds * 1000:.0f} ms", seconds)
    try:
        probes.write_to_mlflow(pool.mlflow)
    except DropzoneError as error:
        yield warning("MLflow writing", error.message, error.hint or _WAIT)
    else:
        name = settings.mlflow.experiment_name
        yield ok("MLflow writing", f"experiment {name} can be written to")


def _mlflow_version(uri: str) -> Iterator[Diagnosis]:
    """Compare the server's major version with ours; silent when it does not tell."""
    ours = metadata.version("mlflow")
    try:
        with urllib.request.urlopen(  # noqa: S310 the scheme was looked at
            f"{uri.rstrip('/')}/version", timeout=_VERSION_SECONDS
        ) as answer:
            theirs = answer.read(100).decode("ascii", "replace").strip()
    except (OSError, ValueError):
        return
    if not re.fullmatch(r"\d+\.\d[\w.]*", theirs):
        return
    if theirs.partition(".")[0] == ours.partition(".")[0]:
        yield ok("MLflow version", f"the server has {theirs}, this machine {ours}")
    else:
        yield warning(
            "MLflow version",
            f"the server has {theirs}, this machine {ours}, and they may differ in "
            "what they understand",
            f"On the server: pip install mlflow=={ours}",
        )
