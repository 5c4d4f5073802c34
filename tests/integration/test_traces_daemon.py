"""Traces of a running daemon, as a collector gets them; away, see test_metrics."""

import subprocess
import sys

from collector import collecting, values
from daemons import wait_for, zone_on


def test_every_file_is_a_trace_of_its_steps(tmp_path, services):
    with collecting() as collector:
        zone = zone_on(tmp_path, services)
        zone.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        zone.environment["OTEL_EXPORTER_OTLP_HEADERS"] = "x-key=abc"
        try:
            process = zone.start()
            zone.drop("papers/a.txt", b"some words to index")
            zone.drop("bad.pdf", b"this is no pdf")
            zone.wait_for_ends(2)
            wait_for(lambda: "track" in {s.name for s in collector.spans}, "the run")
            jobs = {receipt["name"]: receipt["job"] for receipt in zone.receipts()}
            wait_for(lambda: "job" in collector.trace(jobs["a.txt"]), "the whole job")
            zone.stop(process)
        finally:
            zone.close()
    good, bad = collector.trace(jobs["a.txt"]), collector.trace(jobs["bad.pdf"])
    parts = {"claim", "store", "extract", "embed", "commit", "index", "release", "job"}
    assert set(good) == parts
    root = good["job"]
    assert values(root.attributes)["dropzone.outcome"] == "indexed"
    for span in good.values():
        # Clocks of two kinds are compared: they may differ by a little.
        assert span.start_time_unix_nano >= root.start_time_unix_nano - 50_000_000
        assert span.end_time_unix_nano >= span.start_time_unix_nano
    assert bad["job"].status.code == bad["index"].status.code == 2
    assert "extract" not in bad
    batch = next(span for span in collector.spans if span.name == "track")
    linked = {link.trace_id for link in batch.links}
    assert good["job"].trace_id in linked
    assert all(headers["x-key"] == "abc" for headers in collector.headers)


def test_nothing_of_it_is_imported_where_it_is_not_used():
    heavy = ("opentelemetry", "prometheus_client", "uvicorn", "starlette")
    program = (
        "import sys, dropzone.cli, dropzone.daemon;"
        f"print([name for name in sys.modules if name.startswith({heavy!r})])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
