"""The store step: hash a claimed file and prove that S3 holds its bytes."""

import datetime as dt
import hashlib
import mimetypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Any
from urllib.parse import quote

from dropzone import fsops
from dropzone.errors import WRITTEN_TO, SourceChanged
from dropzone.journal import move
from dropzone.models import Job, Status, time_of
from dropzone.sessions.objects import PART_SIZE, digest, md5_of
from dropzone.sessions.s3 import S3Session
from dropzone.text import display
from dropzone.zones import ZoneFolders


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How object keys are made; see ``aws.key_template`` in config.yaml."""

    template: str
    prefix: str

    def key(self, job: Job, sha256: str) -> str:
        """Return the key of a job's object: the same for the same job and content."""
        made = dt.datetime.fromtimestamp(time_of(job.id), dt.UTC)
        stem, extension = os.path.splitext(job.name)
        return self.template.format(
            prefix=self.prefix,
            zone=job.zone,
            collection=_segment(os.fsencode(job.collection)),
            sha256=sha256,
            sha256_2=sha256[:2],
            doc_type=job.doc_type,
            year=f"{made:%Y}",
            month=f"{made:%m}",
            day=f"{made:%d}",
            name=_segment(stem[:120] + extension[-32:]),
            ext=_segment(extension[1:33]),
            job=job.id,
        )


@dataclass(frozen=True, slots=True)
class _Stored:
    key: str
    sha256: str
    size: int
    confirmed_by: str


class Store:
    """Uploads the file of one job at a time; safe to share between threads."""

    def __init__(
        self,
        folders: ZoneFolders,
        s3: S3Session,
        rule: KeyRule,
        prepare: Callable[[], object],
    ) -> None:
        """Take ``prepare``, which makes the bucket ready before the first upload."""
        self._prepare = prepare
        self._folders = folders
        self._s3 = s3
        self._rule = rule

    def store(self, job: Job) -> Job:
        """Return the job as stored, with hash and key. May run twice.

        Raises:
            SourceChanged: the file changed while it was read.
            ServiceUnavailable: S3 is at fault (``s3``).
            DocumentRejected: S3 refuses this file for good.

        """
        self._prepare()
        fd = self._folders.open_payload(job.id, job.path)
        with os.fdopen(fd, "rb", buffering=0) as file:
            before = fsops.signature_of(os.fstat(fd))
            small = before.size < PART_SIZE
            stored = self._small(job, file) if small else self._large(job, file)
            after = fsops.signature_of(os.fstat(fd))
        if after != before or stored.size != before.size:
            raise _changed(job)
        return move(
            job,
            Status.STORED,
            sha256=stored.sha256,
            s3_key=stored.key,
            size=stored.size,
            device=after.device,
            inode=after.inode,
            mtime_ns=after.mtime_ns,
            data={
                **job.data,
                "ctime_ns": after.ctime_ns,
                "confirmed_by": stored.confirmed_by,
            },
        )

    def _small(self, job: Job, file: FileIO) -> _Stored:
        # Read once, so that the bytes that are hashed are the bytes that are sent.
        content = file.read(PART_SIZE)
        sha256 = hashlib.sha256(content).hexdigest()
        key = self._rule.key(job, sha256)
        if job.attempts and self._is_there(key, (md5_of(content).hex(),)):
            return _Stored(key, sha256, len(content), "head")
        done = self._s3.put(key, content, sha256=sha256, **_headers(job, sha256))
        return _Stored(key, sha256, len(content), done.checksum_confirmed_by)

    def _large(self, job: Job, file: FileIO) -> _Stored:
        found = digest(file)
        key = self._rule.key(job, found.sha256)
        # Looking first costs nothing beside the upload of a file that is there already.
        if self._is_there(key, found.etags):
            return _Stored(key, found.sha256, found.size, "head")
        file.seek(0)
        done = self._s3.put_file(key, file, found, **_headers(job, found.sha256))
        return _Stored(key, found.sha256, found.size, done.checksum_confirmed_by)

    def _is_there(self, key: str, etags: tuple[str, ...]) -> bool:
        there = self._s3.head(key)
        return there is not None and there.etag in etags


def _headers(job: Job, sha256: str) -> dict[str, Any]:
    return {
        "content_type": _content_type(job.name),
        "metadata": {"sha256": sha256, "name": job.name},
    }


def _changed(job: Job) -> SourceChanged:
    return SourceChanged(
        f"{display(job.path)} was changed while it was read.",
        hint=WRITTEN_TO,
    )


def _content_type(name: bytes) -> str:
    guess, _ = mimetypes.guess_type(os.fsdecode(name), strict=False)
    return guess or "application/octet-stream"


def _segment(name: bytes) -> str:
    # One path segment of a key: S3 servers refuse "..", "." and "//", and some cut
    # segments at 255 bytes.
    text = quote(name, safe="")[:250]
    return text.replace(".", "%2E") if set(text) <= {"."} else text or "-"
