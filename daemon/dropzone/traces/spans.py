"""Makes OpenTelemetry spans of what the daemon did, and sends them by OTLP over HTTP.

One trace for each job: its id is the job's, so that all tries of a job belong together,
also those after a restart. Spans are made when they are over, from what is known then;
no tracer provider is set, since that of the process is not ours.
"""

import hashlib
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from dropzone import __version__
from dropzone.measures import Done
from dropzone.models import Job
from dropzone.text import display
from dropzone.traces.sender import Event, quiet

# Parts of the index step, which is told after them.
_PARTS = frozenset({"extract", "embed", "commit"})
_ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "store": {"rpc.system": "aws-api", "rpc.service": "S3"},
    "commit": {"db.system.name": "postgresql"},
}
_SCOPE = InstrumentationScope("dropzone", __version__)
# What OpenTelemetry takes of one span.
_MOST_LINKS = 128
_MOST_INDEXING = 10_000
_TIMEOUT_SECONDS = 5.0


class OtlpExporter:
    """Sends events as spans. One thread uses it."""

    def __init__(self, endpoint: str) -> None:
        """``endpoint`` is the collector's address, to which ``/v1/traces`` is added.

        Headers, certificates and compression come from the usual variables
        (OTEL_EXPORTER_OTLP_HEADERS and others).
        """
        quiet()
        self._exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT_SECONDS
        )
        self._spans = Spans()

    def send(self, events: Sequence[Event]) -> bool:
        """Return whether the collector took them."""
        spans = [span for event in events for span in self._spans.of(event)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Close the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Spans:
    """Makes the spans of events, in the order in which they are told."""

    def __init__(self) -> None:
        ours: dict[str, str | int] = {
            "service.name": "dropzone",
            "service.version": __version__,
            "host.name": os.uname().nodename,
            "process.pid": os.getpid(),
        }
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say it better than we.
        given = OTELResourceDetector().detect()
        self._resource = Resource.create().merge(Resource(ours)).merge(given)
        #: The ids of index spans that are not told yet, by job; the oldest go first.
        self._indexing: OrderedDict[str, int] = OrderedDict()

    def of(self, event: Event) -> Iterator[ReadableSpan]:
        """Return one span for each job of a step, one for an end or a batch."""
        if isinstance(event, Job):
            yield self._job(event)
        elif event.step == "track":
            yield self._track(event)
        else:
            for job in event.jobs:
                yield self._step(event, job)

    def _step(self, done: Done, job: str) -> ReadableSpan:
        parent = _root(job)
        if done.step in _PARTS:
            parent = _context(job, self._index_span(job))
        is_index = done.step == "index"
        own = self._index_span(job) if is_index else secrets.randbits(64) or 1
        if is_index:
            del self._indexing[job]
        is_call = done.step in _ATTRIBUTES
        return self._span(
            done.step,
            _context(job, own),
            (done.began, done.began + done.seconds),
            parent=parent,
            kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
            attributes={"dropzone.zone": done.zone, **_ATTRIBUTES.get(done.step, {})},
            error=done.error,
        )

    def _job(self, job: Job) -> ReadableSpan:
        failed = job.end_reason if job.outcome == "failed" else None
        attributes: dict[str, Any] = {
            "dropzone.zone": job.zone,
            "dropzone.collection": job.collection,
            "dropzone.outcome": str(job.outcome),
            "dropzone.attempts": job.attempts,
            "dropzone.chunks": job.data.get("chunks", 0),
            "file.path": display(job.path),
            "file.name": display(job.name),
            "file.size": job.size,
        }
        if job.s3_key:
            attributes["aws.s3.key"] = job.s3_key
        if failed and job.error_class:
            attributes["error.type"] = job.error_class
        before = job.metadata.get("retry_of")
        links = [Link(_root(before), {"dropzone.link": "retry of"})] if before else []
        return self._span(
            "job",
            _root(job.id),
            (job.created_at, job.ended_at or job.last_activity),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            error=failed,
        )

    def _track(self, batch: Done) -> ReadableSpan:
        own = SpanContext(
            *(secrets.randbits(128) or 1, secrets.randbits(64) or 1),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        return self._span(
            "track",
            own,
            (batch.began, batch.began + batch.seconds),
            kind=SpanKind.CLIENT,
            attributes={
                "dropzone.zone": batch.zone,
                "dropzone.batch.files": len(batch.jobs),
            },
            links=[Link(_root(job)) for job in batch.jobs[:_MOST_LINKS]],
            error=batch.error,
        )

    def _index_span(self, job: str) -> int:
        known = self._indexing.setdefault(job, secrets.randbits(64) or 1)
        if len(self._indexing) > _MOST_INDEXING:
            self._indexing.popitem(last=False)
        return known

    def _span(
        self,
        name: str,
        context: SpanContext,
        times: tuple[float, float],
        *,
        parent: SpanContext | None = None,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        links: Sequence[Link] = (),
        error: str | None = None,
    ) -> ReadableSpan:
        begun, ended = (int(moment * 1e9) for moment in times)
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            links=links,
            kind=kind,
            status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.OK),
            start_time=begun,
            end_time=max(begun, ended),
            instrumentation_scope=_SCOPE,
        )


def _context(job: str, span: int) -> SpanContext:
    # A UUID has as many bits as the id of a trace.
    return SpanContext(
        int(job.replace("-", ""), 16),
        span,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _root(job: str) -> SpanContext:
    """Return the span of a whole job: others name it before it is over."""
    own = hashlib.sha256(f"{job} job".encode()).digest()[:8]
    return _context(job, int.from_bytes(own, "big") or 1)
