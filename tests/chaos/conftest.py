"""What every harness stands on."""

from pathlib import Path

import pytest

from chaos.effort import Effort
from chaos.ground import Ground
from dropzone.embedded import ServiceAddresses
from stores import empty_store


@pytest.fixture
def ground(tmp_path: Path, services: ServiceAddresses) -> Ground:
    return Ground(tmp_path / "ground", services, empty_store())


@pytest.fixture
def effort() -> Effort:
    return Effort.asked()
