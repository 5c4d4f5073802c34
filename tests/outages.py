"""A running daemon whose ways to S3 and Postgres lead through proxies that fail."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251

from daemons import DEADLINE, ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone import config, status
from dropzone.embedded import ServiceAddresses
from dropzone.status import ZoneStatus
from faultproxy import FaultProxy, proxy_to

# Short limits, so that a test need not wait long for the daemon to give up a call.
_SHORT = {
    "DROPZONE__RETRY__CALL_SECONDS": "0.3",
    "DROPZONE__AWS__CONNECT_TIMEOUT_SECONDS": "2",
    "DROPZONE__AWS__READ_TIMEOUT_SECONDS": "3",
    "DROPZONE__POSTGRES__STATEMENT_TIMEOUT_SECONDS": "4",
    "DROPZONE__POSTGRES__CONNECTION_TIMEOUT": "2",
}


class Outage:
    """One zone with a daemon, and what was dropped into it."""

    def __init__(
        self,
        zone: ZoneOfTest,
        services: ServiceAddresses,
        s3: FaultProxy,
        postgres: FaultProxy,
    ) -> None:
        self.zone = zone
        self.services = services
        self.s3 = s3
        self.postgres = postgres
        self.dropped: Counter[str] = Counter()
        #: The way to the database that no proxy stands in.
        self.url = zone.environment["DATABASE_URL"]

    def drop(self, count: int = 3) -> None:
        for _ in range(count):
            number = self.dropped.total()
            text = b"The stork %d stands on one leg.\n" % number * 30
            self.dropped[self.zone.drop(f"c{number % 3}/f{number}.txt", text)] += 1

    def wait_for_pause(self, service: str, seconds: float = DEADLINE) -> dict[str, Any]:
        """Wait until a step is paused by ``service``; return what is said of it."""

        def paused() -> list[dict[str, Any]]:
            told = self.zone.report().get("paused", ())
            return [pause for pause in told if pause["service"] == service]

        found: dict[str, Any] = wait_for(paused, f"{service} pauses", seconds)[0]
        return found

    def events(self, name: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the events of that name in the log behind the offset ``since``."""
        lines = self.zone.log()[since:].splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event.get("event") == name]

    def endure(self, service: str, words: str, heal: Any) -> float:
        """Live through a fault that is there already; return the seconds to recover.

        The pause must be told in the report, by ``status`` and once in the log, with
        ``words`` in its reason; files must go on being accepted meanwhile.
        """
        before = len(self.zone.log())
        self.drop()
        pause = self.wait_for_pause(service)
        assert words in pause["reason"], pause
        shown = self.status()
        assert not shown.fine
        assert any(words in told["reason"] for told in shown.paused), shown
        self.drop()
        wait_for(lambda: not self.zone.files("input"), "files are accepted meanwhile")
        # Long enough for a step that flaps to say so again.
        told = self.zone.report()
        wait_for(lambda: self.zone.report() != told, "the next report")
        heal()
        return self.recover(service, before)

    def recover(self, service: str, before: int) -> float:
        """Wait until everything ended, and check all that must hold then."""
        begun = time.monotonic()
        self.zone.wait_for_ends(self.dropped.total())
        took = time.monotonic() - begun
        wait_for(lambda: not self.zone.report()["paused"], "nothing is paused")
        paused = Counter(
            (event["step"], event["service"]) for event in self.events("paused", before)
        )
        assert paused, "the log tells it"
        assert all(count == 1 for count in paused.values()), f"told once: {paused}"
        assert {name for _, name in paused} == {service}
        resumed = [event["service"] for event in self.events("resumed", before)]
        assert len(resumed) == paused.total()
        self.check()
        return took

    def status(self) -> ZoneStatus:
        """Return what ``dropzone status`` prints of the zone."""
        settings = config.load(None, self.zone.environment).settings
        zones = (settings.zones[0].model_copy(update={"path": self.zone.root}),)
        (shown,) = status.of_all(settings.model_copy(update={"zones": zones}))
        return shown

    def check(self) -> None:
        work = self.zone.root / "state" / "work"
        wait_for(lambda: not list(work.iterdir()), "job folders are removed")
        check_invariants(self.direct(), self.services, self.dropped)
        assert all(r["attempts"] == 0 for r in self.zone.receipts()), "no attempt used"

    def direct(self) -> ZoneOfTest:
        """Return the zone as it is seen without a proxy before the database."""
        seen = ZoneOfTest(self.zone.base, self.zone.environment)
        # Whatever it starts ends with the zone.
        seen.started = self.zone.started
        seen.environment["DATABASE_URL"] = self.url
        return seen


@contextmanager
def behind_proxies(
    base: Path, services: ServiceAddresses, environment: Mapping[str, str]
) -> Iterator[Outage]:
    """Lend a zone whose services are reached through proxies; start its daemon."""
    zone = zone_on(base, services)
    assert services.s3_endpoint
    host, port = services.s3_endpoint.removeprefix("http://").split(":")
    url = zone.environment["DATABASE_URL"]
    parts = conninfo_to_dict(url)
    with ExitStack() as stack:
        stack.callback(zone.close)
        s3 = stack.enter_context(proxy_to((host, int(port))))
        path = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        postgres = stack.enter_context(proxy_to(path))
        outage = Outage(zone, services, s3, postgres)
        zone.environment |= {
            **_SHORT,
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3.port}",
            "DATABASE_URL": make_conninfo(url, host="127.0.0.1", port=postgres.port),
            **environment,
        }
        yield outage
