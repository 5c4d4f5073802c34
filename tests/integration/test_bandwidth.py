"""Uploads that are limited: to a rate, and to windows of time."""

import datetime as dt
import hashlib
import io
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from daemons import ZoneOfTest, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from dropzone.errors import Stopping
from dropzone.sessions.bandwidth import Bandwidth, Paced
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.s3 import S3Session
from dropzone.sessions.settings import S3Settings
from servers import fresh_bucket

MEGABYTE = 1_000_000
RATE = 12 * MEGABYTE


def settings(services: ServiceAddresses, rate: float | None) -> S3Settings:
    assert services.s3_access_key
    assert services.s3_secret_key
    return S3Settings(
        bucket=fresh_bucket(services),
        region=services.s3_region,
        credentials=AwsCredentials(
            SecretStr(services.s3_access_key), SecretStr(services.s3_secret_key)
        ),
        endpoint_url=services.s3_endpoint,
        # Shorter than the uploads take: what waits must not look like an outage.
        read_timeout=2.0,
        upload_rate=rate,
    )


def test_uploads_share_one_rate(services: ServiceAddresses) -> None:
    limited = settings(services, RATE)
    session = S3Session(limited)
    small = [random.Random(n).randbytes(2 * MEGABYTE) for n in range(8)]
    large = random.Random(8).randbytes(18 * MEGABYTE)
    begun = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        done = [
            pool.submit(session.upload, f"{n}", data) for n, data in enumerate(small)
        ]
        done.append(pool.submit(session.upload, "large", io.BytesIO(large)))
        for future in done:
            future.result()
    seconds = time.monotonic() - begun
    expected = 34 * MEGABYTE / RATE
    # Not faster, however busy the machine is; the tenth below is what is promised.
    assert seconds >= 0.9 * expected
    assert seconds < 15 * expected
    print(f"{34 * MEGABYTE / seconds / MEGABYTE:.2f} MB/s of {RATE / MEGABYTE}")
    assert (
        hashlib.sha256(session.get("large")).digest() == hashlib.sha256(large).digest()
    )
    assert [session.get(f"{n}") for n in range(8)] == small
    assert session.stats().operations["upload"].errors == {}
    # Taken away while it is in use: what would take 18 seconds ends at once.
    session.update(settings(services, MEGABYTE))
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(session.upload, "slow", large)
        wait_for(lambda: session.stats().operations["upload"].in_flight, "it is sent")
        session.update(settings(services, None))
        slow.result()
    assert time.monotonic() - begun < 16
    session.close()


def test_a_wait_ends_with_the_program() -> None:
    stop = threading.Event()
    bandwidth = Bandwidth(stop)
    bandwidth.update(10_000.0)
    paced = Paced(io.BytesIO(b"x" * 100_000), bandwidth)
    stopper = threading.Timer(0.2, stop.set)
    stopper.start()
    begun = time.monotonic()
    with pytest.raises(Stopping):
        list(iter(lambda: paced.read(16_384), b""))
    assert time.monotonic() - begun < 8
    stopper.join()


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def window(hours: float) -> str:
    """Return a window of half an hour that begins so many hours from now, in UTC."""
    start = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)
    end = start + dt.timedelta(minutes=30)
    return f"{start:%H:%M}-{end:%H:%M}"


def test_files_wait_for_their_window_which_may_be_edited(zone: ZoneOfTest) -> None:
    zone.environment["TZ"] = "UTC"
    del zone.environment["DROPZONE__ZONES"]
    file = zone.base / "config.yaml"
    made: dict[str, Any] = {
        "zones": [{"path": "drop_zones", "quiet_seconds": 0.2}],
        "limits": {"upload_windows": [window(3)], "upload_megabytes_per_second": 5},
    }
    file.write_text(json.dumps(made))
    daemon = zone.start()
    zone.drop("a.txt", b"waits for the night")
    wait_for(lambda: zone.files("state/work"), "it is taken")
    wait_for(lambda: zone.report().get("paused"), "the pause is told")
    told = json.loads(zone.command("status", "--json").stdout)["zones"][0]
    (pause,) = told["paused"]
    assert (pause["step"], pause["service"]) == ("store", "window")
    assert 2.9 * 3600 < pause["until"] - time.time() < 3.1 * 3600
    # A window that is closed is everyday life.
    done = zone.command("status")
    assert done.returncode == 0
    assert "limits.upload_windows" in done.stdout
    assert not zone.receipts()
    made["limits"] = {"upload_windows": [window(-0.2)]}
    file.write_text(json.dumps(made))
    zone.wait_for_ends(1)
    zone.stop(daemon)


def test_wrong_windows_and_rates_are_told_with_their_line(zone: ZoneOfTest) -> None:
    file = zone.base / "config.yaml"
    file.write_text(
        "limits:\n  upload_windows: ['Mon-Fri 19-7']\n"
        "  upload_megabytes_per_second: 0\n"
    )
    done = zone.command("config", "check")
    assert done.returncode == 2
    assert "line 2): 'Mon-Fri 19-7' is no window" in done.stderr
    assert "line 3): must be greater than or equal to 0.01" in done.stderr
