"""S3 and Postgres fail in every way they know, and the daemon heals by itself."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg  # noqa: TID251 a client of the test's own
import pytest

from daemons import PROMPT, wait_for
from dropzone.embedded import ServiceAddresses
from outages import Outage, behind_proxies
from servers import connect

# A second or two on a quiet machine; the pauses grow to 30 s when nothing heals.
_SOON = 25.0
_XML = b"<Error><Code>%s</Code><Message>%s</Message></Error>"


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Outage]:
    base = tmp_path_factory.mktemp("outages")
    with behind_proxies(base, services, {}) as outage:
        daemon = outage.zone.start()
        yield outage
        assert outage.zone.stop(daemon) < PROMPT


@pytest.fixture
def outage(running: Outage) -> Iterator[Outage]:
    yield running
    running.s3.heal()
    running.postgres.heal()
    running.zone.wait_for_ends(running.dropped.total())


# S3


def test_s3_that_is_refused(outage: Outage) -> None:
    outage.s3.refuse()
    assert outage.endure("s3", "does not answer", outage.s3.heal) < _SOON


def test_s3_that_answers_503(outage: Outage) -> None:
    body = _XML % (b"SlowDown", b"Please reduce your request rate.")
    outage.s3.answer("503 Slow Down", body)
    assert outage.endure("s3", "SlowDown", outage.s3.heal) < _SOON


def test_s3_that_hangs(outage: Outage) -> None:
    outage.s3.freeze()
    assert outage.endure("s3", "does not answer", outage.s3.heal) < _SOON


def test_s3_credentials_that_expire_and_are_renewed(outage: Outage) -> None:
    body = _XML % (b"ExpiredToken", b"The provided token has expired.")
    outage.s3.answer("400 Bad Request", body)
    assert outage.endure("s3", "ExpiredToken", outage.s3.heal) < _SOON


def test_s3_that_answers_with_a_wrong_checksum(outage: Outage) -> None:
    outage.s3.falsify(rb"(?i)(?<=etag: .)[0-9a-f]{32}|(?<=-sha256: )[0-9a-z+/]{43}=")
    assert outage.endure("s3", "does not confirm", outage.s3.heal) < _SOON


def test_s3_that_is_slow_pauses_nothing(outage: Outage) -> None:
    before = len(outage.zone.log())
    outage.s3.slow(latency=0.3)
    outage.drop(6)
    outage.zone.wait_for_ends(outage.dropped.total())
    assert not outage.events("paused", before)
    outage.check()


@pytest.mark.parametrize("deliver", [True, False])
def test_an_s3_answer_that_is_lost(outage: Outage, deliver: bool) -> None:
    outage.s3.cut_at(b"PUT /", deliver=deliver)
    outage.drop(3)
    outage.zone.wait_for_ends(outage.dropped.total())
    assert not outage.s3.pending
    outage.check()


# Postgres


def test_postgres_that_is_refused(outage: Outage) -> None:
    outage.postgres.refuse()
    assert outage.endure("postgres", "does not answer", outage.postgres.heal) < _SOON


def test_postgres_that_hangs(outage: Outage) -> None:
    outage.postgres.freeze()
    assert outage.endure("postgres", "does not answer", outage.postgres.heal) < _SOON


@pytest.mark.parametrize("deliver", [True, False])
def test_a_connection_lost_at_the_commit(outage: Outage, deliver: bool) -> None:
    outage.postgres.cut_at(b"COMMIT", deliver=deliver)
    outage.drop(5)
    outage.zone.wait_for_ends(outage.dropped.total())
    assert not outage.postgres.pending
    outage.check()


def test_a_connection_lost_in_the_middle_of_the_data(outage: Outage) -> None:
    outage.drop(1)
    outage.zone.wait_for_ends(outage.dropped.total())
    outage.postgres.cut_after(6000)
    before = len(outage.zone.log())
    outage.drop(20)
    outage.wait_for_pause("postgres")
    outage.postgres.heal()
    outage.recover("postgres", before)


def test_a_standby_that_takes_no_writes(outage: Outage) -> None:
    (name,) = outage.direct().query("SELECT current_database() AS name")
    change = f"ALTER DATABASE {name['name']} SET default_transaction_read_only"

    def switch(state: str) -> None:
        with connect(outage.services) as connection:
            connection.execute(f"{change} = {state}".encode())
        outage.postgres.cut()

    switch("on")

    def heal() -> None:
        switch("off")

    assert outage.endure("postgres", "read-only", heal) < _SOON


def test_more_than_one_fault_at_a_time(outage: Outage) -> None:
    outage.s3.refuse()
    outage.drop()
    outage.wait_for_pause("s3")
    outage.postgres.refuse()
    outage.s3.heal()
    outage.wait_for_pause("postgres")
    outage.postgres.heal()
    begun = time.monotonic()
    outage.zone.wait_for_ends(outage.dropped.total())
    assert time.monotonic() - begun < _SOON
    wait_for(lambda: not outage.zone.report()["paused"], "nothing is paused")
    outage.check()


def test_postgres_that_has_no_connection_left(outage: Outage) -> None:
    taken: list[psycopg.Connection[Any]] = []
    outage.postgres.cut()
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            taken.append(connect(outage.services))

    def heal() -> None:
        for connection in taken:
            connection.close()

    try:
        assert outage.endure("postgres", "too many clients", heal) < _SOON
    finally:
        heal()


def test_s3_keys_in_a_file_that_are_wrong_and_put_right(
    tmp_path: Path, services: ServiceAddresses
) -> None:
    file = tmp_path / "credentials"
    assert services.s3_secret_key

    def write(secret: str) -> None:
        file.write_text(
            f"[default]\naws_access_key_id = {services.s3_access_key}\n"
            f"aws_secret_access_key = {secret}\n"
        )

    write("not-the-right-one")
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "HOME": str(tmp_path)}
    with behind_proxies(tmp_path, services, named) as outage:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del outage.zone.environment[name]
        daemon = outage.zone.start()
        right = services.s3_secret_key
        assert outage.endure("s3", "refuses", lambda: write(right)) < _SOON
        outage.zone.stop(daemon)
