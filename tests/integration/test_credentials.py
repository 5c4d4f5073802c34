"""The commands of ``dropzone credentials``."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from daemons import ZoneOfTest, zone_on
from dropzone import config
from dropzone.commands import credentials as commands
from dropzone.commands.exposure import exposed_secrets
from dropzone.embedded import ServiceAddresses
from dropzone.sessions import (
    MlflowSettings,
    PostgresSettings,
    origins,
)
from refusing import Tracking, serving

# MLflow's own, about its use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


# What show tells


def told_of_postgres(environ: dict[str, str], path: Path | None = None) -> Any:
    loaded = config.load(path, environ)
    held = loaded.settings.postgres
    settings = PostgresSettings(url=held.url, host=held.host, password=held.password)
    return origins.of_postgres(settings, loaded)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("AWS_", "POSTGRES_", "PG", "MLFLOW_", "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_where_the_password_of_postgres_comes_from(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = clean / "config.yaml"
    file.write_text("postgres: {host: h, password: canary-settings}\n")

    def found() -> Any:
        return told_of_postgres(dict(os.environ), file)

    def verdicts() -> dict[str, str]:
        return {one.source: one.verdict for one in found().sources}

    assert found().source == "settings"
    secret = clean / "secret"
    secret.write_text("canary-file")
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(secret))
    assert found().source == "secrets"
    assert verdicts()["settings"] == "not asked"
    monkeypatch.setenv("POSTGRES_PASSWORD", "canary-env")
    assert (found().source, verdicts()["settings"]) == ("environment", "not asked")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:canary-url@h/d")
    assert found().told == "password in the URL"
    assert "canary" not in str(found())


def test_libpq_says_why_it_passes_over_a_password_file(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"DATABASE_URL": "postgresql://u@h/d"}
    monkeypatch.setenv("DATABASE_URL", environ["DATABASE_URL"])
    assert told_of_postgres(environ).source == "libpq"
    passwords = clean / ".pgpass"
    passwords.write_text("h:5432:d:u:canary\n")
    passwords.chmod(0o644)
    assert f"chmod 600 {passwords}" in told_of_postgres(environ).told
    passwords.chmod(0o600)
    assert told_of_postgres(environ).told == str(passwords)
    monkeypatch.setenv("PGPASSWORD", "canary")
    assert told_of_postgres(environ).told == "PGPASSWORD"


def test_where_the_login_of_mlflow_comes_from(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(uri: str | None) -> Any:
        loaded = config.load(None, dict(os.environ))
        names = {"MLFLOW_TRACKING_TOKEN": SecretStr("x")}
        held = names if os.environ.get("MLFLOW_TRACKING_TOKEN") else {}
        settings = MlflowSettings(clean, tracking_uri=uri, login=held)
        return origins.of_mlflow(settings, loaded)

    assert found(None).told == "a local store needs no login"
    assert "everybody" in found("http://h").told
    own = clean / ".mlflow" / "credentials"
    own.parent.mkdir()
    own.write_text("[mlflow]\n")
    assert found("http://h").source == "mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "canary")
    assert (found("http://h").source, found("http://h").told) == (
        "environment",
        "token",
    )
    assert "canary" not in str(found("http://me:canary@h"))


def test_secrets_that_everybody_may_read_are_found(clean: Path) -> None:
    file = clean / "config.yaml"
    file.write_text("postgres: {host: h, password: canary}\nmlflow: {token: canary}\n")
    secret = clean / "secret"
    secret.write_text("canary")
    keys = clean / ".aws" / "credentials"
    keys.parent.mkdir()
    keys.write_text("[default]\naws_secret_access_key = canary\n")
    for path in (file, secret, keys):
        path.chmod(0o644)
    environ = {"AWS_SECRET_ACCESS_KEY_FILE": str(secret)}
    found = {one.path: one for one in exposed_secrets(config.load(file), environ)}
    assert set(found) == {file, secret, keys}
    assert found[file].holds == "postgres.password, mlflow.token"
    assert "canary" not in str(found)
    for one in found.values():
        subprocess.run(["/bin/sh", "-c", one.what_to_do], check=True)
    assert exposed_secrets(config.load(file), environ) == []


# The commands


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> ZoneOfTest:
    made = zone_on(tmp_path, services)
    made.environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    return made


def test_the_commands_from_end_to_end(zone: ZoneOfTest) -> None:
    secret = zone.environment["AWS_SECRET_ACCESS_KEY"]
    shown = zone.command("credentials", "show")
    assert shown.returncode == 0, shown.stderr
    assert "environment" in shown.stdout
    assert secret not in shown.stdout
    exported = zone.command("credentials", "export", "--shell", "bash").stdout
    script = f'{exported}\nprintf %s "$AWS_SECRET_ACCESS_KEY"'
    told = subprocess.run(
        ["/bin/bash", "-c", script], env={}, capture_output=True, text=True, check=True
    )
    assert told.stdout == secret


def test_every_service_is_proven_and_takes_what_was_renewed(
    zone: ZoneOfTest, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zone.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(clean)
    with serving(server := Tracking()):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        loaded = config.load(None)
        proofs = list(commands.prove(loaded.settings))
        assert {one.service for one in proofs} == {"s3", "postgres", "mlflow"}
        assert all(one.works for one in proofs), proofs
        renewed = {one.service: one for one in commands.refresh(loaded)}
        assert all(one.works for one in renewed.values()), renewed
        assert renewed["s3"].source == "environment"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-wrong")
        refused = next(one for one in commands.refresh(loaded) if one.service == "s3")
    assert not refused.works
    assert "SignatureDoesNotMatch" in refused.problem


def test_the_holder_of_the_servers_gets_no_secret(tmp_path: Path) -> None:
    canary = "canary-of-another-service"
    zone = ZoneOfTest(tmp_path, {})
    named = ("POSTGRES_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY")
    zone.environment |= dict.fromkeys(named, canary)
    up = zone.command("services", "up")
    try:
        assert up.returncode == 0, up.stderr
        folder = os.fsencode(tmp_path)
        holders = [
            path.parent
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if folder in _held(path) and b"embedded.holder" in _held(path)
        ]
        assert len(holders) == 1
        told = (holders[0] / "environ").read_bytes()
        assert b"PATH=" in told
        assert canary.encode() not in told
    finally:
        zone.command("services", "down")


def _held(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_commands_end_with_one_or_two(zone: ZoneOfTest) -> None:
    zone.environment["AWS_SECRET_ACCESS_KEY"] = "canary!"
    refused = zone.command("credentials", "export", "--shell", "cmd")
    assert refused.returncode == 2
    assert "AWS_SECRET_ACCESS_KEY" in refused.stderr
    assert "canary" not in refused.stderr
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        del zone.environment[name]
    shown = zone.command("credentials", "show", "--json")
    assert shown.returncode == 1
    s3 = json.loads(shown.stdout)["credentials"][0]
    assert s3["source"] is None
    assert {one["verdict"] for one in s3["sources"]} == {"not set"}
    zone.environment["AWS_PROFILE"] = "nobody"
    assert zone.command("credentials", "show").returncode == 2
