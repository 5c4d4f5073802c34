"""What a running daemon tells Prometheus, and what is built upon it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemons import PROMPT, ZoneOfTest, wait_for, zone_on
from deployed import names_in, queries
from dropzone.embedded import ServiceAddresses
from webclient import get

ROOT = Path(__file__).parents[2]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing (Debian: prometheus)"
)


class Scrape:
    """The text of one scrape, and its samples."""

    def __init__(self, url: str) -> None:
        answer = get(f"{url}/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        self.text = answer.text
        self.families = list(text_string_to_metric_families(self.text))

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sample with this name and these labels among its own."""
        for family in self.families:
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None

    def names(self) -> set[str]:
        """Return every name that a query may use, also of what has no sample yet."""
        names = set()
        for family in self.families:
            names |= {sample.name for sample in family.samples}
            total = family.type == "counter" and not family.name.endswith("_total")
            names.add(f"{family.name}_total" if total else family.name)
        return names


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[tuple[ZoneOfTest, str]]:
    """A daemon that has ended five files, one of them badly, and its page.

    Its traces go to a collector that is away: nothing may wait for that.
    """
    zone = zone_on(tmp_path_factory.mktemp("metrics"), services)
    zone.environment["DROPZONE__TRACES__ENDPOINT"] = "http://127.0.0.1:9"
    process = zone.start()
    zone.drop("papers/a.txt", b"one word")
    zone.drop("papers/b.txt", b"two words")
    zone.drop("b2.txt", b"two words")
    zone.drop("c.bin", b"\0" * 100)
    zone.drop("d.pdf", b"no pdf at all")
    zone.wait_for_ends(5)
    url = zone.url()
    wait_for(
        lambda: Scrape(url).value("dropzone_step_duration_seconds_count", step="track"),
        "the batch is tracked",
    )
    yield zone, url
    try:
        assert zone.stop(process) < PROMPT
        assert "still_working" not in zone.log()
    finally:
        zone.close()


def test_files_bytes_and_steps_are_counted(served):
    zone, url = served
    scrape = Scrape(url)
    ends = list(zone.outcomes().values())
    for outcome in ("indexed", "failed", "stored_only", "duplicate", "empty"):
        told = scrape.value("dropzone_files_total", zone="default", outcome=outcome)
        assert told == ends.count(outcome)
    assert scrape.value("dropzone_file_bytes_total", outcome="failed") == 13
    for step in ("claim", "store", "total"):
        assert scrape.value("dropzone_step_duration_seconds_count", step=step) == 5
    for step in ("extract", "embed", "commit", "index", "release"):
        seconds = scrape.value("dropzone_step_duration_seconds_sum", step=step)
        assert seconds
        assert seconds > 0
        last = scrape.value("dropzone_step_last_success_timestamp_seconds", step=step)
        assert last
    assert scrape.value("dropzone_failed_files", zone="default") == 1
    assert scrape.value("dropzone_backlog_files", state="stored") == 0
    assert scrape.value("dropzone_oldest_waiting_seconds") == 0
    assert scrape.value("dropzone_parser_starts_total") >= 1
    assert scrape.value("dropzone_postgres_connections_limit") == 8
    assert scrape.value("dropzone_disk_free_bytes") > 0
    assert scrape.value("dropzone_journal_bytes") > 0
    assert scrape.value("dropzone_inotify_watches_limit") > 0
    put = scrape.value(
        "dropzone_service_operation_duration_seconds_count", operation="put"
    )
    assert put == 5


def test_no_label_holds_the_name_of_a_file_or_a_collection(served):
    _, url = served
    text = Scrape(url).text
    assert "papers" not in text
    assert "a.txt" not in text


def test_a_collector_of_traces_that_is_away_delays_no_file(served):
    zone, url = served
    assert len(zone.outcomes()) == 5
    wait_for(lambda: "traces are not taken" in zone.log(), "it is told")
    assert zone.log().count("traces are not taken") == 1
    exported = Scrape(url).value("dropzone_trace_spans_total", outcome="exported")
    assert exported == 0


def test_openmetrics_is_told_to_who_asks_for_it(served):
    _, url = served
    answer = get(f"{url}/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_pause_and_the_oldest_file_are_told(tmp_path, services):
    zone = zone_on(tmp_path, services)
    zone.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    zone.environment["DROPZONE__RETRY__CALL_SECONDS"] = "0.1"
    try:
        zone.start()
        zone.drop("a.txt", b"seven b")
        url = zone.url()
        labels = {"zone": "default", "step": "store"}
        wait_for(
            lambda: Scrape(url).value("dropzone_step_paused", **labels), "it is paused"
        )
        scrape = Scrape(url)
        since = scrape.value("dropzone_step_paused_since_timestamp_seconds", **labels)
        assert since
        assert scrape.value("dropzone_step_paused", step="claim") == 0
        assert scrape.value("dropzone_step_pauses_total", **labels, service="s3") == 1
        assert scrape.value("dropzone_backlog_files", state="claimed") == 1
        assert scrape.value("dropzone_backlog_bytes", state="claimed") == 7
        assert scrape.value("dropzone_oldest_waiting_seconds") > 0
        assert scrape.value("dropzone_service_failures_in_row", service="s3") > 0
        # What a disk takes away is missing, and the rest is told all the same.
        assert scrape.value("dropzone_journal_readable", zone="default") == 1
        journal = zone.root / "state" / "journal.sqlite"
        journal.rename(journal.with_suffix(".away"))
        unreadable = wait_for(lambda: without_journal(url), "it is not readable")
        assert unreadable.value("dropzone_backlog_files") is None
        assert unreadable.value("dropzone_step_paused", **labels) == 1
    finally:
        zone.close()


def without_journal(url: str) -> Scrape | None:
    scrape = Scrape(url)
    return None if scrape.value("dropzone_journal_readable") else scrape


@needs_promtool
def test_promtool_finds_nothing_wrong_with_a_scrape(served):
    _, url = served
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"],
        input=Scrape(url).text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_metric_is_documented_and_every_documented_one_exists(served):
    _, url = served
    page = (ROOT / "docs" / "metrics.md").read_text()
    tables = [line for line in page.splitlines() if line.startswith("| `")]
    named = {
        name
        for line in tables
        for name in re.findall(r"`((?:dropzone|process|python)_[a-z_]+)`", line)
    }
    told = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Scrape(url).families
    }
    assert told == named


def test_alerts_and_dashboard_ask_for_what_is_there(served):
    _, url = served
    there = Scrape(url).names()
    for query in queries():
        asked = names_in(query)
        assert asked or "up{" in query
        assert asked <= there, query
