import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropzone import explaining
from dropzone.config import ENVIRONMENT, flatten, load
from dropzone.errors import ConfigurationError
from dropzone.settings import Aws, Settings

SECRET = "kG7-canary"


ADDRESSES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    "DROPZONE_WEB_TOKEN": "54335433543354335433",
    "DROPZONE_NOTIFICATIONS": "json://user:password@host/path",
    "DROPZONE_WEBHOOK": "https://host/hook",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
    "AWS_ENDPOINT_URL_S3": "https://[::1]:9000/x",
    "DATABASE_URL": "postgresql+psycopg://u:p@h1:1,[::1]:2/d?host=/socket",
    "MLFLOW_TRACKING_URI": "http://user:word@host:5000",
}


@pytest.fixture
def write(tmp_path):
    def written(text, name="config.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def refused(path=None, environ=None):
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ or {})
    return caught.value.message


def test_without_anything_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load(None, {})
    assert loaded.path is None
    assert loaded.settings.zones[0].path == tmp_path / "drop_zones"
    assert loaded.settings.aws == Settings().aws
    assert loaded.settings.embeds_postgres
    assert loaded.settings.embeds_s3


def test_the_environment_wins_over_the_file_and_its_own_names_over_the_common(write):
    path = write("aws: {region: from-file, profile: from-file, default_bucket: b}\n")
    environ = {
        "AWS_DEFAULT_REGION": "from-common",
        "AWS_PROFILE": "from-common",
        "DROPZONE__AWS__REGION": "from-own",
    }
    loaded = load(path, environ)
    assert loaded.settings.aws.region == "from-own"
    assert loaded.settings.aws.profile == "from-common"
    assert loaded.settings.aws.default_bucket == "b"
    assert loaded.origins["aws.region"] == "environment variable DROPZONE__AWS__REGION"
    assert loaded.origins["aws.profile"] == "environment variable AWS_PROFILE"
    assert loaded.origins["aws.default_bucket"] == str(path)


def test_tokens_are_lines_with_a_name_and_a_role(write):
    lines = "anna operate 54335433543354335434\n\nscan read 64335433543354335434\n"
    settings = load(write(""), {"DROPZONE_WEB_TOKENS": lines}).settings
    told = [(t.name, t.role, t.token.get_secret_value()) for t in settings.web.tokens]
    assert told == [
        ("anna", "operate", "54335433543354335434"),
        ("scan", "read", "64335433543354335434"),
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("anna 54335433543354335434", "NAME ROLE TOKEN"),
        ("anna king 54335433543354335434", "'read', 'drop' or 'operate'"),
        ("anna read 5433", "openssl rand"),
        ("a read 54335433543354335434\na drop 64335433543354335434", "same name"),
        ("a read 54335433543354335434\nb drop 54335433543354335434", "the same"),
    ],
)
def test_tokens_that_make_no_sense_are_refused_untold(lines, told, write):
    with pytest.raises(ConfigurationError, match=told) as error:
        load(write(""), {"DROPZONE_WEB_TOKENS": lines})
    assert "5433" not in str(error.value)


@pytest.mark.parametrize("name", sorted(ENVIRONMENT.keys() - {"DROPZONE_WEB_TOKENS"}))
def test_every_common_name_sets_its_setting(name, write):
    # Names that look like numbers stay names.
    value = ADDRESSES.get(name, "5433")
    environ = {name: value}
    section, key = ENVIRONMENT[name].split(".")
    settings = load(write(""), environ).settings
    held = getattr(getattr(settings, section), key)
    (held,) = held if isinstance(held, tuple) else (held,)
    if hasattr(held, "get_secret_value"):
        held = held.get_secret_value()
    assert str(held) == value


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("DROPZONE__POSTGRES__PORT", "5433", lambda s: s.postgres.port == 5433),
        ("DROPZONE__AWS__PROFILE", "on", lambda s: s.aws.profile == "on"),
        ("DROPZONE__AWS__PROFILE", "1e3", lambda s: s.aws.profile == "1e3"),
        ("DROPZONE__RETRY__CALL_SECONDS", "2.5", lambda s: s.retry.call_seconds == 2.5),
        (
            "DROPZONE__ZONES",
            '[{"path": "/x", "events": false, "ignore": ["*.bak"]}]',
            lambda s: not s.zones[0].events and s.zones[0].ignore == ("*.bak",),
        ),
        ("DROPZONE__AWS", "{region: r}", lambda s: s.aws.region == "r"),
        ("dropzone__aws__region", "r", lambda s: s.aws.region == "us-east-1"),
    ],
)
def test_values_of_the_environment_are_read_as_their_setting(
    name, value, wanted, write
):
    assert wanted(load(write(""), {name: value}).settings)


def test_an_empty_common_variable_says_nothing(write):
    assert load(write(""), {"AWS_PROFILE": ""}).settings.aws.profile is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "awz: {}",
            "awz ({path}, line 1): there is no such setting; did you mean 'aws'?",
        ),
        ("aws: {regin: x}", "aws.regin ({path}, line 1): .* did you mean 'region'?"),
        ("zones: [{nam: x}]", "zones.0.nam ({path}, line 1): .* did you mean 'name'?"),
        ("log: {qqqq: 1}", "log.qqqq .* known here: file, file_count, file_megabytes"),
        ("aws.region: x", "aws.region ({path}, line 1): there is no such setting"),
        ("qqqq.rrrr: x", "qqqq.rrrr ({path}, line 1): there is no such setting"),
    ],
)
def test_an_unknown_key_names_the_nearest(text, told, write):
    path = write(text)
    pattern = re.escape(told).replace(r"\{path\}", re.escape(str(path)))
    assert re.search(pattern.replace(r"\.\*", ".*"), refused(path))


def test_each_setting_says_from_which_line_it_came(write):
    path = write(
        "zones:\n  - path: here\n    ignore: [a, b]\nlog:\n  level: debug\n"
        "web:\n  tokens: |\n    rita read 0123456789abcdefghij\n"
    )
    loaded = load(path, {"DROPZONE__LOG__FORMAT": "json"})
    told = {one.key: one for one in explaining.explained(loaded, loaded.settings)}
    assert told["log.level"].where == f"{path}, line 5"
    assert told["zones.0.path"].line == 2
    assert told["zones.0.ignore"].line == 3
    # Of a text there is one line for all that it holds.
    assert told["web.tokens.0.name"].line == 7
    assert told["zones.0.scan_seconds"].where == "default"
    assert told["log.format"].where == "environment variable DROPZONE__LOG__FORMAT"
    assert told["aws.region"].line is None


def test_every_wrong_key_is_told_at_once_with_its_value_and_origin(write):
    path = write("postgres: {port: 99999, pool_size: many}\nmlflow: {batch_filez: 1}")
    told = refused(path, {"DROPZONE__LOG__LEVEL": "loud\x1b"}).splitlines()
    assert len(told) == 4
    assert any(
        f"postgres.port ({path}, line 1)" in t and "holds '99999'" in t for t in told
    )
    assert any("postgres.pool_size" in t and "holds 'many'" in t for t in told)
    assert any("mlflow.batch_filez" in t and "'batch_files'" in t for t in told)
    (level,) = (t for t in told if t.startswith("log.level"))
    assert "(environment variable DROPZONE__LOG__LEVEL)" in level
    assert "\x1b" not in level


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f"postgres: {{password: [{SECRET}]}}", {}),
        ("postgres: {password: 77123}", {}),
        (f"postgres: {{pasword: {SECRET}}}", {}),
        (f"aws: {{access_key_id: {SECRET}}}", {}),
        (f"aws: {{secret_access_key: [{SECRET}]}}", {}),
        (f"postgres: {{url: {{a: {SECRET}}}}}", {}),
        ("", {"DROPZONE__POSTGRES": f"postgresql://u:{SECRET}@h/d"}),
        ("", {"DROPZONE__POSTGRES": SECRET}),
        ("", {"DROPZONE__LOG__LEVEL": f"http://u:{SECRET}@h"}),
        (f'postgres:\n  password: "{SECRET}\n', {}),
        (f"postgres:\n  password: {SECRET}: x\n", {}),
        (f"postgres:\n  password: *{SECRET}\n", {}),
        (f"postgres:\n  password: !{SECRET}\n", {}),
        (f"postgres:\n  password: !{SECRET}!x\n", {}),
        (f"postgres:\n  password: &{SECRET} x\n  user: &{SECRET} y\n", {}),
        ("", {"DROPZONE__POSTGRES": f"{{password: *{SECRET}}}"}),
        (f"postgres: {{password: {SECRET}\x00}}", {}),
    ],
)
def test_a_wrong_setting_never_tells_a_secret(text, environ, write):
    told = refused(write(text), environ)
    assert SECRET not in told
    assert "77123" not in told


def test_invalid_yaml_is_told_with_its_place(write):
    told = refused(write("aws:\n  region: a: b\n"))
    assert "config.yaml, line 2): the file is not valid YAML, column 12: " in told


@pytest.mark.parametrize("text", ["- a", "text", "5"])
def test_a_file_without_sections_is_refused(text, write):
    assert "must hold sections" in refused(write(text))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    assert "no configuration file" in refused(tmp_path / "none.yaml")
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(path)
    assert "cannot be read" in refused(tmp_path)


def test_all_that_is_wrong_is_told_in_one_error_with_file_and_line(write):
    path = write(
        """\
aws:
  regin: x
  endpoint_url: localhost:9000
  kms_key_id: k
  region: a
  region: b
postgres:
  url: ${NO_SUCH_VARIABLE}
  host: db
  port: many
chunking: {max_characters: 100, overlap_characters: 90}
retry: {first_pause_seconds: 9, longest_pause_seconds: 3}
mlflow: http
zones: [{name: a, path: x}, {name: a, path: y}]
"""
    )
    environ = {"DROPZONE__LOG__LEVEL": "loud", "DATABASE_URL": f"mysql://u:{SECRET}@h"}
    told = refused(path, environ)
    assert SECRET not in told
    places = [
        re.sub(r"^(\S+) \((.*?)\):.*", r"\1 \2", one) for one in told.splitlines()
    ]
    assert [place.replace(str(path), "file") for place in places] == [
        "aws file, line 1",
        "aws.regin file, line 2",
        "aws.endpoint_url file, line 3",
        "aws.region file, line 6",
        "postgres.url file, line 8",
        "postgres.host file, line 9",
        "postgres.port file, line 10",
        "postgres.port file, line 10",
        "chunking file, line 11",
        "retry file, line 12",
        "mlflow file, line 13",
        "zones file, line 14",
        "postgres.url environment variable DATABASE_URL",
        "log.level environment variable DROPZONE__LOG__LEVEL",
    ]


def test_what_is_wrong_in_the_environment_is_told_beside_a_broken_file(write):
    path = write("aws: {")
    told = refused(path, {"POSTGRES_PORT": "x", "AWS_ACCESS_KEY_ID": "half"})
    assert len(told.splitlines()) == 2
    assert "environment variable POSTGRES_PORT" in told


def test_variables_of_the_environment_stand_in_the_file(write):
    path = write('postgres: {url: "postgresql://u:${PW}@h/d", password: "$${PW}"}')
    loaded = load(path, {"PW": SECRET})
    assert loaded.settings.postgres.url.get_secret_value().count(SECRET) == 1
    assert loaded.settings.postgres.password.get_secret_value() == "${PW}"
    assert loaded.referenced == {"postgres.url"}
    told = refused(path)
    assert f"({path}, line 1): the environment variable PW is not set" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/d",
        "h/d",
        "postgresql://u:p@h:x/d",
        "postgresql://u:a#b@c@[::1/d",
        "5",
    ],
)
def test_a_postgres_address_that_cannot_be_read_is_refused(url, write):
    assert "must be postgresql://USER" in refused(write(""), {"DATABASE_URL": url})


@pytest.mark.parametrize("url", ["host=h dbname=d", "postgres:///d", "postgresql://h"])
def test_a_postgres_address_may_leave_things_out(url, write):
    assert load(write(""), {"DATABASE_URL": url}).settings.postgres.url


@pytest.mark.parametrize(
    "url", ["http://", "http:/h", "https://h:99999", "http://[::1"]
)
def test_a_web_address_that_cannot_be_read_is_refused(url, write):
    for name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        assert "must be an address" in refused(write(""), {name: url})


def test_a_file_that_names_itself_is_read_or_refused(write):
    assert "in itself" in refused(write("aws: &a {region: *a}"))
    assert "date" in refused(write("aws: {region: 2024-99-99}"))
    assert "5 (" in refused(write("5: {x: y}"))


def test_a_section_that_is_none_is_not_covered_by_the_environment(write):
    told = refused(write("aws: 5"), {"AWS_PROFILE": "x"})
    assert told.startswith("aws (")


def test_sections_without_keys_are_empty(write):
    path = write("aws:\n  # region: x\npostgres:\nzones:\nlog: {}\n")
    assert load(path, {}).settings.aws == Settings().aws


def test_relative_paths_are_resolved_against_the_file(tmp_path, write):
    (tmp_path / "etc").mkdir()
    path = write(
        "zones: [{path: ../in}, {name: b, path: /abs/x}]\nembedded: {directory: data}",
        "etc/config.yaml",
    )
    settings = load(path, {}).settings
    assert [zone.path for zone in settings.zones] == [
        tmp_path / "in",
        Path("/abs/x"),
    ]
    assert settings.services_directory == tmp_path / "etc" / "data"


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./x/../a/b"), ("a", "{base}/a/b")],
)
def test_nested_zones_are_refused(one, other, write, tmp_path):
    other = other.format(base=tmp_path)
    told = refused(write(f"zones: [{{path: {one}}}, {{name: b, path: {other}}}]"))
    wanted = "have the same path" if one == other else "lies inside"
    assert wanted in told


def test_zones_beside_each_other_with_one_prefix_are_allowed(write):
    path = write("zones: [{path: a}, {name: b, path: ab}]")
    assert len(load(path, {}).settings.zones) == 2


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{prefix}{name}", "needs {sha256} or {job}"),
        ("{sha256}{nope}", "unknown field 'nope'"),
        ("{sha256", "key_template"),
        ("{sha256}{}", "unknown field ''"),
        ("{sha256!r}", "only plain fields"),
        ("{sha256:.2}", "only plain fields"),
        ("{sha256.upper}", "unknown field 'sha256.upper'"),
    ],
)
def test_a_key_template_that_cannot_work_is_refused(template, told, write):
    path = write(f"aws: {{key_template: '{template}'}}")
    assert told in refused(path)


def test_keys_without_their_partner_are_refused(write):
    environ = {"DROPZONE__AWS__ACCESS_KEY_ID": "x"}
    assert "go together" in refused(write(""), environ)


def test_secrets_are_stars_when_shown(write):
    environ = {"DATABASE_URL": f"postgresql://{SECRET}", "POSTGRES_PASSWORD": SECRET}
    shown = dict(flatten(load(write(""), environ).settings))
    assert shown["postgres.url"] == shown["postgres.password"] == "********"
    assert SECRET not in repr(shown)
    assert shown["zones.0.name"] == "default"
    assert SECRET not in repr(load(write(""), environ))


@given(st.dictionaries(st.text(max_size=9), st.integers() | st.text() | st.none()))
def test_any_mapping_is_read_or_refused_in_a_sentence(tree):
    told = None
    try:
        load(None, {"DROPZONE__AWS": json.dumps(tree)})
    except ConfigurationError as error:
        told = error.message
    # What has a name of no setting is refused, and the variable is named.
    assert told is not None or set(tree) <= set(Aws.model_fields)
    assert told is None or "DROPZONE__AWS" in told
