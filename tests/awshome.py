"""A home folder and an environment in which every source of AWS credentials is set."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from awsanswers import AwsAnswers

REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/files"
START = "https://example.awsapps.com/start"
PROFILE = {
    "assumed-role": f"role_arn = {ROLE}\nsource_profile = base\n",
    "sso": f"sso_start_url = {START}\nsso_region = {REGION}\n"
    "sso_account_id = 1\nsso_role_name = r\n",
    "profile": "aws_access_key_id = AKIAPROFILE\n"
    "aws_secret_access_key = canary-profile\n",
}


def write_profile(home: Path, *parts: str) -> None:
    """Write a default profile that has only these parts."""
    held = "".join(PROFILE[part] for part in parts)
    base = f"[profile base]\n{PROFILE['profile']}"
    (home / "config").write_text(f"[default]\nregion = x\n{held}{base}")


def log_in_to_sso(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what 'aws sso login' leaves behind."""
    cache = home / "sso-cache"
    cache.mkdir()
    name = hashlib.sha1(START.encode()).hexdigest()  # noqa: S324 as the AWS tools do
    token = {"accessToken": "sso-token", "expiresAt": "2099-01-01T00:00:00Z"}
    (cache / f"{name}.json").write_text(json.dumps(token))
    monkeypatch.setattr(
        "botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(cache)
    )


def everything(
    home: Path, aws: AwsAnswers, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Set every source; return how to take each away again."""
    folder = home / "mounted"
    folder.mkdir()
    (folder / "aws_access_key_id").write_text("AKIASECRETS\n")
    (folder / "aws_secret_access_key").write_text("canary-secrets\n")
    (home / "jwt").write_text("a.b.c")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAENV",
        "AWS_SECRET_ACCESS_KEY": "canary-env",
        "CREDENTIALS_DIRECTORY": str(folder),
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "jwt"),
        "AWS_ROLE_ARN": ROLE,
        "AWS_ENDPOINT_URL_STS": aws.url,
        "AWS_ENDPOINT_URL_SSO": aws.url,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws.url}/container",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    held = {
        "dz/AWS_ACCESS_KEY_ID": "AKIARING",
        "dz/AWS_SECRET_ACCESS_KEY": "canary-ring",
    }
    keyring.set_keyring(Drawer(held))
    write_profile(home, "assumed-role", "sso", "profile")
    log_in_to_sso(home, monkeypatch)
    return {
        "environment": lambda: monkeypatch.delenv("AWS_ACCESS_KEY_ID"),
        "secrets": lambda: monkeypatch.delenv("CREDENTIALS_DIRECTORY"),
        "assumed-role": lambda: write_profile(home, "sso", "profile"),
        "web-identity": lambda: monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE"),
        "sso": lambda: write_profile(home, "profile"),
        "profile": (home / "config").unlink,
        "container": lambda: monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    }


@contextmanager
def keyring_kept() -> Iterator[None]:
    """Put the machine's own keyring back at the end."""
    before = keyring.get_keyring()
    try:
        yield
    finally:
        keyring.set_keyring(before)


class Drawer(KeyringBackend):
    """A keyring that forgets."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, held: dict[str, str]) -> None:
        super().__init__()
        self.held = held

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[f"{service}/{username}"] = password
