"""The index step: text, chunks and vectors of one stored file, committed in Postgres.

The same code runs in the daemon and, one day, in workers on other machines: it knows
the object and its description, never the zone.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from dropzone import fsops
from dropzone.documents import Documents
from dropzone.errors import WRITTEN_TO, ServiceUnavailable, SourceChanged
from dropzone.executor.frames import PARTS
from dropzone.executor.parsers import ParserPool, ParseTask
from dropzone.extract import is_supported
from dropzone.measures import Measures, ZoneMeasures
from dropzone.models import DocumentWrite, IndexOutcome, IndexRequest
from dropzone.text import display

Status = Literal["indexed", "stored_only", "empty"]

UNSUPPORTED = "unsupported"
OVER_LIMIT = "over_text_limit"


@dataclass(frozen=True, slots=True)
class IndexRules:
    """How text is made and cut; ``text_bytes`` is the size above which none is made."""

    text_bytes: int
    max_characters: int
    chunk_characters: int
    chunk_overlap: int
    model: str


class Indexer:
    """Prepares documents and writes them; safe to share between threads."""

    def __init__(
        self,
        parsers: ParserPool,
        documents: Documents,
        fetch: Callable[[str], bytes],
        rules: IndexRules,
        prepare: Callable[[], object],
        *,
        open_local: Callable[[IndexRequest], int] | None = None,
        measures: ZoneMeasures | None = None,
    ) -> None:
        """Take ``fetch``, which reads an object by its key, and ``prepare``.

        ``prepare`` makes Postgres ready; it is called before every first use.
        ``open_local`` opens the file of a request that has one on this host.
        """
        self._measures = measures or Measures().zone("")
        self._open_local = open_local or _open_by_path
        self._prepare = prepare
        self._parsers = parsers
        self._documents = documents
        self._fetch = fetch
        self._rules = rules

    def update(self, rules: IndexRules) -> None:
        """Take new rules, for the files that are begun next."""
        self._rules = rules

    def warm(self) -> None:
        """Have a parser ready.

        Raises:
            ServiceUnavailable: none can be started (``parser``).

        """
        self._parsers.warm()

    def known(self, requests: Sequence[IndexRequest]) -> dict[str, DocumentWrite]:
        """Return ready writes, by job, for content whose document is there already.

        Raises:
            ServiceUnavailable: Postgres is at fault (``postgres``).

        """
        self._prepare()
        pairs = [(request.collection, request.sha256) for request in requests]
        found = self._documents.find_many(pairs)
        writes = {}
        for request in requests:
            there = found.get((request.collection, request.sha256))
            # What was only stored may have come under a name that says more now.
            if there is not None and (
                there.status != "stored_only" or there.doc_type == request.doc_type
            ):
                status = cast("Status", there.status)
                writes[request.job_id] = DocumentWrite(request, status, known=True)
        return writes

    def prepare(self, request: IndexRequest) -> DocumentWrite:
        """Parse, cut and embed one file.

        Raises:
            DocumentRejected: it can never be read.
            ParserDied: it killed its parser, or went over a limit.
            ServiceUnavailable: the object cannot be fetched, or no parser started.
            SourceChanged: the file on this host is not what was stored.

        """
        # Until its outcome is delivered.
        self._measures.doing.begin("index", request.job_id, request.path)
        if request.size == 0:
            return DocumentWrite(request, "empty")
        if not is_supported(request.doc_type):
            return DocumentWrite(request, "stored_only", notes=(UNSUPPORTED,))
        rules = self._rules
        if request.size > rules.text_bytes:
            return DocumentWrite(request, "stored_only", notes=(OVER_LIMIT,))
        with fsops.opened(self._open(request)) as fd:
            _check_unchanged(request, fd)
            parsed = self._parsers.parse(
                ParseTask(
                    fd,
                    request.doc_type,
                    rules.max_characters,
                    rules.chunk_characters,
                    rules.chunk_overlap,
                    rules.model,
                )
            )
            self._measure(request, parsed.seconds)
            _check_unchanged(request, fd)
        return DocumentWrite(
            request=request,
            status="indexed" if parsed.chunks else "stored_only",
            chunks=parsed.chunks,
            vectors=parsed.vectors,
            dims=parsed.dims,
            metadata=dict(parsed.metadata),
            notes=parsed.notes,
        )

    def commit(self, writes: Sequence[DocumentWrite]) -> list[IndexOutcome]:
        """Write documents in one transaction; a search sees all of one or none.

        Raises:
            ServiceUnavailable: Postgres is at fault (``postgres``).

        """
        begun = time.monotonic()
        outcomes = self._documents.write(writes)
        jobs = [write.request.job_id for write in writes]
        self._measures.step("commit", begun, jobs)
        return outcomes

    def _measure(self, request: IndexRequest, seconds: Mapping[str, float]) -> None:
        """Count what the parser says it took, one after the other until now."""
        until = time.monotonic()
        for step in reversed(PARTS):
            begun = until - seconds.get(step, 0.0)
            self._measures.step(step, begun, [request.job_id], until=until)
            until = begun

    def _open(self, request: IndexRequest) -> int:
        if request.local_path is not None:
            return self._open_local(request)
        content = self._fetch(request.s3_key)
        try:
            with tempfile.TemporaryFile() as file:
                file.write(content)
                file.flush()
                return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
        except OSError as error:
            raise ServiceUnavailable(
                "disk", f"No temporary file could be written: {error.strerror}."
            ) from error


def _open_by_path(request: IndexRequest) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(os.fspath(request.local_path or ""), flags)


def _check_unchanged(request: IndexRequest, fd: int) -> None:
    """Refuse a file on this host whose bytes may not be those that were stored."""
    if request.seen is None or request.local_path is None:
        return
    if fsops.signature_of(os.fstat(fd)).as_tuple() != request.seen:
        raise SourceChanged(
            f"{display(request.path)} was changed after it was stored.", hint=WRITTEN_TO
        )
