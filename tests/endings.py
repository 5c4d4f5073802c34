"""A zone with all that ends its jobs, opened and left behind as a daemon would."""

import json
from pathlib import Path

from dropzone.claiming import Claim
from dropzone.journal import Journal, move
from dropzone.models import Job, Outcome, Status
from dropzone.places import unquoted
from dropzone.receipts import Receipts
from dropzone.release import Release
from dropzone.rescuer import Rescuer
from dropzone.track import Batches
from dropzone.zones import ZoneFolders
from zones_helpers import IDS, tree


class Ends:
    """Folders, journal, receipts and release of one zone, and drops into it."""

    def __init__(self, root: Path):
        self.root = root
        self.dropped = {}
        self.open()
        self.rescue()

    def open(self):
        self.folders = ZoneFolders(self.root)
        self.folders.open()
        self.journal = Journal(self.root / "state" / "journal.sqlite")
        self.receipts = Receipts(self.root / "state" / "receipts")
        self.batches = Batches(self.journal, seconds=10, files=1000)
        self.release = Release(self.folders, self.receipts, self.journal, self.batches)

    def close(self):
        self.journal.close()
        self.receipts.close()
        self.folders.close()

    def rescue(self):
        """Start (again, after a death), and return what has to go on."""
        self.close()
        self.open()
        return Rescuer(
            "default", self.folders, self.journal, self.receipts, self.release
        ).run()

    def drop(self, path, content=None):
        """Put a file into ``input/`` and return a job for it, in no journal yet."""
        full = self.root / "input" / path.decode("utf-8", "surrogateescape")
        full.parent.mkdir(parents=True, exist_ok=True)
        content = content or b"content of " + path + IDS.next().encode()
        full.write_bytes(content)
        entry = self.folders.look(path)
        job = Job(
            id=IDS.next(),
            zone="default",
            collection="default",
            path=path,
            status=Status.CLAIMING,
            size=entry.signature.size,
            mtime_ns=entry.signature.mtime_ns,
            device=entry.signature.device,
            inode=entry.signature.inode,
        )
        self.dropped[job.id] = content
        return job

    def take(self, job):
        """Rename the job's file into its work folder."""
        entry = self.folders.look(job.path)
        return self.folders.claim(Claim(job.id, job.path, entry.signature))

    def claimed(self, path, content=None):
        """Return a job that is claimed, in the journal too."""
        job = self.drop(path, content)
        self.journal.add([job])
        data = {"ctime_ns": self.take(job).ctime_ns}
        return self.moved(job, Status.CLAIMED, data=data)

    def indexed(self, path, content=None, **changes):
        """Return a job that is ready to be released."""
        job = self.moved(self.claimed(path, content), Status.STORED, sha256="ab")
        changes = {"outcome": Outcome.INDEXED, **changes}
        return self.moved(job, Status.INDEXED, **changes)

    def moved(self, job, status, **changes):
        job = move(job, status, **changes)
        self.journal.save([job])
        return job

    def lines(self):
        found = []
        for path in sorted((self.root / "state" / "receipts").glob("*.jsonl")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return found

    def payload(self):
        """Return the bytes of every dropped file, by where it lies."""
        found = {}
        for area in ("input", "state/work", "processed", "failed"):
            for path, (_, content) in tree(self.root / area).items():
                if content in self.dropped.values():
                    found[area, path] = content
        return found

    def check(self):
        """Every file in one place, one receipt for each that ended, in its place."""
        payload = self.payload()
        assert sorted(payload.values()) == sorted(self.dropped.values())
        receipts = self.lines()
        for line in receipts:
            place = line["area"], unquoted(line["place"])
            assert payload[place] == self.dropped[line["job"]], "where it says"
        ended = [job for job in self.journal.newest(9999) if job.ended_at]
        assert sorted(r["job"] for r in receipts) == sorted(j.id for j in ended)
        for job in ended:
            place = job.data["area"], unquoted(job.data["place"])
            assert payload[place] == self.dropped[job.id]
        at_ends = [key for key in payload if key[0] in {"processed", "failed"}]
        assert len(at_ends) == len(ended)
