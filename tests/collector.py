"""A real receiver of OTLP over HTTP, which can also refuse."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Span = Any


class Collector(ThreadingHTTPServer):
    """Keeps the spans it took, with the attributes of their resource."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answer = 200
        self.asked = 0
        self.headers: list[dict[str, str]] = []
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []

    def trace(self, job: str) -> dict[str, Span]:
        """Return the spans of a job by their names."""
        wanted = bytes.fromhex(job.replace("-", ""))
        return {s.name: s for s in list(self.spans) if s.trace_id == wanted}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.asked += 1
        self.server.headers.append(dict(self.headers))
        if self.server.answer == 200 and self.path == "/v1/traces":
            self._take(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.server.answer)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for of_resource in request.resource_spans:
            self.server.resources.append(values(of_resource.resource.attributes))
            for scope in of_resource.scope_spans:
                self.server.spans.extend(scope.spans)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test looks at what was sent."""


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes
    }


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector(port)
    thread = threading.Thread(target=collector.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
