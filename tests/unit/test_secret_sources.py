import os
from pathlib import Path

import pytest

from awshome import keyring_kept
from dropzone import config, secret_sources
from dropzone.errors import ConfigurationError


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def test_a_named_file_comes_before_systemd_and_that_before_docker(
    tmp_path: Path, mounted: Path
) -> None:
    def found(environ: dict[str, str]) -> Path | None:
        return secret_sources.file_of("DATABASE_URL", environ, mounted)

    assert found({}) is None
    (mounted / "database_url").touch()
    assert found({}) == mounted / "database_url"
    systemd = tmp_path / "systemd"
    systemd.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(systemd)}
    assert found(environ) == mounted / "database_url"
    (systemd / "database_url").touch()
    assert found(environ) == systemd / "database_url"
    named = {**environ, "DATABASE_URL_FILE": "/not/there"}
    assert found(named) == Path("/not/there")


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"s", "s"), (b"s\n", "s"), (b"s\r\n", "s"), (b" s \n\n", " s \n")],
)
def test_one_line_end_is_not_part_of_a_secret(
    content: bytes, secret: str, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    assert secret_sources.read(path) == secret


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"canary\0", "NUL"),
        (b"canary\xff", "UTF-8"),
        (b"canary" * 20_000, "not a file with one secret"),
    ],
)
def test_what_is_no_secret_is_refused_and_not_told(
    content: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=told) as caught:
        secret_sources.read(path)
    assert "canary" not in caught.value.message


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(ConfigurationError):
            secret_sources.read(path)
    with pytest.raises(ConfigurationError, match="No such file"):
        secret_sources.read(tmp_path / "nothing")


def test_secret_files_win_over_the_settings_and_lose_against_the_environment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("postgres: {host: h, password: from-settings}\n")
    secret = tmp_path / "password"
    # A list in YAML, but a password all the same.
    secret.write_text("[from-file]\n")
    environ = {"POSTGRES_PASSWORD_FILE": str(secret)}

    def password(environ: dict[str, str]) -> tuple[str, str]:
        loaded = config.load(file, environ)
        held = loaded.settings.postgres.password
        assert held is not None
        return held.get_secret_value(), loaded.origins["postgres.password"]

    assert password({}) == ("from-settings", str(file))
    assert password(environ) == ("[from-file]", f"secret file {secret}")
    more = {**environ, "POSTGRES_PASSWORD": "{from-env}"}
    assert password(more) == ("{from-env}", "environment variable POSTGRES_PASSWORD")
    offered = config.offers("postgres.password", config.load(file, environ), more)
    assert [place.partition(" ")[0] for place in offered] == [
        str(file),
        "environment",
    ]


def test_a_database_url_in_a_file_names_a_postgres(tmp_path: Path) -> None:
    url = tmp_path / "url"
    url.write_text("postgresql://u:p@h/d")
    loaded = config.load(None, {"DATABASE_URL_FILE": str(url)})
    assert not loaded.settings.embeds_postgres


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ("auto", ("auto",)),
        ("profile", ("profile",)),
        ("sso, environment", ("sso", "environment")),
        ("[instance, settings]", ("instance", "settings")),
    ],
)
def test_the_order_of_sources_is_written_as_people_do(
    given: str, held: tuple[str, ...]
) -> None:
    environ = {"DROPZONE__AWS__CREDENTIALS_SOURCE": given}
    assert config.load(None, environ).settings.aws.credentials_source == held


@pytest.mark.parametrize("given", ["role", "auto, sso", "sso, sso", "[]", ""])
def test_an_order_that_cannot_be_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"aws\.credentials_source"):
        config.load(None, {"DROPZONE__AWS__CREDENTIALS_SOURCE": given})


def test_a_keyring_that_gives_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # The backend for machines that have none.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    import keyring

    with keyring_kept():
        keyring.core.init_backend()
        with pytest.raises(ConfigurationError, match="gives nothing") as caught:
            config.load(None, {"DROPZONE__SECRETS__KEYRING": "dz"})
    assert "secrets.keyring" in caught.value.hint
