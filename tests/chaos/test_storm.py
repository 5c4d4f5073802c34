"""Everything is killed at random, again and again; nothing is lost or doubled."""

import time
from pathlib import Path

import pytest

from chaos.effort import Effort
from chaos.ground import Places
from chaos.invariants import check
from chaos.storm import Storm
from chaos.supervisor import SUPPORTED
from dropzone.embedded import EmbeddedServices

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="looks for its victims in /proc"),
    pytest.mark.timeout(7200),
]


def test_after_a_storm_everything_is_where_it_belongs(
    tmp_path: Path, effort: Effort
) -> None:
    storm = Storm(
        tmp_path / "storm", files=effort.files, kills=effort.kills, seed=effort.seed
    )
    begun = time.monotonic()
    storm.blow(effort.seconds)
    print(f"{effort.files} files, kills: {dict(storm.killed)}")
    print(f"settled after {time.monotonic() - begun:.0f} s")
    patch = storm.patch
    state = patch.root / "state"
    with EmbeddedServices(state / "services", fast_init=True) as services:
        own = services.addresses
        assert own.database_url is not None
        store_uri = f"sqlite:///{state / 'mlflow' / 'mlflow.db'}"
        places = Places(own, own.database_url, own.s3_bucket, store_uri, [patch])
        found = check(places, [patch])
        assert not found
        proof = patch.zone.command("verify", "--deep")
        assert proof.returncode == 0, proof.stdout + proof.stderr
