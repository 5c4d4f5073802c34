"""Makes a backup of everything that dropzone owns, while a daemon may work."""

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dropzone import __version__, services
from dropzone.backup import config_copy, manifest
from dropzone.backup.copying import Copied, Copier
from dropzone.backup.cut import Cutter, ZoneCut
from dropzone.backup.manifest import Entry, Header
from dropzone.backup.schemas import SCHEMAS
from dropzone.backup.vault import Vault, explained
from dropzone.config import Loaded
from dropzone.embedded import dumping
from dropzone.errors import UsageError, ZoneError
from dropzone.journal import copying
from dropzone.settings import Settings

_STORE = "mlflow.db"
POSTGRES = b"postgres.dump"
MLFLOW = b"mlflow"
S3 = b"s3"
#: What rclone has not finished receiving.
_PARTIAL = b".partial"


@dataclass(frozen=True, slots=True)
class Options:
    """``processed``: with the files of processed/. ``keep``: so many backups stay."""

    processed: bool = True
    secrets: bool = False
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A backup: its name, what it holds in all, and how much of that was new."""

    name: str
    folder: Path
    files: int
    bytes: int
    new_bytes: int
    left_out: tuple[str, ...]
    not_ours: tuple[str, ...]
    pruned: tuple[str, ...]


def make(
    loaded: Loaded,
    settings: Settings,
    target: Path,
    options: Options,
    progress: Callable[[str], None] = lambda _what: None,
) -> Made:
    """Write a backup into the folder ``target``, which may hold others.

    Raises:
        UsageError: the folder cannot be used, or lies in what is backed up.
        ServiceUnavailable: a disk or an embedded server is at fault.
        ZoneHeld: another backup is being written there.
        ZoneError: a zone was never served.

    """
    target = target.resolve()
    _check_apart(target, settings)
    vault = Vault(target)
    with vault.held():
        return _Making(loaded, settings, vault, options, progress).run()


class _Making:
    def __init__(
        self,
        loaded: Loaded,
        settings: Settings,
        vault: Vault,
        options: Options,
        progress: Callable[[str], None],
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._vault = vault
        self._options = options
        self._progress = progress
        self._copier = Copier(vault)
        self._common: list[Entry] = []
        self._schemas = dict(SCHEMAS)

    def run(self) -> Made:
        cuts = [ZoneCut(zone.name, zone.path) for zone in self._settings.zones]
        cutters = [
            Cutter(cut, self._copier, processed=self._options.processed) for cut in cuts
        ]
        self._progress("journals and receipts")
        for cut in cuts:
            self._copy_journal(cut)
        self._copy_mlflow()
        for cutter in cutters:
            cutter.take_receipts()
        self._progress("files")
        for cutter in cutters:
            cutter.take_ends()
        self._progress("Postgres")
        self._dump_postgres()
        for cutter in cutters:
            cutter.take_ways()
        self._progress("S3")
        self._copy_objects()
        self._copy_config()
        return self._finish(cuts)

    def _copy_journal(self, cut: ZoneCut) -> None:
        journal = cut.root / "state" / "journal.sqlite"
        if not journal.exists():
            raise ZoneError(
                f"There is no journal {journal}: no daemon ever served this zone.",
                hint="Start the daemon once: dropzone run.",
            )
        entry, version = self._copy_sqlite(journal, cut.place("state/journal.sqlite"))
        self._schemas["journal"] = version
        cut.add(entry)

    def _copy_mlflow(self) -> None:
        store = self._settings.mlflow_directory / _STORE
        if self._settings.mlflow.tracking_uri is not None or not store.exists():
            return
        entry, _ = self._copy_sqlite(store, os.path.join(MLFLOW, _STORE.encode()))
        self._common.append(entry)
        artifacts = self._settings.mlflow_directory / "artifacts"
        self._take_tree(artifacts, os.path.join(MLFLOW, b"artifacts"))

    def _dump_postgres(self) -> None:
        if not self._settings.embeds_postgres:
            return
        aside = self._vault.aside()
        stop = threading.Event()
        servers = services.embedded(self._settings, stop)
        if servers is None:
            return
        try:
            url = servers.start().database_url
            if url is not None:
                dumping.dump(url, aside)
        finally:
            servers.stop()
        self._common.append(Entry(POSTGRES, *self._vault.take(aside)))

    def _copy_objects(self) -> None:
        if self._settings.embeds_s3:
            self._take_tree(self._settings.services_directory / "s3", S3)

    def _copy_config(self) -> None:
        content = config_copy.content(self._loaded, secrets=self._options.secrets)
        if content is not None:
            aside = self._vault.aside()
            aside.write_bytes(content)
            self._common.append(Entry(b"config.yaml", *self._vault.take(aside)))

    def _finish(self, cuts: list[ZoneCut]) -> Made:
        now = dt.datetime.now(dt.UTC)
        name = f"{now:%Y%m%dT%H%M%SZ}"
        while name in self._vault.names():
            name += "b"
        left_out = tuple(told for cut in cuts for told in cut.left_out)
        header = Header(
            version=__version__,
            made_at=now.isoformat(timespec="seconds"),
            zones=tuple(cut.name for cut in cuts),
            has=tuple(self._has()),
            schemas=self._schemas,
            mlflow_directory=str(self._settings.mlflow_directory),
            left_out=left_out,
        )
        self._vault.sync()
        path = self._vault.path_of(name)
        with explained(path):
            files, size = manifest.write(path, header, self._entries(cuts))
        return Made(
            name,
            self._vault.root,
            files,
            size,
            self._copier.read_bytes,
            left_out,
            tuple(_not_ours(self._settings)),
            tuple(self._prune()),
        )

    def _entries(self, cuts: list[ZoneCut]) -> Iterator[Entry]:
        yield from self._common
        for cut in cuts:
            yield from cut.entries.values()

    def _has(self) -> Iterator[str]:
        if self._settings.embeds_postgres:
            yield "postgres"
        if self._settings.embeds_s3:
            yield "s3"
        if self._settings.mlflow.tracking_uri is None:
            yield "mlflow"

    def _prune(self) -> list[str]:
        if self._options.keep is None:
            return []

        def named(name: str) -> Iterator[str]:
            return (one.sha256 for one in manifest.entries(self._vault.path_of(name)))

        return self._vault.prune(self._options.keep, named)

    def _copy_sqlite(self, source: Path, place: bytes) -> tuple[Entry, int]:
        aside = self._vault.aside()
        version = copying.copy(source, aside)
        return Entry(place, *self._vault.take(aside)), version

    def _take_tree(self, root: Path, below: bytes) -> None:
        for found in self._copier.tree(root, below):
            if isinstance(found, Copied) and not found.entry.path.endswith(_PARTIAL):
                self._common.append(found.entry)


def _check_apart(target: Path, settings: Settings) -> None:
    places = [zone.path for zone in settings.zones] + [settings.services_directory]
    for place in places:
        inside = place.resolve()
        if target == inside or inside in target.parents:
            raise UsageError(
                f"{target} lies in {place}, which is to be backed up.",
                hint="Name a folder elsewhere, best on another disk.",
            )


def _not_ours(settings: Settings) -> Iterator[str]:
    """Yield which services have to be backed up by their own means."""
    if not settings.embeds_postgres:
        yield "Postgres is a server of yours: back up its schema dropzone (pg_dump)."
    if not settings.embeds_s3:
        yield "S3 is a server of yours: its bucket is not in this backup."
    if settings.mlflow.tracking_uri is not None:
        yield "MLflow is a server of yours: its runs are not in this backup."
