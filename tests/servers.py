"""Real servers for tests, and fresh places in them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Tests look at the servers from outside, with clients of their own.
import boto3  # noqa: TID251
import psycopg  # noqa: TID251
import pytest
from botocore.config import Config  # noqa: TID251
from psycopg import sql  # noqa: TID251

from dropzone.embedded import EmbeddedServices, ServiceAddresses


@contextmanager
def servers(directory: Path, **options: Any) -> Iterator[ServiceAddresses]:
    """Run both servers below ``directory``; ``options`` are EmbeddedServices'."""
    with EmbeddedServices(directory, **{"fast_init": True, **options}) as services:
        yield services.addresses


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceAddresses]:
    """The addresses of one pair of servers for the whole run of the tests."""
    with servers(tmp_path_factory.mktemp("services")) as addresses:
        yield addresses


def connect(addresses: ServiceAddresses) -> "psycopg.Connection[Any]":
    assert addresses.database_url is not None
    return psycopg.connect(addresses.database_url, autocommit=True)


def s3_client(addresses: ServiceAddresses) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=addresses.s3_endpoint,
        aws_access_key_id=addresses.s3_access_key,
        aws_secret_access_key=addresses.s3_secret_key,
        region_name=addresses.s3_region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def fresh_database(addresses: ServiceAddresses) -> str:
    """Create an empty database; return its URL."""
    name = f"test_{secrets.token_hex(6)}"
    with connect(addresses) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} STRATEGY wal_log").format(sql.Identifier(name))
        )
    assert addresses.database_url is not None
    return addresses.database_url.replace("@/postgres?", f"@/{name}?")


def copied_database(addresses: ServiceAddresses, url: str) -> str:
    """Copy a database that nobody is connected to; return the URL of the copy."""
    assert addresses.database_url is not None
    start, _, end = addresses.database_url.partition("@/postgres?")
    source = url.removeprefix(f"{start}@/").removesuffix(f"?{end}")
    name = f"test_{secrets.token_hex(6)}"
    with connect(addresses) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )
    return url.replace(f"@/{source}?", f"@/{name}?")


def fresh_bucket(addresses: ServiceAddresses) -> str:
    """Create an empty bucket; return its name."""
    name = f"test-{secrets.token_hex(6)}"
    client = s3_client(addresses)
    client.create_bucket(Bucket=name)
    client.close()
    return name
