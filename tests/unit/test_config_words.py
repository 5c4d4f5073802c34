import pytest

from dropzone.config import load
from dropzone.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        (
            "zones: [{path: x, quiet_secondz: 1}]",
            {},
            ["zones.0.quiet_secondz (line 1): UNKNOWN did you mean 'quiet_seconds'?"],
        ),
        ("zones:\n- name: A b", {}, ["zones.0.name (line 2): must be at most 63 of"]),
        ("zones: []", {}, ["zones (line 1): must not be empty"]),
        ("zones: x", {}, ["zones (line 1): must be a list, each with settings of its"]),
        ("zones: [x]", {}, ["zones.0 (line 1): must have settings of its own (name, "]),
        (
            "zones: [{name: a, pathh: x}, {name: b, path: 5}]",
            {},
            ["zones.0.pathh (line 1): UNKNOWN did you", "zones.1.path (line 1): must"],
        ),
        ("zones: [{name: a}, {name: b}]", {}, ["zones (line 1): two zones have the"]),
        ("quiet_seconds: 1", {}, ["quiet_seconds (line 1): UNKNOWN did you mean 'zon"]),
        ("region: x", {}, ["region (line 1): UNKNOWN did you mean 'aws.region'?"]),
        ("AWS: {}", {}, ["AWS (line 1): UNKNOWN did you mean 'aws'?"]),
        (
            "web: {aws: {region: x}}",
            {},
            ["web.aws (line 1): UNKNOWN did you mean 'aws', outside of 'web'?"],
        ),
        ("aws: {5: x}", {}, ["aws.5 (line 1): UNKNOWN known here: access_key_id, con"]),
        (
            f"web: {{tokens: [{{name: a, rol: read, token: {'x' * 20}}}]}}",
            {},
            ["web.tokens.0.rol (line 1): UNKNOWN did you mean 'role'?"],
        ),
        (
            f"web: {{tokens: [{{name: a, role: king, token: {'x' * 20}}}]}}",
            {},
            ["web.tokens.0.role (line 1): must be 'read', 'drop' or 'operate'; it"],
        ),
        (
            "web: {tokens: [{name: a, role: read}]}",
            {},
            ["web.tokens.0.token (line 1): is m"],
        ),
        (
            "limits: [a]",
            {},
            ["limits (line 1): must have settings of its own (text_me"],
        ),
        (
            "limits: {text_megabytes: 50MB}",
            {},
            ["limits.text_megabytes (line 1): must be a number of megabytes, without"],
        ),
        (
            "retry: {longest_pause_seconds: .inf}",
            {},
            ["retry.longest_pause_seconds (line 1): must be a number of seconds"],
        ),
        (
            "aws: {region: 5}",
            {},
            ["aws.region (line 1): must be a text: put it in quo"],
        ),
        (
            "limits: {free_megabytes: 9000}\nretention: {free_gigabytes: 1}",
            {},
            ["retention.free_gigabytes (line 2): is below limits.free_mega"],
        ),
        (
            "",
            {"DROPZONE__ZONES": '[{"path": "/x"'},
            ["zones (DROPZONE__ZONES): the text is not valid YAML, column 15: "],
        ),
        (
            "",
            {"DROPZONE__ZONES": '[{"path": "/x", "quiet_secondz": 1}]'},
            ["zones.0.quiet_secondz (DROPZONE__ZONES): UNKNOWN did you mean 'quiet_s"],
        ),
        (
            "zones: [{path: y}]",
            {"DROPZONE__ZONES__0__PATH": "/x"},
            ["zones (DROPZONE__ZONES__0__PATH): must be a list, each with settings"],
        ),
        (
            "",
            {"DROPZONE__AWS_REGION": "x"},
            ["aws_region (DROPZONE__AWS_REGION): UNKNOWN did you mean 'aws.region'?"],
        ),
    ],
)
def test_only_the_real_fault_is_told_and_what_would_be_right(
    text, environ, told, tmp_path
):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ)
    lines = caught.value.message.splitlines()
    short = [
        line.replace(f"{path}, ", "")
        .replace("environment variable ", "")
        .replace("there is no such setting;", "UNKNOWN")
        for line in lines
    ]
    assert len(short) == len(told), lines
    for line, start in zip(short, told, strict=True):
        assert line.startswith(start)
