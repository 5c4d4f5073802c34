"""Many zones on one database, one bucket and one tracking store.

A zone that was crashed keeps to itself, so that one daemon can settle all of them: the
start of a daemon and of MLflow is most of what a single recovery costs.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.supervisor import Run, StopAt, Supervisor
from daemons import ZoneOfTest, zone_on
from dropzone.embedded import ServiceAddresses
from samples import pdf, word

#: A full settling of many zones at once, on a busy machine.
SETTLE_SECONDS = 300.0

_RUN_ONCE = (sys.executable, "-m", "dropzone", "run", "--once")


@dataclass
class Patch:
    """One zone of the ground, and the files that were dropped into it."""

    name: str
    zone: ZoneOfTest
    root: Path
    #: How often which path below ``input/`` was dropped with which SHA-256.
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def drop(self, files: Mapping[str, bytes]) -> None:
        """Drop files below a folder of the zone's own: no two share a collection."""
        for name, content in files.items():
            path = f"{self.name}/{name}"
            self.dropped[path, self.zone.drop(path, content)] += 1


@dataclass
class Places:
    """Where everything is kept that zones were promised."""

    services: ServiceAddresses
    database: str
    bucket: str
    store_uri: str
    patches: list[Patch] = field(default_factory=list)


class Ground(Places):
    """Makes zones on servers of their own, and runs daemons over them."""

    def __init__(
        self,
        base: Path,
        services: ServiceAddresses,
        store: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``store`` is an empty tracking store to begin with: making one is slow."""
        self.base = base
        #: What a crash may come before: calls that change something below here.
        self.watched = base / "watched"
        self.watched.mkdir(parents=True)
        if store is not None:
            shutil.copy(store, self.watched / "mlflow.db")
        store_uri = f"sqlite:///{self.watched / 'mlflow.db'}"
        fresh = zone_on(base / "all", services).environment
        super().__init__(
            services, fresh["DATABASE_URL"], fresh["DROPZONE_BUCKET"], store_uri
        )
        self.environment = {
            **fresh,
            "MLFLOW_TRACKING_URI": store_uri,
            "DROPZONE__MLFLOW__ARTIFACT_ROOT": (self.watched / "artifacts").as_uri(),
            "DROPZONE__MLFLOW__BATCH_SECONDS": "0.1",
            "DROPZONE__EXECUTOR__PROCESSES": "1",
            # Some zones are on file systems of a few megabytes.
            "DROPZONE__LIMITS__FREE_MEGABYTES": "0",
            **(settings or {}),
        }

    def patch(self, name: str, root: Path | None = None) -> Patch:
        """Return a new zone; ``root`` is its folder where that is not to be ours."""
        root = root or self.watched / name / "drop_zones"
        environment = {**self.environment, "DROPZONE__ZONES": _zones([(name, root)])}
        patch = Patch(name, ZoneOfTest(root.parent, environment), root)
        self.patches.append(patch)
        return patch

    def crash(
        self,
        patch: Patch,
        stop_at: StopAt,
        *,
        before: Mapping[int, Callable[[], None]] | None = None,
        extra: Mapping[str, str] | None = None,
        answers: bool = False,
    ) -> Run:
        """Run one daemon over one zone until its end, or until the given call."""
        supervisor = Supervisor(
            self.watched, stop_at=stop_at, before=before, answers=answers
        )
        return supervisor.run(
            _RUN_ONCE,
            cwd=patch.root.parent,
            environment={**patch.zone.environment, **(extra or {})},
            log=self.base / f"{patch.name}.log",
        )

    def settle(
        self, patches: Sequence[Patch], extra: Mapping[str, str] | None = None
    ) -> None:
        """Let one daemon finish these zones; 1 says that some file failed."""
        named = [(patch.name, patch.root) for patch in patches]
        environment = {**self.environment, "DROPZONE__ZONES": _zones(named)}
        together = ZoneOfTest(self.base / "all", {**environment, **(extra or {})})
        try:
            code = together.start("--once").wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"nothing settles: {self.log()[-4000:]}") from error
        finally:
            together.close()
        assert code in {0, 1}, self.log()[-4000:]

    def log(self) -> str:
        return (self.base / "all" / "daemon.log").read_text(errors="replace")


def _zones(named: Sequence[tuple[str, Path]]) -> str:
    return json.dumps(
        [{"name": name, "path": str(p), "quiet_seconds": 0.05} for name, p in named]
    )


def files_of(seed: str) -> dict[str, bytes]:
    """Return a few files of different fates, each content unique to ``seed``."""
    text = f"Harbour report {seed}. The crane lifts, the tide turns.\n".encode()
    return {
        "plain.txt": text * 30,
        "again.txt": text * 30,
        "deeper/plain.txt": b"another " + text,
        "table.csv": b"name,count\n" + text.replace(b",", b"") * 2,
        "broken.pdf": b"%PDF-1.4\nnot really " + text,
        "blob.bin": b"\x00\x01\xff" + text,
    }


def more_files_of(seed: str) -> dict[str, bytes]:
    """Return what else people drop: every format, the empty one, odd names."""
    text = f"Logbook {seed} of the northern pier.\n"
    return {
        **files_of(seed),
        "empty.txt": b"",
        "letter.pdf": pdf([text]),
        "letter.docx": word([("Heading 1", text), ("", text)]),
        "page.html": f"<h1>{text}</h1><p>{text}</p>".encode(),
        "notes.md": f"# {text}\n\n{text}".encode(),
        "data.json": json.dumps([{"text": text}]).encode(),
        "tide\nturns\u202e.txt": f"odd name {text}".encode(),
    }
