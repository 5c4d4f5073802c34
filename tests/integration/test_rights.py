"""The daemon as an ordinary user, among files and folders that it may not use."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import dropzone
from daemons import ZoneOfTest, check_invariants, wait_for
from dropzone.embedded import ServiceAddresses
from dropzone.journal import Finding
from outages import Outage, behind_proxies
from zones_helpers import NOBODY, ROOT

MODULES = str(Path(dropzone.__file__).parents[1])
SITE = [entry for entry in sys.path if entry.endswith("site-packages")]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# Drops the interpreter it is given, for one that an ordinary user may run.
SWAP = 'python=$0; shift; exec "$python" "$@"'


def python_for_nobody() -> str | None:
    """Return an interpreter of our version that an ordinary user can run us with."""
    environment = {"PYTHONPATH": os.pathsep.join([MODULES, *SITE])}
    code = "import dropzone.cli, numpy, psycopg, sys; print(sys.version)"
    for python in (
        sys.executable,
        "/usr/bin/python3",
        f"/usr/local/bin/python{VERSION}",
    ):
        try:
            done = subprocess.run(
                [python, "-c", code], user=NOBODY, group=NOBODY, extra_groups=[],
                env=environment, cwd="/", capture_output=True, text=True, check=True,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        if done.stdout.startswith(f"{VERSION}."):
            return python
    return None


@pytest.fixture
def outage(open_root: Path, services: ServiceAddresses) -> Iterator[Outage]:
    if not ROOT:
        pytest.skip("only root can become another user")
    if (python := python_for_nobody()) is None:
        pytest.skip("no interpreter of this version that an ordinary user may run")
    base = open_root.parent
    with behind_proxies(base, services, {}) as made:
        zones = '[{"path": "drop_zones", "quiet_seconds": 0.2, "scan_seconds": 1,'
        zones += ' "quiet_seconds_without_lease": 0.4}]'
        made.zone.environment |= {
            "PYTHONPATH": os.pathsep.join([MODULES, *SITE]),
            "DROPZONE__ZONES": zones,
            "HOME": str(base),
        }
        made.zone.before = (
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            "/bin/sh", "-c", SWAP, python,
        )  # fmt: skip
        # What was laid there is not that user's.
        shutil.rmtree(made.zone.root / "state")
        for folder in (base, made.zone.root, made.zone.input):
            os.chown(folder, NOBODY, NOBODY)
        yield made


def findings(zone: ZoneOfTest) -> dict[bytes, Finding]:
    with zone.journal() as journal:
        return {found.path: found for found in journal.findings()}


def test_what_may_not_be_used_is_told_with_its_mending(
    outage: Outage, services: ServiceAddresses
) -> None:
    zone = outage.zone
    dropped: Counter[str] = Counter()
    names = ["secret.txt", "it's mine.txt", "closed/inside.txt", "fixed/inside.txt"]
    for name in names:
        dropped[zone.drop(name, b"of root: %s" % name.encode())] += 1
    for name in names[:2]:
        (zone.input / name).chmod(0o600)
    (zone.input / "closed").chmod(0o700)
    (zone.input / "fixed").chmod(0o755)
    dropped[zone.drop("readable.txt", b"of root, but readable")] += 1
    good = zone.input / "good.txt"
    dropped[zone.drop("good.txt", b"of the daemon's user")] += 1
    os.chown(good, NOBODY, NOBODY)
    daemon = zone.start()
    wait_for(lambda: len(zone.receipts()) == 2, "the others go through")
    blocked = [b"closed", b"fixed/inside.txt", b"it's mine.txt", b"secret.txt"]
    wait_for(lambda: sorted(findings(zone)) == blocked, "each has a finding")
    through = {b"good.txt", b"readable.txt"}
    # The receipt comes before the rename.
    wait_for(lambda: zone.files("processed").keys() == through, "they are there")

    for finding in findings(zone).values():
        told = re.search("as root: (.*)", finding.hint)
        assert told is not None, finding
        subprocess.run(["/bin/sh", "-c", told[1]], cwd=zone.input, check=True)
    zone.wait_for_ends(6)
    wait_for(lambda: not findings(zone), "no finding is left")
    assert set(zone.outcomes().values()) == {"indexed"}
    zone.stop(daemon)
    check_invariants(outage.direct(), services, dropped)
