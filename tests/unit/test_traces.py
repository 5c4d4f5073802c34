"""Traces never hold up what they tell of: what does not fit is dropped and counted."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from collector import Collector, collecting, values
from daemons import wait_for
from dropzone.errors import Stopping
from dropzone.measures import Done
from dropzone.models import Job, JobIds, Outcome, Status
from dropzone.traces import sender, spans
from dropzone.traces.sender import Traces

ONE = "018f4e6a-0000-7000-8000-000000000001"
TWO = "018f4e6a-0000-7000-8000-000000000002"


def done(step, *jobs, began=1000.0, seconds=2.0, error=None):
    return Done("papers", step, jobs or (ONE,), began, seconds, error)


def job(**changes):
    given = {
        "id": ONE,
        "zone": "papers",
        "collection": "default",
        "path": b"a/b.txt",
        "status": Status.DONE,
        "size": 7,
        "mtime_ns": 0,
        "outcome": Outcome.INDEXED,
        "created_at": 999.0,
        "ended_at": 1004.0,
        "s3_key": "dropzones/default/ab/abc",
    }
    return Job(**{**given, **changes})


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(sender, "_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(spans, "_TIMEOUT_SECONDS", 0.5)


@contextmanager
def tracing(url: str) -> Iterator[Traces]:
    stop = threading.Event()
    traces = Traces(url, stop)
    assert traces.start() is traces
    try:
        yield traces
    finally:
        stop.set()
        assert traces.join(30)


def sent(traces: Traces, collector: Collector, count: int) -> None:
    wait_for(lambda: len(collector.spans) >= count, f"{count} spans")
    wait_for(lambda: traces.figures()["exported"] == count, "they are counted")


def test_a_job_is_one_trace_whose_steps_hang_below_it():
    with collecting() as collector, tracing(collector.url) as traces:
        traces.step(done("claim", ONE, TWO))
        traces.step(done("store"))
        traces.step(done("extract", began=1000.0, seconds=1.0))
        traces.step(done("embed", began=1001.0, seconds=0.5))
        traces.step(done("commit", ONE, TWO, began=1001.5, seconds=0.25))
        traces.step(done("index"))
        traces.ended(job())
        sent(traces, collector, 9)
    trace = collector.trace(ONE)
    root = trace["job"]
    assert not root.parent_span_id
    for step in ("claim", "store", "index"):
        assert trace[step].parent_span_id == root.span_id
    for part in ("extract", "embed", "commit"):
        assert trace[part].parent_span_id == trace["index"].span_id
    assert len({span.span_id for span in trace.values()}) == 7
    embed = trace["embed"]
    assert embed.start_time_unix_nano == 1001_000_000_000
    assert embed.end_time_unix_nano == 1001_500_000_000
    told = values(root.attributes)
    assert (told["file.path"], told["file.size"]) == ("a/b.txt", 7)
    assert told["aws.s3.key"] == "dropzones/default/ab/abc"
    assert values(trace["store"].attributes)["rpc.service"] == "S3"
    assert values(trace["commit"].attributes)["db.system.name"] == "postgresql"
    resource = collector.resources[0]
    assert resource["service.name"] == "dropzone"
    assert resource["service.version"]
    # The other job was only claimed and committed yet.
    assert set(collector.trace(TWO)) == {"claim", "commit"}


def test_tries_in_vain_belong_to_the_trace_of_the_job_and_say_why():
    with collecting() as collector, tracing(collector.url) as traces:
        traces.step(done("store", error="S3 is away."))
        traces.step(done("store"))
        traces.ended(
            job(
                outcome=Outcome.FAILED,
                end_reason="The PDF has a password.",
                error_class="DocumentRejected",
                metadata={"retry_of": TWO},
            )
        )
        sent(traces, collector, 3)
    first, second, root = collector.spans
    assert first.trace_id == second.trace_id == root.trace_id
    assert (first.status.message, first.status.code) == ("S3 is away.", 2)
    assert second.status.code == 1
    assert root.status.message == "The PDF has a password."
    assert values(root.attributes)["error.type"] == "DocumentRejected"
    # A file that was put back is a new job; it leads to the old one.
    (link,) = root.links
    assert link.trace_id == bytes.fromhex(TWO.replace("-", ""))


def test_a_batch_leads_to_its_jobs_as_many_as_a_span_takes():
    ids = JobIds()
    jobs = [ids.next() for _ in range(200)]
    with collecting() as collector, tracing(collector.url) as traces:
        traces.ended(job(id=jobs[0]))
        traces.tracked(done("track", *jobs))
        sent(traces, collector, 2)
    root, batch = collector.spans
    assert batch.name == "track"
    assert len(batch.links) == 128
    assert batch.links[0].span_id == root.span_id
    assert values(batch.attributes)["dropzone.batch.files"] == 200


def test_a_collector_that_is_back_gets_what_it_missed(monkeypatch):
    monkeypatch.setattr(sender, "_PAUSES", (0.05,) * 400)
    with structlog.testing.capture_logs() as logged, collecting() as collector:
        # Nothing that the exporter repeats by itself.
        collector.answer = 400
        with tracing(collector.url) as traces:
            for _ in range(3):
                traces.step(done("store"))
            wait_for(lambda: collector.asked >= 3, "it was asked again")
            assert traces.figures() == {"exported": 0, "dropped": 0}
            collector.answer = 200
            sent(traces, collector, 3)
    events = [line["event"] for line in logged]
    assert events == ["traces are not taken", "traces are taken again"]
    assert collector.url == logged[0]["endpoint"]


def test_an_outage_costs_no_time_and_no_memory(monkeypatch):
    monkeypatch.setattr(sender, "_PAUSES", (0.05, 0.05))
    # Nothing listens there.
    with (
        structlog.testing.capture_logs() as logged,
        tracing("http://127.0.0.1:9") as traces,
    ):
        begun = time.monotonic()
        for _ in range(20_000):
            traces.step(done("store"))
        took = time.monotonic() - begun
        wait_for(lambda: traces.figures()["dropped"] > 11_000, "they are dropped")
    # A call costs a few microseconds; nobody waited for a connection.
    assert took < 30
    assert [line["event"] for line in logged] == ["traces are not taken"]


def test_a_group_that_does_not_fit_is_counted_whole(monkeypatch):
    monkeypatch.setattr(sender, "_MOST_SPANS", 5)
    traces = Traces("http://127.0.0.1:9", threading.Event())
    traces.step(done("claim", *[ONE] * 3))
    traces.step(done("claim", *[ONE] * 3))
    traces.step(done("claim", *[ONE] * 2))
    assert traces.figures() == {"exported": 0, "dropped": 3}


def test_without_the_package_it_says_what_to_install():
    def make(_endpoint):
        raise ImportError("No module named 'opentelemetry.exporter'")

    stop = threading.Event()
    traces = Traces("http://127.0.0.1:4318", stop, make)
    with structlog.testing.capture_logs() as logged:
        traces.start()
        wait_for(lambda: logged, "it is told")
        traces.step(done("store"))
        wait_for(lambda: traces.figures()["dropped"] == 1, "it is counted")
    stop.set()
    assert traces.join(10)
    assert "dropzone-daemon[otel]" in logged[0]["hint"]


def test_a_fault_of_our_own_ends_the_traces_only():
    class Broken:
        closed = False

        def send(self, _events):
            raise Stopping("unforeseen")

        def close(self):
            self.closed = True

    broken, stop = Broken(), threading.Event()
    traces = Traces("http://127.0.0.1:4318", stop, lambda _: broken)
    with structlog.testing.capture_logs() as logged:
        traces.start()
        traces.step(done("store"))
        wait_for(lambda: broken.closed, "it gave up")
    assert [line["event"] for line in logged] == [
        "tracing failed; it is off until the next start"
    ]
    stop.set()
    assert traces.join(10)


def test_without_an_endpoint_nothing_is_traced_and_nothing_started():
    traces = Traces(None, threading.Event())
    assert traces.start() is None
    assert traces.join(0.1)
    assert traces.figures() == {"exported": 0, "dropped": 0}


def test_what_is_waiting_at_the_stop_is_sent():
    with collecting() as collector:
        with tracing(collector.url) as traces:
            traces.step(done("store"))
        assert [span.name for span in collector.spans] == ["store"]


@pytest.mark.parametrize("name", ["papers", "zone with a space"])
def test_the_name_of_the_service_is_the_administrator_s(name, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    with collecting() as collector, tracing(collector.url) as traces:
        traces.step(done("store"))
        sent(traces, collector, 1)
    assert collector.resources[0]["service.name"] == name
