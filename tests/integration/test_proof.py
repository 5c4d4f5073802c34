"""What ``dropzone credentials test`` proves, at real servers that refuse."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg  # noqa: TID251 a client of the test's own
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from pydantic import SecretStr

from dropzone.embedded import ServiceAddresses
from dropzone.errors import ServiceUnavailable
from dropzone.retry import RetryPolicy
from dropzone.sessions import (
    MlflowSettings,
    PostgresSettings,
    S3Settings,
    proof,
)
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.postgres import PostgresSession
from dropzone.sessions.s3 import S3Session
from dropzone.settings import Aws
from refusing import Guard, Tracking, serving
from servers import connect, fresh_bucket, fresh_database

# MLflow's own, about its use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
SHORT = RetryPolicy(seconds=0.2, first_pause=0.01)


# In S3


@pytest.fixture
def guard(services: ServiceAddresses) -> Iterator[Guard]:
    server = Guard(str(services.s3_endpoint))
    with serving(server):
        yield server


@pytest.fixture
def s3(guard: Guard, services: ServiceAddresses) -> Iterator[S3Session]:
    session = S3Session(
        S3Settings(
            bucket=fresh_bucket(services),
            region=services.s3_region,
            credentials=AwsCredentials.embedded(
                str(services.s3_access_key), str(services.s3_secret_key)
            ),
            endpoint_url=guard.url,
            retry=SHORT,
        )
    )
    yield session
    session.close()


def test_full_rights_are_proven_and_nothing_is_left(s3: S3Session) -> None:
    proofs = list(proof.of_s3(s3, Aws(prefix="in/")))
    assert [one.tried for one in proofs if one.works] == [
        *("put", "head", "get", "list", "parts", "delete")
    ]
    assert list(s3.list()) == []


@pytest.mark.parametrize(
    ("refused", "tried", "missing"),
    [
        ("PUT", "put", "s3:PutObject on arn:aws:s3:::{}/in/*"),
        ("HEAD", "head", "s3:GetObject on arn:aws:s3:::{}/in/*"),
        ("GET", "get", "s3:GetObject on arn:aws:s3:::{}/in/*"),
        ("LIST", "list", "s3:ListBucket on arn:aws:s3:::{}"),
        ("POST", "parts", "s3:AbortMultipartUpload on arn:aws:s3:::{}/in/*"),
    ],
)
def test_the_missing_right_is_named(
    s3: S3Session, guard: Guard, refused: str, tried: str, missing: str
) -> None:
    guard.refused = {refused}
    wrong = [one for one in proof.of_s3(s3, Aws(prefix="in/")) if not one.works]
    assert [one.tried for one in wrong] == [tried]
    assert wrong[0].missing == missing.format(s3.bucket)
    assert wrong[0].what_to_do == f"Allow {wrong[0].missing}."


def test_refused_keys_are_no_missing_right(
    s3: S3Session, guard: Guard, services: ServiceAddresses
) -> None:
    wrong = S3Session(
        S3Settings(
            bucket=s3.bucket,
            region=services.s3_region,
            credentials=AwsCredentials.embedded(str(services.s3_access_key), "canary"),
            endpoint_url=guard.url,
            retry=SHORT,
        )
    )
    (only,) = proof.of_s3(wrong, Aws())
    wrong.close()
    assert "SignatureDoesNotMatch" in only.told
    assert not only.missing


# In Postgres


@pytest.fixture
def limited(services: ServiceAddresses) -> Iterator[tuple[str, str]]:
    """A database, and the URL of a user who may only connect to it."""
    url = fresh_database(services)
    user = f"clerk_{os.urandom(4).hex()}"
    with connect(services) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'canary-clerk'")
    yield url, make_conninfo(url, user=user, password="canary-clerk")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {user} CASCADE")
        connection.execute(f"DROP ROLE {user}")


def prove_postgres(conninfo: str) -> list[proof.Proof]:
    session = PostgresSession(PostgresSettings(url=SecretStr(conninfo), retry=SHORT))
    try:
        return list(proof.of_postgres(session))
    finally:
        session.close()


def test_missing_rights_in_postgres_come_with_the_statement_that_gives_them(
    limited: tuple[str, str],
) -> None:
    admin, clerk = limited
    wrong = [one for one in prove_postgres(clerk) if not one.works]
    assert [one.missing.split(" ")[0] for one in wrong] == ["CREATE", "extension"]
    session = PostgresSession(PostgresSettings(url=SecretStr(admin)))
    session.migrate()
    session.close()
    # What is told to do is done, until nothing is left to do.
    with psycopg.connect(admin, autocommit=True) as connection:
        for _ in range(5):
            wrong = [one for one in prove_postgres(clerk) if not one.works]
            for one in wrong:
                connection.execute(one.what_to_do)
            if not wrong:
                break
    assert [one.tried for one in prove_postgres(clerk)] == ["connect", "rights"]
    assert all(one.works for one in prove_postgres(clerk))


def test_a_wrong_password_is_told_without_it(services: ServiceAddresses) -> None:
    assert services.database_url
    wrong = make_conninfo(services.database_url, password="canary-wrong")
    (only,) = prove_postgres(wrong)
    assert "password authentication failed" in only.told
    assert "canary" not in str(only)


def test_a_password_that_is_exchanged_in_its_file_is_used(
    limited: tuple[str, str], tmp_path: Path
) -> None:
    _, clerk = limited
    file = tmp_path / "password"
    file.write_text("canary-old")
    parts = conninfo_to_dict(clerk)
    del parts["password"]
    nobody = make_conninfo(**parts)
    session = PostgresSession(
        PostgresSettings(
            url=SecretStr(nobody),
            password=SecretStr("canary-old"),
            files={"POSTGRES_PASSWORD": file},
            retry=SHORT,
        )
    )
    with pytest.raises(ServiceUnavailable, match="password authentication failed"):
        session.query("SELECT 1")
    file.write_text("canary-clerk\n")
    assert session.query("SELECT 1 AS a") == [{"a": 1}]
    session.close()


# In MLflow


def test_mlflow_names_the_missing_right_and_reads_an_exchanged_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dropzone.sessions.mlflow import MlflowSession

    # What is set there for MLflow's client goes away with the test.
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")
    file = tmp_path / "token"
    file.write_text("canary-old")
    with serving(server := Tracking()):
        server.accepted = "canary-new"
        session = MlflowSession(
            MlflowSettings(
                tmp_path,
                tracking_uri=server.url,
                login={"MLFLOW_TRACKING_TOKEN": SecretStr("canary-old")},
                files={"MLFLOW_TRACKING_TOKEN": file},
                retry=SHORT,
            )
        )
        (only,) = proof.of_mlflow(session, "x")
        assert "401" in only.told
        assert "canary" not in str(only)
        file.write_text("canary-new\n")
        server.writable = False
        read, write = proof.of_mlflow(session, "x")
        assert read.works
        assert write.missing == "EDIT on the experiment 'x'"
        server.writable = True
        assert all(one.works for one in proof.of_mlflow(session, "x"))
        assert server.logins[-1] == "Bearer canary-new"
