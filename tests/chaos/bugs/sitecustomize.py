"""Bugs for the harnesses to find: each replaces one function of the daemon.

Python imports this at its start where this folder is on PYTHONPATH. SEEDED_BUG names
the bug.
"""

import os
import sys
from pathlib import Path


def move_before_commit():
    """Files are released before Postgres has committed them."""
    from dropzone.documents import Documents

    write = Documents.write

    def too_early(self, batch):
        for one in batch:
            here = one.request.local_path
            rest = here.relative_to(_work(here) / one.request.job_id)
            there = _work(here).parents[1] / "processed" / rest
            there.parent.mkdir(parents=True, exist_ok=True)
            if here.exists():
                here.rename(there)
        return write(self, batch)

    Documents.write = too_early


def no_data_fsync():
    """A claim makes names durable, but not what the producer wrote."""
    from dropzone import claiming

    sync = claiming._sync_up
    claiming._sync_up = lambda work, folder, _name: sync(work, folder, b"")


def no_claim_fsync():
    """A claim makes the data durable, but neither of the two folders."""
    from dropzone import fsops
    from dropzone.zones import ZoneFolders

    def data_only(self, claims):
        for claim in claims:
            fd = self.open_payload(claim.job_id, claim.path)
            with fsops.opened(fd):
                os.fsync(fd)

    ZoneFolders.sync_claims = data_only


def create_without_search():
    """Every attempt to log a batch makes a new run."""
    from dropzone.sessions.mlflow import MlflowSession

    MlflowSession._tagged = lambda _self, _tag, _value, _where=None: []


def key_by_job():
    """The same content gets an object for each job."""
    from dropzone.store import KeyRule

    KeyRule.key = lambda self, job, _sha256: f"{self.prefix}{job.collection}/{job.id}"


def no_conflict_clause():
    """Noting a delivery a second time is an error."""
    from dropzone.documents import SQL

    SQL["add_delivery"] = SQL["add_delivery"].partition("ON CONFLICT")[0]


def receipt_after_rename():
    """Files are released before their receipts are written."""
    from dropzone.receipts import Receipts
    from dropzone.zones import ZoneFolders

    append, place = Receipts.append, ZoneFolders.place
    late = []

    def later(self, receipts, month):
        late.append((self, receipts, month))
        return self.end

    def place_first(self, moves):
        placed = place(self, moves)
        while late:
            append(*late.pop(0))
        return placed

    Receipts.append, ZoneFolders.place = later, place_first


def _work(path: Path) -> Path:
    return next(up for up in path.parents if up.name == "work")


_IN_TRACKING = {"create_without_search"}


def main() -> None:
    """Plant the bug, in the process it belongs to: imports cost seconds."""
    name = os.environ.get("SEEDED_BUG")
    arguments = sys.orig_argv
    daemon = "dropzone" in arguments and "run" in arguments
    tracking = "dropzone.track_child" in arguments
    if name and (tracking if name in _IN_TRACKING else daemon):
        globals()[name]()


main()
