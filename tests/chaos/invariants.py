"""The promises, checked from outside: folders, receipts, S3, Postgres and MLflow.

What does not hold comes back as sentences, by zone, so that a harness can tell which
of its crashes did it.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import psycopg  # noqa: TID251 a client of the test's own
from psycopg.rows import dict_row  # noqa: TID251

from chaos.ground import Patch, Places
from chaos.tracking import all_runs
from daemons import ZoneOfTest
from dropzone.embedded import ServiceAddresses
from servers import s3_client

#: Names that only exist while something is being written or tried.
_LITTER = ("*.new", ".new-*", ".rename-probe", "*.part")
#: Room that is kept for the next report: a full disk must be told of, too.
_KEPT = "daemon.json.new"
_BATCH_TAG = "dropzone.batch"


class Found:
    """Sentences about what does not hold, by zone."""

    def __init__(self) -> None:
        self.by_zone: dict[str, list[str]] = defaultdict(list)

    def expect(self, zone: str, holds: bool, what: str) -> None:
        if not holds:
            self.by_zone[zone].append(what)

    def __bool__(self) -> bool:
        return bool(self.by_zone)

    def __repr__(self) -> str:
        return "\n".join(
            f"{zone}: {what}" for zone, told in self.by_zone.items() for what in told
        )


def check(places: Places, patches: Sequence[Patch], *, whole: bool = True) -> Found:
    """Check settled zones; ``whole``: the places hold nothing of any other zone."""
    found = Found()
    objects = _objects(places.services, places.bucket)
    rows = _Rows(places.database)
    runs = _Runs(places.store_uri)
    runs.check(found, {patch.name for patch in places.patches})
    named: set[str] = set()
    for patch in patches:
        receipts = _receipts(found, patch)
        _check_folders(found, patch, receipts)
        _check_objects(found, patch, receipts, objects)
        rows.check(found, patch, receipts)
        jobs = Counter(receipt["job"] for receipt in receipts)
        tracked = runs.jobs[patch.name]
        found.expect(
            patch.name,
            tracked == jobs,
            f"of {jobs.total()} jobs {len(jobs - tracked)} are in no MLflow run, "
            f"{len(tracked - jobs)} are in too many",
        )
        named |= {receipt["s3_key"] for receipt in receipts if receipt["s3_key"]}
    orphans = set(objects) - named
    if whole:
        found.expect("all", not orphans, f"objects that no receipt names: {orphans}")
    return found


def effects_of(places: Places, patch: Patch) -> set[str]:
    """Return the SHA-256 of all that a zone has told S3 or Postgres of."""
    stored = set(_objects(places.services, places.bucket).values())
    rows = _Rows(places.database)
    told = {row["sha256"] for row in rows.documents + rows.deliveries}
    return (stored | told) & {sha256 for _, sha256 in patch.dropped}


def picture(places: Places, patches: Sequence[Patch]) -> str:
    """Return all that a further start must not change."""
    seen: list[Any] = []
    for patch in patches:
        zone = patch.zone
        seen += [patch.name, sorted(zone.files("processed").items())]
        seen += [sorted(zone.files("failed").items()), zone.receipts()]
    seen.append(sorted(_objects(places.services, places.bucket).items()))
    seen.append(_Rows(places.database).everything())
    seen.append(sorted(_Runs(places.store_uri).ids))
    return repr(seen)


# Folders and receipts


def _check_folders(
    found: Found, patch: Patch, receipts: Sequence[Mapping[str, Any]]
) -> None:
    zone, name = patch.zone, patch.name
    ends = {area: zone.files(area) for area in ("processed", "failed")}
    payload = Counter(sha for area in ends.values() for sha in area.values())
    dropped: Counter[str] = Counter()
    for (_, sha256), times in patch.dropped.items():
        dropped[sha256] += times
    found.expect(
        name,
        payload == dropped,
        f"contents lost: {_few(dropped - payload)}, "
        f"more than once: {_few(payload - dropped)}",
    )
    for area in ("input", "state/work", "state/incoming"):
        found.expect(name, not zone.files(area), f"{area} holds {zone.files(area)}")
    work = patch.root / "state" / "work"
    found.expect(name, not list(work.iterdir()), "work holds empty folders")
    litter = {p for pattern in _LITTER for p in patch.root.rglob(pattern)}
    litter.discard(patch.root / "state" / _KEPT)
    found.expect(name, not litter, f"litter: {litter}")
    for receipt in receipts:
        _check_place(found, patch, receipt, ends)


def _check_place(
    found: Found,
    patch: Patch,
    receipt: Mapping[str, Any],
    ends: Mapping[str, Mapping[bytes, str]],
) -> None:
    path, place = unquote(receipt["path"]), unquote_to_bytes(receipt["place"])
    there = ends.get(receipt["area"], {}).get(place)
    known = (path, there) in patch.dropped
    found.expect(patch.name, known, f"nobody dropped {path!r} as it is now")
    found.expect(
        patch.name,
        there is not None and there == (receipt["sha256"] or there),
        f"{path!r} is not as its receipt says in {receipt['area']}",
    )
    if reason := receipt.get("reason_file"):
        beside = patch.root / "failed" / reason
        held = json.loads(beside.read_text()) if beside.exists() else {}
        good = held.get("job") == receipt["job"] and held.get("reason")
        found.expect(patch.name, bool(good), f"{path!r} failed without a reason")


def _receipts(found: Found, patch: Patch) -> list[dict[str, Any]]:
    receipts = []
    chain = "0" * 64
    for line in _lines(patch.zone):
        receipt = json.loads(line)
        told = f', "chain": "{receipt["chain"]}"}}'
        body = line.removesuffix(told) + "}"
        chain = hashlib.sha256(f"{chain}\n{body}".encode()).hexdigest()
        found.expect(patch.name, receipt["chain"] == chain, "the receipts' chain broke")
        receipts.append(receipt)
    paths = Counter(unquote(receipt["path"]) for receipt in receipts)
    dropped: Counter[str] = Counter()
    for (path, _), times in patch.dropped.items():
        dropped[path] += times
    found.expect(
        patch.name,
        paths == dropped,
        f"no receipt: {_few(dropped - paths)}, too many: {_few(paths - dropped)}",
    )
    jobs = {receipt["job"] for receipt in receipts}
    found.expect(patch.name, len(jobs) == len(receipts), "a job has two receipts")
    return receipts


def _lines(zone: ZoneOfTest) -> Iterator[str]:
    for path in sorted((zone.root / "state" / "receipts").glob("*.jsonl")):
        yield from path.read_text("ascii").splitlines()


# S3


def _objects(services: ServiceAddresses, bucket: str) -> dict[str, str]:
    client = s3_client(services)
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: _digest(client, bucket, key) for key in keys}
    finally:
        client.close()


def _digest(client: Any, bucket: str, key: str) -> str:
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return hashlib.sha256(body).hexdigest()


def _check_objects(
    found: Found,
    patch: Patch,
    receipts: Sequence[Mapping[str, Any]],
    objects: Mapping[str, str],
) -> None:
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for receipt in receipts:
        if receipt["s3_key"]:
            content = receipt["collection"], receipt["sha256"]
            keys[content].add(receipt["s3_key"])
            found.expect(
                patch.name,
                objects.get(receipt["s3_key"]) == receipt["sha256"],
                f"object {receipt['s3_key']} is missing or has other bytes",
            )
    for (_, sha256), stored in keys.items():
        found.expect(patch.name, len(stored) == 1, f"{sha256} is stored {len(stored)}x")


# Postgres


class _Rows:
    """What is in Postgres, read once."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:

            def rows(statement: str) -> list[dict[str, Any]]:
                return connection.execute(statement).fetchall()

            self.documents = rows(
                "SELECT d.id, d.zone, d.collection, d.sha256, d.s3_key, d.status,"
                " d.chunk_count,"
                " (SELECT count(*) FROM dropzone.chunks c WHERE c.document_id = d.id"
                "   AND c.seq < d.chunk_count) AS chunks,"
                " (SELECT count(*) FROM dropzone.embeddings e"
                "   JOIN dropzone.embedding_models m ON m.id = e.model_id"
                "   AND vector_dims(e.embedding) = m.dims"
                "   WHERE e.document_id = d.id) AS vectors"
                " FROM dropzone.documents d ORDER BY d.id"
            )
            self.deliveries = rows(
                "SELECT job_id::text AS job, zone, document_id, path, outcome,"
                " sha256, s3_key FROM dropzone.deliveries ORDER BY job_id"
            )
            self.paths = rows(
                "SELECT zone, path, document_id, job_id::text AS job"
                " FROM dropzone.paths ORDER BY zone, path"
            )
            self.totals = rows(
                "SELECT (SELECT count(*) FROM dropzone.chunks) AS chunks,"
                " (SELECT count(*) FROM dropzone.embeddings) AS vectors"
            )

    def everything(self) -> str:
        return repr([self.documents, self.deliveries, self.paths, self.totals])

    def check(
        self, found: Found, patch: Patch, receipts: Sequence[Mapping[str, Any]]
    ) -> None:
        """Check one zone's rows against its receipts."""
        name = patch.name
        documents = {
            (row["collection"], row["sha256"]): row
            for row in self.documents
            if row["zone"] == name
        }
        good = [r for r in receipts if r["outcome"] != "failed"]
        wanted = {(r["collection"], r["sha256"]) for r in good}
        found.expect(name, set(documents) == wanted, "documents are not the receipts'")
        for row in documents.values():
            whole = row["chunks"] == row["vectors"] == row["chunk_count"]
            found.expect(name, whole, f"document {row['id']} lacks chunks or vectors")
        for receipt in good:
            row = documents.get((receipt["collection"], receipt["sha256"]), {})
            # What was only stored may have come again under a name that says more.
            chunks = {receipt["chunks"]}
            if receipt["outcome"] == "stored_only" and row.get("status") == "indexed":
                chunks.add(row["chunk_count"])
            agrees = (
                row.get("id") == receipt["document_id"]
                and row.get("chunk_count") in chunks
                and row.get("s3_key") == receipt["s3_key"]
            )
            found.expect(name, agrees, f"{receipt['path']}: not as in its receipt")
        self._check_deliveries(found, name, receipts)
        self._check_paths(found, name, good)

    def _check_deliveries(
        self, found: Found, name: str, receipts: Sequence[Mapping[str, Any]]
    ) -> None:
        told = {
            r["job"]: (unquote_to_bytes(r["path"]), r["outcome"], r["document_id"])
            for r in receipts
        }
        there = {
            row["job"]: (row["path"], row["outcome"], row["document_id"])
            for row in self.deliveries
            if row["zone"] == name
        }
        differ = {job for job in told | there if told.get(job) != there.get(job)}
        found.expect(name, not differ, f"{len(differ)} deliveries are not as receipted")

    def _check_paths(
        self, found: Found, name: str, good: Sequence[Mapping[str, Any]]
    ) -> None:
        youngest: dict[bytes, Mapping[str, Any]] = {}
        for receipt in sorted(good, key=lambda receipt: receipt["job"]):
            youngest[unquote_to_bytes(receipt["path"])] = receipt
        told = {path: (r["job"], r["document_id"]) for path, r in youngest.items()}
        there = {
            row["path"]: (row["job"], row["document_id"])
            for row in self.paths
            if row["zone"] == name
        }
        found.expect(name, there == told, "paths do not mean their youngest documents")


# MLflow


class _Runs:
    """All runs of the tracking store, and which jobs their tables name, by zone."""

    def __init__(self, uri: str) -> None:
        self.jobs: dict[str, Counter[str]] = defaultdict(Counter)
        self.ids: set[tuple[str, str]] = set()
        self._odd: list[tuple[str, str]] = []
        self._batches: Counter[tuple[str, str]] = Counter()
        for run in all_runs(uri):
            self._read(run)

    def _read(self, run: Any) -> None:
        zone = run.data.tags.get("dropzone.zone", "?")
        self.ids.add((run.info.run_id, run.info.status))
        self._batches[zone, run.data.tags.get(_BATCH_TAG, "none")] += 1
        if run.info.status != "FINISHED":
            self._odd.append((zone, f"a run of MLflow is {run.info.status}"))
        folder = Path(unquote(urlsplit(run.info.artifact_uri).path))
        table = folder / "files.json"
        held = json.loads(table.read_text()) if table.exists() else {"data": []}
        rows = held["data"]
        if rows:
            job = held["columns"].index("job")
            self.jobs[zone].update(row[job] for row in rows)
        if len(rows) != run.data.metrics.get("files"):
            self._odd.append((zone, "a run counts other files than its table"))

    def check(self, found: Found, zones: set[str]) -> None:
        for zone, what in self._odd:
            found.expect(zone, holds=False, what=what)
        for (zone, batch), count in self._batches.items():
            found.expect(zone, count == 1, f"batch {batch} has {count} runs")
            found.expect(zone, zone in zones, "a run of a zone that is not there")


def _few(counted: Counter[str]) -> list[str]:
    return sorted(counted.elements())[:5]
