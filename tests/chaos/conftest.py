"""What every harness stands on."""

from pathlib import Path

import pytest

from chaos.effort import Effort
from chaos.ground import Ground
from chaos.tracking import make_store
from dropzone.embedded import ServiceAddresses


@pytest.fixture(scope="session")
def tracking_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tracking store, made once: each ground gets a copy."""
    path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    make_store(path)
    return path


@pytest.fixture
def ground(tmp_path: Path, services: ServiceAddresses, tracking_store: Path) -> Ground:
    return Ground(tmp_path / "ground", services, tracking_store)


@pytest.fixture
def effort() -> Effort:
    return Effort.asked()
