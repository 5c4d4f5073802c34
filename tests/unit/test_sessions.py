import hashlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import dropzone
from dropzone.errors import ConfigurationError, ServiceUnavailable
from dropzone.sessions import (
    PostgresSettings,
    S3Settings,
    SessionPool,
    digest,
    objects,
)
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.health import measure
from dropzone.sessions.postgres import PostgresSession
from dropzone.sessions.settings import (
    mlflow_settings,
    postgres_settings,
    s3_settings,
    without_userinfo,
)
from dropzone.settings import Aws, Mlflow, Postgres, Settings

ADDRESSES = SimpleNamespace(
    database_url="postgresql://u@/db?host=/nowhere",
    s3_endpoint="http://127.0.0.1:9",
    s3_access_key="key",
    s3_secret_key="canary",
    s3_region="us-east-1",
    s3_bucket="own",
)


def test_importing_the_package_loads_no_driver():
    code = (
        "import sys, dropzone\n"
        "assert 'dropzone.sessions' not in sys.modules\n"
        "from dropzone import SessionPool\n"
        "heavy = {'boto3', 'botocore', 'psycopg', 'mlflow', 'numpy', 'pgvector'}\n"
        "heavy |= {'asyncio', 'structlog'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == []


def test_what_the_package_does_not_have():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dropzone.nonsense


class TestSettings:
    def test_what_is_not_named_comes_from_the_embedded_servers(self):
        s3 = s3_settings(Settings(), ADDRESSES)
        assert (s3.bucket, s3.endpoint_url) == ("own", "http://127.0.0.1:9")
        assert s3.credentials.describe() == "the embedded S3 server"
        postgres = postgres_settings(Settings(), ADDRESSES)
        assert postgres.url.get_secret_value() == ADDRESSES.database_url

    def test_what_is_named_wins(self):
        settings = Settings(
            aws=Aws(default_bucket="theirs"), postgres=Postgres(host="db.example")
        )
        assert s3_settings(settings, None).bucket == "theirs"
        assert postgres_settings(settings, None).host == "db.example"

    def test_nothing_named_and_nothing_running_is_told(self):
        with pytest.raises(ConfigurationError, match="not running"):
            SessionPool.from_settings(Settings(), None)

    def test_mlflow_lies_in_the_state_of_the_zone(self):
        assert mlflow_settings(Settings()).directory.name == "mlflow"
        named = Settings(mlflow=Mlflow(tracking_uri="http://h"))
        assert mlflow_settings(named).tracking_uri == "http://h"

    def test_secrets_are_cut_from_urls(self):
        told = without_userinfo("no http://me:p@ss@host/x and a://b")
        assert told == "no http://host/x and a://b"


class TestPool:
    def test_nothing_is_open_before_it_is_used(self):
        pool = SessionPool.from_settings(Settings(), ADDRESSES)
        assert [health.healthy for health in pool.health().values()] == [None] * 4
        pool.close()

    def test_a_session_is_made_once(self):
        with SessionPool.from_settings(Settings(), ADDRESSES) as pool:
            assert pool.postgres is pool.postgres
            assert pool.s3 is pool.s3

    def test_a_closed_pool_opens_nothing(self):
        pool = SessionPool.from_settings(Settings(), ADDRESSES)
        pool.close()
        with pytest.raises(ValueError, match="closed"):
            _ = pool.s3

    def test_missing_settings_are_a_fault_of_the_program(self):
        with SessionPool() as pool, pytest.raises(ValueError, match="postgres"):
            _ = pool.postgres

    def test_no_secret_shows(self):
        settings = s3_settings(Settings(), ADDRESSES)
        assert "canary" not in repr(settings)


def test_health_carries_the_sentence_and_what_to_do():
    def fail():
        raise ServiceUnavailable("s3", "It is down.", hint="Start it.")

    assert measure(fail).error == "It is down. Start it."
    assert measure(lambda: None).healthy


class TestPostgresAddress:
    @pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
    def test_every_way_to_write_the_url(self, scheme):
        url = SecretStr(f"{scheme}://me:canary@db.example:6543/texts")
        session = PostgresSession(PostgresSettings(url=url))
        assert session.address == "Postgres texts at db.example:6543"
        session.close()

    def test_a_broken_url_does_not_quote_itself(self):
        url = SecretStr("postgresql://me:can%ary@h/d")
        with pytest.raises(ConfigurationError) as caught:
            PostgresSession(PostgresSettings(url=url))
        assert "ary" not in str(caught.value)


def md5(data):
    return hashlib.md5(data, usedforsecurity=False)


class TestDigest:
    @pytest.mark.parametrize("size", [0, 1, 16 << 20, (16 << 20) + 1, 32 << 20])
    def test_parts_and_whole(self, tmp_path, size):
        data = os.urandom(1 << 10) * (size // 1024) + b"x" * (size % 1024)
        path = tmp_path / "file"
        path.write_bytes(data)
        with path.open("rb", buffering=0) as file:
            found = digest(file)
        assert found.sha256 == hashlib.sha256(data).hexdigest()
        assert found.md5 == md5(data).hexdigest()
        assert found.size == size
        parts = [data[at : at + (16 << 20)] for at in range(0, size or 1, 16 << 20)]
        assert found.part_md5s == tuple(md5(part).digest() for part in parts)
        assert found.etags[1].endswith(f"-{len(parts)}")

    @given(st.integers(0, 5 << 40))
    def test_parts_are_few_enough(self, size):
        part = objects.part_size_for(size)
        assert part >= 16 << 20
        assert part % (1 << 20) == 0
        assert -(-size // part) <= 10_000


class TestMetadata:
    @given(st.dictionaries(st.sampled_from("abc"), st.binary() | st.text()))
    def test_values_are_printable_ascii_without_loose_ends(self, metadata):
        for value in objects.encode_metadata(metadata).values():
            assert value.isascii()
            assert value == value.strip()
            assert value == "" or value.isprintable()

    def test_what_does_not_fit_is_left_out(self):
        encoded = objects.encode_metadata({"sha256": "a" * 64, "path": b"\xff" * 4000})
        assert list(encoded) == ["sha256"]


def test_a_bucket_setting_is_enough_for_aws():
    settings = S3Settings(bucket="b", region="eu-west-1", credentials=AwsCredentials())
    assert settings.endpoint_url is None
