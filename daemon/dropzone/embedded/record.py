"""What is written down about the servers of a data directory, and who owns them.

The lock says whether somebody owns the servers; the record says who, and how to reach
them. It stays after the stop, since a later start gives the same addresses again.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dropzone.embedded.files import is_locked, read_json, write_private
from dropzone.embedded.process import Identity
from dropzone.errors import ServiceUnavailable


class Role(StrEnum):
    """What the owner is for: only a holder may be ended to stop the servers."""

    DAEMON = "daemon"
    HOLDER = "holder"


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """How to reach the servers; None where the server was not asked for.

    ``database_url`` names a Unix socket and holds the password.
    """

    database_url: str | None = field(default=None, repr=False)
    s3_endpoint: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = field(default=None, repr=False)
    s3_region: str = "us-east-1"
    s3_bucket: str = "dropzone"


@dataclass(frozen=True, slots=True)
class RunningServices:
    """Servers that run now, and the process that owns them."""

    addresses: ServiceAddresses
    owner_pid: int
    role: Role


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that started the servers."""

    identity: Identity
    role: Role


@dataclass(frozen=True, slots=True)
class Record:
    """The content of the record file. ``owner`` is None after a clean stop."""

    addresses: ServiceAddresses | None = None
    owner: Owner | None = None
    ready: bool = False
    servers: tuple[Identity, ...] = ()


def lock_path(directory: Path) -> Path:
    return directory / "services.lock"


def write(directory: Path, record: Record) -> None:
    content = json.dumps(asdict(record), indent=1).encode()
    write_private(directory / "services.json", content)


def read(directory: Path) -> Record:
    """Return the record; an empty one where there is none or it is damaged."""
    tree = read_json(directory / "services.json")
    if tree is None:
        return Record()
    try:
        return _parse(tree)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Record()


def remembered(directory: Path) -> ServiceAddresses | None:
    """Return the last known addresses, whether the servers run now or not."""
    return read(directory.resolve()).addresses


def running(directory: Path) -> RunningServices | None:
    """Return the servers that run now; None also while they are still starting.

    Raises:
        ZoneError: the directory belongs to another user.

    """
    directory = directory.resolve()
    if not is_locked(lock_path(directory)):
        return None
    record = read(directory)
    # A record of a former owner may still be there while the next one starts.
    if record.addresses is None or record.owner is None or not record.ready:
        return None
    if not record.owner.identity.seems_alive:
        return None
    owner = record.owner
    return RunningServices(record.addresses, owner.identity.pid, owner.role)


def select(found: RunningServices, *, postgres: bool, s3: bool) -> ServiceAddresses:
    """Return only what is wanted.

    Raises:
        ServiceUnavailable: the owner did not start a server that is wanted.

    """
    addresses = found.addresses
    if postgres and addresses.database_url is None:
        raise _not_started("postgres", "Postgres", found)
    if s3 and addresses.s3_endpoint is None:
        raise _not_started("s3", "S3 server", found)
    if not postgres:
        addresses = replace(addresses, database_url=None)
    if not s3:
        addresses = replace(
            addresses, s3_endpoint=None, s3_access_key=None, s3_secret_key=None
        )
    return addresses


def _not_started(
    service: str, title: str, found: RunningServices
) -> ServiceUnavailable:
    return ServiceUnavailable(
        service,
        f"Process {found.owner_pid} runs the embedded servers without the {title}.",
        hint="Stop that process first, or use another embedded.directory.",
    )


def _parse(tree: dict[str, Any]) -> Record:
    owner = tree["owner"]
    return Record(
        addresses=_addresses(tree["addresses"]),
        owner=owner and Owner(_identity(owner["identity"]), Role(owner["role"])),
        ready=tree["ready"] is True,
        servers=tuple(_identity(server) for server in tree["servers"]),
    )


def _addresses(tree: dict[str, Any] | None) -> ServiceAddresses | None:
    if tree is None:
        return None
    if not all(isinstance(value, str | None) for value in tree.values()):
        raise TypeError
    return ServiceAddresses(**tree)


def _identity(tree: dict[str, Any]) -> Identity:
    return Identity(int(tree["pid"]), str(tree["started"]))
