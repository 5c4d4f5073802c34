"""``dropzone doctor --canary`` proves the whole way, or names where it ends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import DEADLINE, ZoneOfTest, objects, with_keys_of, zone_on
from dropzone import config
from dropzone.commands import canary
from dropzone.commands.diagnosis import Diagnosis
from dropzone.embedded import ServiceAddresses
from outages import behind_proxies
from servers import s3_client

_STEPS = ["taken", "stored", "indexed", "released", "object", "delivery", "search"]

_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'no such bird' USING ERRCODE = '22023'; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON dropzone.chunks
    FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def flight(zone: ZoneOfTest, seconds: float = 30.0) -> Iterator[Diagnosis]:
    settings = config.load(None, zone.environment).settings
    zones = (settings.zones[0].model_copy(update={"path": zone.root}),)
    settings = settings.model_copy(update={"zones": zones})
    with with_keys_of(zone):
        yield from canary.fly(settings, seconds=seconds)


def fly(zone: ZoneOfTest, seconds: float = 30.0) -> list[Diagnosis]:
    return list(flight(zone, seconds))


def test_a_canary_goes_the_whole_way(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    done = zone.command("doctor", "--canary", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)["findings"]
    told = {f["checked"]: f for f in found if f["checked"].startswith("canary")}
    assert list(told) == [f"canary in default, {step}" for step in _STEPS]
    assert all(0 < finding["seconds"] < 30 for finding in told.values())
    zone.stop(daemon)


def test_canaries_do_not_pile_up_and_nothing_else_is_removed(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    zone.drop("dropzone-canary/canary~mine.txt", b"not one of ours")
    zone.wait_for_ends(1)
    for _ in range(4):
        assert {one.verdict for one in fly(zone, DEADLINE)} == {"ok"}
    folder = zone.root / "processed" / "dropzone-canary"
    assert (folder / "canary~mine.txt").read_bytes() == b"not one of ours"
    assert len(list(folder.iterdir())) == 3, "that one, the first and the last"
    current = zone.query(
        "SELECT name FROM dropzone.documents WHERE NOT superseded ORDER BY name"
    )
    assert [row["name"] for row in current] == ["canary.txt", "canary~mine.txt"]
    verified = zone.command("verify", "--deep")
    assert verified.returncode == 0, verified.stdout
    zone.stop(daemon)


def test_the_step_that_does_not_happen_is_named(
    tmp_path: Path, services: ServiceAddresses
) -> None:
    with behind_proxies(tmp_path, services, {}) as outage:
        daemon = outage.zone.start()
        outage.drop(1)
        outage.zone.wait_for_ends(1)
        outage.postgres.refuse()
        found = fly(outage.zone, seconds=6)
        assert [one.verdict for one in found] == ["ok", "ok", "problem"]
        assert found[-1].checked == "canary in default, indexed"
        assert "did not happen within 6 s" in found[-1].found
        assert "does not answer" in found[-1].found, "the reason is told as well"
        outage.postgres.heal()
        outage.zone.wait_for_ends(2)
        outage.zone.stop(daemon)


def test_without_a_daemon_none_is_dropped(zone: ZoneOfTest) -> None:
    (found,) = fly(zone)
    assert found.verdict == "problem"
    assert "no daemon serves the zone" in found.found
    assert not list(zone.input.iterdir())


def test_what_is_lost_behind_the_daemon_is_named(
    tmp_path: Path, services: ServiceAddresses
) -> None:
    with behind_proxies(tmp_path, services, {}) as outage:
        zone = outage.zone
        daemon = zone.start()
        steps = flight(zone)
        next(one for one in steps if one.checked.endswith("released"))
        direct, client = outage.direct(), s3_client(services)
        for key in objects(direct, services):
            client.delete_object(Bucket=zone.environment["DROPZONE_BUCKET"], Key=key)
        client.close()
        direct.execute("DELETE FROM dropzone.deliveries")
        direct.execute("DELETE FROM dropzone.chunks")
        ways = {one.checked.partition(", ")[2]: one.what_to_do for one in steps}
        assert ways == {
            "object": "Look at: dropzone verify --deep",
            "delivery": "Look at: dropzone verify",
            "search": "Look at: dropzone verify",
        }
        direct.execute(_REFUSING)
        *_, last = flight(zone)
        assert last.checked == "canary in default, indexed"
        assert "no such bird" in last.found
        assert zone.command(*last.what_to_do.split()[1:]).returncode == 0
        direct.execute("DROP FUNCTION refuse CASCADE")
        steps = flight(zone)
        next(one for one in steps if one.checked.endswith("released"))
        outage.postgres.refuse()
        *_, last = steps
        assert last.checked == "canary in default, seen"
        assert "does not answer" in last.found
        outage.postgres.heal()
        zone.stop(daemon)
