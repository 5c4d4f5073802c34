"""Each source of AWS credentials, behind local servers that answer like AWS."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keyring
import pytest
from botocore.exceptions import (  # noqa: TID251 what the driver raises
    BotoCoreError,
    CredentialRetrievalError,
    NoCredentialsError,
)
from pydantic import SecretStr

from awsanswers import AwsAnswers, answering
from awshome import REGION, ROLE, Drawer, everything, keyring_kept
from dropzone.embedded import ServiceAddresses
from dropzone.errors import ConfigurationError, ServiceUnavailable
from dropzone.retry import RetryPolicy
from dropzone.sessions import S3Settings, aws_sources
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.s3 import S3Session
from dropzone.settings import AWS_SOURCES
from servers import fresh_bucket


@pytest.fixture
def aws() -> Iterator[AwsAnswers]:
    with answering() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine that knows nothing of AWS."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with keyring_kept():
        yield tmp_path


def find(**options: Any) -> tuple[str | None, Any, dict[str, tuple[str, str]]]:
    """Return the winner, its keys, and what was said of each source."""
    search = AwsCredentials(**options).search(REGION)
    keys = search.load().get_frozen_credentials()
    return search.winner, keys, {t.source: (t.verdict, t.told) for t in search.tried}


def why(source: str, **options: Any) -> str:
    """Return what is said of a source where no credentials are found."""
    search = AwsCredentials(**options).search(REGION)
    with pytest.raises(BotoCoreError):
        search.load()
    return next(tried.told for tried in search.tried if tried.source == source)


def test_each_source_wins_in_its_turn_and_the_others_say_why_not(
    home: Path, aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away = everything(home, aws, monkeypatch)
    options: dict[str, Any] = {
        "access_key": SecretStr("AKIASETTINGS"),
        "secret_key": SecretStr("canary-settings"),
        "keyring": "dz",
    }
    marks = dict(
        zip(
            AWS_SOURCES,
            ("ENV", "SECRETS", "SETTINGS", "RING", "ROLE", "WEB", "SSO", "PROFILE"),
            strict=False,
        )
    )
    for position, name in enumerate(AWS_SOURCES):
        winner, keys, told = find(**options)
        assert winner == name, told
        assert marks.get(name, name.upper()) in keys.access_key
        assert list(told) == list(AWS_SOURCES)
        assert {told[done][0] for done in AWS_SOURCES[:position]} <= {"not set"}
        for later in AWS_SOURCES[position + 1 :]:
            assert told[later][0] == "not asked"
            assert told[later][1].endswith(f"{name} comes first")
        assert "canary" not in str(told)
        if name == "settings":
            options = {"keyring": "dz"}
        elif name == "keyring":
            options = {}
        elif name in take_away:
            take_away[name]()
    # Sources that come later were told of, never asked.
    assert aws.given == {"role": 1, "web": 1, "sso": 1, "container": 1, "instance": 1}


def test_the_settings_say_another_order_and_leave_sources_out(
    home: Path, aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(home, aws, monkeypatch)
    order = ("instance", "environment")
    winner, keys, told = find(sources=order)
    assert (winner, tuple(told)) == ("instance", order)
    assert keys.token == "token-instance"
    assert find(sources=("profile",))[1].access_key == "AKIAPROFILE"


def test_every_source_says_what_it_lacks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why("environment") == "AWS_ACCESS_KEY_ID is not set"
    assert "no aws_access_key_id in /run/secrets" in why("secrets")
    assert why("settings") == "aws.access_key_id is not set"
    assert why("keyring") == "secrets.keyring is not set"
    assert "there is no" in why("profile")
    (home / "config").write_text("[profile x]\nregion = y\n")
    assert why("profile") == "there is no profile 'default'"
    assert why("profile", profile="x") == "profile 'x' has no keys"
    assert why("sso", profile="x") == "profile 'x' has no sso_account_id"
    assert why("assumed-role", profile="x") == "profile 'x' has no role_arn"
    assert "AWS_WEB_IDENTITY_TOKEN_FILE is not set" in why("web-identity")
    assert "_FULL_URI is set" in why("container")
    assert why("instance") == "AWS_EC2_METADATA_DISABLED is true"
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    (home / "maker").write_text("LENOVO\n")
    monkeypatch.setattr(aws_sources, "_MAKER", home / "maker")
    assert why("instance") == "this machine is no EC2 instance but by 'lenovo'"
    keyring.set_keyring(Drawer({}))
    assert why("keyring", keyring="dz") == "the keyring's 'dz' has no AWS_ACCESS_KEY_ID"


def test_sources_that_are_set_but_do_not_work_end_the_search(
    home: Path, aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    assert "AWS_SECRET_ACCESS_KEY is not: Partial" in why("environment")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")

    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "gone"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    assert "No such file" in why("web-identity")
    (home / "gone").write_text("a.b.c")
    aws.fault = (403, "AccessDenied")
    assert "AccessDenied as planned" in why("web-identity")
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")

    uri = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
    monkeypatch.setenv(uri, "http://192.0.2.1/keys")
    assert "Unsupported host" in why("container")
    monkeypatch.delenv(uri)

    command = "sh -c 'echo not now >&2; exit 1'"
    (home / "config").write_text(f"[default]\ncredential_process = {command}\n")
    assert "not now" in why("profile")
    (home / "config").unlink()

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(home / "gone"))
    assert "AWS_ACCESS_KEY_ID_FILE is not set" in why("secrets")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID_FILE", str(home / "nowhere"))
    assert "cannot be read: No such file" in why("secrets")


def test_a_metadata_server_that_does_not_answer_costs_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    name = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        monkeypatch.setenv(name, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        assert "cannot be reached: Connection refused" in why("instance")
        deaf.listen(0)
        # A queue that is full drops who comes next, as a firewall does.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        began = time.monotonic()
        told = why("instance")
        took = time.monotonic() - began
        for one in waiting:
            one.close()
    assert "did not answer in 1 s" in told
    assert 0.9 < took < 5


def test_an_instance_without_a_role_is_passed_over(
    aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url)
    aws.role = ""
    assert "offers no role" in why("instance")


def test_a_laptop_asks_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "maker").write_text("Framework\n")
    monkeypatch.setattr(aws_sources, "_MAKER", home / "maker")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    search = AwsCredentials().search(REGION)
    began = time.monotonic()
    with pytest.raises(NoCredentialsError):
        search.load()
    assert time.monotonic() - began < 0.9, "it waited for no answer"


def test_a_role_is_assumed_anew_before_it_runs_out(
    home: Path, aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(home, aws, monkeypatch)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    # The driver renews from a quarter of an hour before the end on.
    aws.lasts = 300
    session = AwsCredentials(sources=("assumed-role",)).session(REGION)
    found = session.get_credentials()
    assert aws.given["role"] == 0
    first = found.get_frozen_credentials().access_key
    aws.lasts = 3600
    second = found.get_frozen_credentials().access_key
    assert first != second
    assert found.get_frozen_credentials().access_key == second
    assert found.method == "assumed-role"


def test_a_renewal_that_fails_is_told_and_made_up_for(
    home: Path, aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(home, aws, monkeypatch)
    aws.lasts = 300
    found = AwsCredentials(sources=("web-identity",)).session(REGION).get_credentials()
    first = found.get_frozen_credentials().access_key
    aws.fault = (403, "AccessDenied")
    with pytest.raises(CredentialRetrievalError, match="AccessDenied as planned"):
        found.get_frozen_credentials()
    aws.fault = None
    assert found.get_frozen_credentials().access_key != first


def test_what_names_nothing_or_half_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        AwsCredentials(profile="nobody").session(REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY is not"):
        AwsCredentials().session(REGION)


def test_keys_of_our_own_server_work_under_a_profile_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    session = AwsCredentials.embedded("a", "b").session(REGION)
    assert session.get_credentials().access_key == "a"


class TestWithS3:
    """The same with a real S3 server, which takes one pair of keys."""

    @pytest.fixture
    def settings(self, services: ServiceAddresses) -> S3Settings:
        return S3Settings(
            bucket=fresh_bucket(services),
            region=services.s3_region,
            credentials=AwsCredentials(),
            endpoint_url=services.s3_endpoint,
            retry=RetryPolicy(seconds=0.2, first_pause=0.01),
        )

    @staticmethod
    def put(s3: S3Session) -> None:
        s3.put("k", b"x", sha256=hashlib.sha256(b"x").hexdigest())

    def test_files_that_are_exchanged_are_read_again(
        self,
        settings: S3Settings,
        services: ServiceAddresses,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        right = str(services.s3_secret_key)
        (home / "aws_access_key_id").write_text(str(services.s3_access_key))
        secret = home / "aws_secret_access_key"
        secret.write_text("canary-wrong")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home))
        s3 = S3Session(settings)
        with pytest.raises(ServiceUnavailable, match="SignatureDoesNotMatch"):
            self.put(s3)
        secret.write_text(f"{right}\n")
        self.put(s3)
        assert s3.credentials_source == "secrets"
        # Whoever exchanges a file may take it away for a moment.
        secret.unlink()
        self.put(s3)
        secret.write_text("canary-wrong-again")
        with pytest.raises(ServiceUnavailable, match="SignatureDoesNotMatch"):
            self.put(s3)
        s3.close()

    def test_a_role_of_sts_stores_a_file(
        self,
        settings: S3Settings,
        services: ServiceAddresses,
        home: Path,
        aws: AwsAnswers,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        everything(home, aws, monkeypatch)
        aws.keys = (str(services.s3_access_key), str(services.s3_secret_key))
        way = AwsCredentials(sources=("web-identity",))
        s3 = S3Session(replace(settings, credentials=way))
        aws.fault = (500, "InternalFailure")
        with pytest.raises(ServiceUnavailable, match="web-identity cannot be had"):
            self.put(s3)
        aws.fault = None
        self.put(s3)
        assert s3.get("k") == b"x"
        s3.close()

    def test_without_keys_it_is_told_where_to_look(self, settings: S3Settings) -> None:
        s3 = S3Session(settings)
        with pytest.raises(ServiceUnavailable, match="no AWS credentials") as caught:
            self.put(s3)
        assert "credentials show" in caught.value.hint
        assert s3.check().healthy is False
        assert s3.credentials_source == "none found"
        s3.close()
