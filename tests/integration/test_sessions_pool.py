from concurrent.futures import ThreadPoolExecutor

import pytest

from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone


@pytest.fixture
def pool(services, tmp_path):
    settings = Settings(zones=(Zone(path=tmp_path / "zone"),))
    with SessionPool.from_settings(settings, services) as pool:
        yield pool


def test_the_open_sessions_tell_their_health(pool):
    pool.s3.ensure_bucket()
    pool.postgres.migrate()
    health = pool.health()
    assert [health[name].healthy for name in ("s3", "postgres", "mlflow")] == [
        True,
        True,
        None,
    ]
    assert health["s3"].latency_seconds < 5
    assert health["postgres"].last_check > 1_700_000_000


def test_threads_get_the_same_session(pool):
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: pool.s3, range(32)))
    assert len(found) == 1


def test_every_session_says_where_it_leads_without_secrets(pool, services):
    for session in (pool.s3, pool.postgres):
        assert services.s3_secret_key not in session.address
        assert services.database_url not in session.address
