"""Puts a backup into an empty place, on this machine or another."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropzone import fsops, given, zone_opening
from dropzone.backup import manifest
from dropzone.backup.making import MLFLOW, POSTGRES, S3
from dropzone.backup.manifest import Entry, Header
from dropzone.backup.schemas import SCHEMAS
from dropzone.backup.vault import Vault, explained
from dropzone.embedded import EmbeddedServices, dumping
from dropzone.errors import UsageError
from dropzone.journal import copying
from dropzone.settings import Settings

_ZONES = b"zones"
#: Texts in MLflow's store that say where its files lie.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, from which backup, and what has to come from elsewhere."""

    name: str
    made_at: str
    version: str
    files: int
    bytes: int
    not_ours: tuple[str, ...]


def restore(
    settings: Settings,
    source: Path,
    name: str | None = None,
    progress: Callable[[str], None] = lambda _what: None,
) -> Restored:
    """Restore the named or the youngest backup of the folder ``source``.

    Raises:
        UsageError: there is no such backup, or a place is not empty.
        ConfigurationError: it was made by a newer version.
        Damaged: it is not what was written.
        ServiceUnavailable: a disk or an embedded server is at fault.

    """
    vault = Vault(source.resolve())
    with explained(vault.root):
        path = vault.path_of(_chosen(vault, name))
        header = manifest.read_header(path)
        manifest.check_schemas(path, header, SCHEMAS)
        _check_fits(header, settings)
        progress("checking")
        for entry in manifest.entries(path):
            vault.check_size(entry.sha256, entry.size)
    restoring = _Restoring(settings, vault, header)
    return restoring.run(path, progress)


class _Restoring:
    def __init__(self, settings: Settings, vault: Vault, header: Header) -> None:
        self._settings = settings
        self._vault = vault
        self._header = header
        self._roots = {
            zone.name.encode(): zone.path
            for zone in settings.zones
            if zone.name in header.zones
        }
        self._files = self._bytes = 0

    def run(self, path: Path, progress: Callable[[str], None]) -> Restored:
        with explained(next(iter(self._roots.values()))):
            for root in self._roots.values():
                _begin(root)
            progress("files")
            for entry in manifest.entries(path):
                self._restore(entry)
            self._move_mlflow()
            if self._aside.exists():
                progress("Postgres")
                self._load(self._aside)
            self._settle()
        return Restored(
            path.stem,
            self._header.made_at,
            self._header.version,
            self._files,
            self._bytes,
            tuple(_elsewhere(self._header)),
        )

    def _restore(self, entry: Entry) -> None:
        self._files += 1
        self._bytes += entry.size
        target = self._target(entry.path)
        if target is None:
            return
        os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o600), "wb", buffering=0) as out:
            self._vault.get(entry.sha256, entry.size, out.write)
            os.fchmod(out.fileno(), entry.mode)
            if entry.given:
                given.put_back(out.fileno(), os.fsencode(entry.given))
        if entry.mtime_ns:
            os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))

    def _target(self, path: bytes) -> bytes | None:
        """Return where a file of the backup goes; None if it is no file of a place."""
        first, _, rest = path.partition(b"/")
        if first == _ZONES:
            zone, _, below = rest.partition(b"/")
            return os.path.join(os.fsencode(self._roots[zone]), below)
        if first == S3:
            directory = self._settings.services_directory / "s3"
            return os.path.join(os.fsencode(directory), rest)
        if first == MLFLOW:
            return os.path.join(os.fsencode(self._settings.mlflow_directory), rest)
        if path == POSTGRES:
            return os.fsencode(self._aside)
        return None

    @property
    def _aside(self) -> Path:
        return next(iter(self._roots.values())) / "state" / "postgres.dump"

    def _move_mlflow(self) -> None:
        """Let MLflow's store name the folder that its files lie in now."""
        store = self._settings.mlflow_directory / "mlflow.db"
        if not store.exists():
            return
        old, new = Path(self._header.mlflow_directory), self._settings.mlflow_directory
        copying.move_texts(store, _PLACES, old.as_uri(), new.as_uri())
        copying.move_texts(store, _PLACES, str(old), str(new))

    def _load(self, dump: Path) -> None:
        servers = EmbeddedServices(
            self._settings.services_directory, s3=False, stopping=threading.Event()
        )
        with servers:
            url = servers.addresses.database_url
            if url is not None:
                dumping.load(url, dump)
        dump.unlink()

    def _settle(self) -> None:
        for root in self._roots.values():
            for area in zone_opening.AREAS:
                (root / area).mkdir(exist_ok=True)
            with fsops.opened(os.open(root, fsops.DIRECTORY)) as fd:
                fsops.sync_volume(fd)
        for root in self._roots.values():
            zone_opening.restoring(root).unlink()


def _chosen(vault: Vault, name: str | None) -> str:
    names = vault.names()
    if not names:
        raise UsageError(
            f"There is no whole backup in {vault.root}.",
            hint="Name the folder that was given to dropzone backup.",
        )
    if name is None:
        return names[-1]
    if name not in names:
        raise UsageError(
            f"There is no backup {name} in {vault.root}.",
            hint=f"There are: {', '.join(names)}.",
        )
    return name


def _check_fits(header: Header, settings: Settings) -> None:
    """Check that every zone has an empty place, and each service its own server."""
    zones = {zone.name: zone.path for zone in settings.zones}
    if missing := [name for name in header.zones if name not in zones]:
        raise UsageError(
            f"The settings name no zone {missing[0]}, which is in the backup.",
            hint="Use the settings it was made with: dropzone restore --show-config.",
        )
    for name, embeds in (
        ("postgres", settings.embeds_postgres),
        ("s3", settings.embeds_s3),
    ):
        if name in header.has and not embeds:
            raise UsageError(
                f"The backup holds the embedded {name}, and the settings name a "
                "server of your own.",
                hint="Restore with settings that name none.",
            )
    for path in (*(zones[name] for name in header.zones), settings.services_directory):
        if any(names for _, _, names in os.walk(path)):
            raise UsageError(
                f"{path} is not empty, and nothing is ever restored over files.",
                hint="Move it away, or name another folder in the settings.",
            )


def _begin(root: Path) -> None:
    """Mark the zone as half restored: no daemon serves it until that is over."""
    (root / "state").mkdir(parents=True, exist_ok=True)
    zone_opening.restoring(root).touch()
    fsops.sync_directory(root / "state")


def _elsewhere(header: Header) -> list[str]:
    names = {"postgres": "Postgres", "s3": "S3", "mlflow": "MLflow"}
    return [
        f"{title} is not in this backup: restore it by its own means."
        for name, title in names.items()
        if name not in header.has
    ]


def show_config(source: Path, name: str | None = None) -> bytes:
    """Return the settings file of a backup.

    Raises:
        UsageError: there is no such backup, or it holds no settings.
        Damaged: it is not what was written.

    """
    vault = Vault(source.resolve())
    path = vault.path_of(_chosen(vault, name))
    manifest.read_header(path)
    for entry in manifest.entries(path):
        if entry.path == b"config.yaml":
            parts: list[bytes] = []
            vault.get(entry.sha256, entry.size, parts.append)
            return b"".join(parts)
    raise UsageError("This backup was made without a settings file.")
