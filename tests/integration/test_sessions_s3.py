import hashlib
import os
from dataclasses import replace

import pytest
from pydantic import SecretStr

from dropzone.errors import (
    DocumentRejected,
    NotFound,
    ServiceUnavailable,
    SourceChanged,
)
from dropzone.retry import RetryPolicy
from dropzone.sessions import S3Settings, digest
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.s3 import S3Session
from servers import fresh_bucket

BIG = (16 << 20) * 2 + 5


@pytest.fixture
def settings(services):
    return S3Settings(
        bucket=fresh_bucket(services),
        region=services.s3_region,
        credentials=AwsCredentials.embedded(
            services.s3_access_key, services.s3_secret_key
        ),
        endpoint_url=services.s3_endpoint,
        retry=RetryPolicy(seconds=0.5, first_pause=0.01),
    )


@pytest.fixture
def s3(settings):
    session = S3Session(settings)
    yield session
    session.close()


def put(s3, key, data, **more):
    return s3.put(key, data, sha256=hashlib.sha256(data).hexdigest(), **more)


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(os.urandom(1 << 20) * (BIG >> 20) + b"12345")
    return path


def test_what_is_put_is_proven_and_comes_back(s3):
    stored = put(s3, "a/b", b"hello", metadata={"Name": "ä\n".encode()})
    assert stored.checksum_confirmed_by == "etag"
    assert s3.get("a/b") == b"hello"
    seen = s3.head("a/b")
    assert seen.size == 5
    assert seen.etag == stored.etag
    assert {k.lower(): v for k, v in seen.metadata.items()} == {"name": "%C3%A4%0A"}


def test_putting_twice_changes_nothing(s3):
    assert put(s3, "k", b"x") == put(s3, "k", b"x")
    assert [item.key for item in s3.list()] == ["k"]


def test_an_object_that_is_not_there(s3):
    assert s3.head("nothing") is None
    with pytest.raises(NotFound, match="nothing"):
        s3.get("nothing")
    s3.delete("nothing")


def test_listing_follows_the_pages(s3, monkeypatch):
    for number in range(7):
        put(s3, f"p/{number}", b"x")
    whole = s3.client.list_objects_v2
    monkeypatch.setattr(
        s3.client, "list_objects_v2", lambda **request: whole(MaxKeys=3, **request)
    )
    assert [item.key for item in s3.list("p/")] == [f"p/{n}" for n in range(7)]


def test_a_large_file_goes_in_parts(s3, big, tmp_path):
    with big.open("rb", buffering=0) as file:
        stored = s3.put_file("big", file, digest(file))
    assert stored.checksum_confirmed_by == "head"
    assert stored.size == BIG
    s3.download("big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("change", ["overwrite", "truncate"])
def test_a_file_that_changes_is_not_stored(s3, big, change):
    with big.open("r+b", buffering=0) as file:
        found = digest(file)
        if change == "truncate":
            file.truncate(BIG - 1)
        else:
            os.pwrite(file.fileno(), b"other", 20 << 20)
        with pytest.raises(SourceChanged):
            s3.put_file("big", file, found)
    assert s3.head("big") is None
    assert s3.abort_stale_uploads("", 0) == 0


@pytest.mark.parametrize("change", [b"onetwo", b"ONE"])
def test_a_small_file_that_changes_is_not_stored(s3, tmp_path, change):
    path = tmp_path / "small"
    path.write_bytes(b"one")
    with path.open("r+b", buffering=0) as file:
        found = digest(file)
        os.pwrite(file.fileno(), change, 0)
        with pytest.raises(SourceChanged):
            s3.put_file("small", file, found)
    assert s3.head("small") is None


def test_stale_uploads_are_given_up(s3):
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key="left/over")
    assert s3.abort_stale_uploads("left/", 3600) == 0
    assert s3.abort_stale_uploads("left/", -10) == 1
    assert s3.abort_stale_uploads("left/", -10) == 0


def test_the_bucket_is_made_once(settings):
    session = S3Session(replace(settings, bucket="made-now"))
    assert session.check().healthy is False
    session.ensure_bucket()
    session.ensure_bucket()
    assert session.check().healthy is True
    session.close()


def test_a_bucket_that_is_not_there_pauses_the_step(settings):
    session = S3Session(replace(settings, bucket="nowhere"))
    with pytest.raises(ServiceUnavailable, match="NoSuchBucket") as caught:
        put(session, "k", b"x")
    assert "bucket" in caught.value.hint
    session.close()


def test_a_wrong_secret_pauses_the_step_and_does_not_show(settings):
    wrong = replace(
        settings.credentials, secret_key=SecretStr("canary-secret-canary-secret")
    )
    session = S3Session(replace(settings, credentials=wrong))
    with pytest.raises(ServiceUnavailable) as caught:
        put(session, "k", b"x")
    health = session.check()
    assert health.healthy is False
    assert "canary" not in f"{caught.value} {caught.value.hint} {health.error}"
    session.close()


def test_a_proxy_of_the_environment_is_not_asked(settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    session = S3Session(settings)
    assert session.check().healthy is True
    session.close()


def test_a_key_s3_cannot_hold_is_the_documents_fault(s3):
    with pytest.raises(DocumentRejected):
        put(s3, "a/../b", b"x")
