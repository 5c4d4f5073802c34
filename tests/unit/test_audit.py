"""A sample code base: what is planted is found, and nothing else."""

import json
import re
import subprocess
import sys
import sysconfig
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_samples import DECOYS, PLANTED
from dropzone.audit import RULES, audit
from dropzone.audit.one import audit_file
from dropzone.audit.sarif import document
from dropzone.commands.auditing import run
from dropzone.errors import ConfigurationError, UsageError

CANARY = "tr0ub4dor-canary"
KEY = "AKIA" + "QWERTYUIOPASDFGH"
SARIF = {
    "log": {"$schema", "version", "runs"},
    "run": {"tool", "columnKind", "invocations", "results"},
    "driver": {"name", "semanticVersion", "rules"},
    "rule": {"id", "name", "shortDescription", "help", "defaultConfiguration"},
    "result": {"ruleId", "ruleIndex", "level", "message", "locations"}
    | {"partialFingerprints"},
    "region": {"startLine", "startColumn", "endLine", "endColumn"},
}


@pytest.fixture
def write(tmp_path):
    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    return written


def found(path):
    """Return ``(file, line, rule)`` of all findings."""
    return Counter((Path(f.path).name, f.line, f.rule) for f in audit([path]).findings)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_what_is_planted_is_found_where_it_is_and_nothing_else(name, tmp_path, write):
    files = PLANTED[name]
    wanted = Counter()
    for file, text in (files if isinstance(files, dict) else {"x.py": files}).items():
        path = write(file, text)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for rule in re.findall(r"DZ\d{3}", line.partition("#!")[2]):
                wanted[path.name, number, rule] += 1
    assert wanted
    assert found(tmp_path) == wanted


@pytest.mark.parametrize("name", sorted(DECOYS))
def test_what_only_looks_alike_is_not_found(name, tmp_path, write):
    write("x.py", DECOYS[name])
    assert not found(tmp_path)


def test_every_rule_is_planted():
    told = set(re.findall(r"DZ[1-9]\d{2}", repr(PLANTED)))
    assert told == {rule for rule in RULES if not rule.startswith("DZ0")}


def test_no_secret_is_told(write, capsys):
    path = write(
        "x.py",
        f"""
        import boto3
        boto3.client("s3", aws_access_key_id="{KEY}", aws_secret_access_key="{CANARY}")
        a = "postgresql://u:{CANARY}@h/d"
        b = "host=h user=u password={CANARY}"
        password = "{CANARY}"
        c = dict(host="h", passwd=f"{CANARY}")
        """,
    )
    for form in ({}, {"as_json": True}, {"as_sarif": True}):
        assert run([path], **{"as_json": False, "as_sarif": False} | form) == 1
    told = "".join(capsys.readouterr())
    assert CANARY not in told
    assert KEY not in told
    assert told.count("DZ403") > 2


def test_columns_count_characters_and_lines_are_those_of_the_editor(write):
    path = write("x.py", 'import boto3\nä = "äöü"; boto3.client("s3")\x0c\n')
    (one,) = audit([path]).findings
    assert (one.line, one.column, one.end_line, one.end_column) == (2, 12, 2, 30)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"def f(:\n", "invalid syntax"),
        (b"x = '\xff'\n", "encoding declaration"),
        (b"# coding: no-such-code\n", "unknown encoding"),
        (b"# coding: rot13\n", "cannot be read"),
        (b"x = 1\x00\n", "null byte"),
        (b"x = " + b"-" * 50_000 + b"1", "nested too deeply"),
        (b"x = " + b"(" * 500 + b")" * 500, "nested parentheses"),
        (b"#" * 9_000_000, "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(raw, told, tmp_path):
    (tmp_path / "x.py").write_bytes(raw)
    (one,) = audit([tmp_path]).findings
    assert one.rule == "DZ001"
    assert told in one.message


def test_other_encodings_are_read(tmp_path):
    path = tmp_path / "x.py"
    text = '# coding: latin-1\nimport boto3\nx = "\xe9"; boto3.client("s3")\n'
    path.write_bytes(text.encode("latin-1"))
    (one,) = audit([path]).findings
    assert (one.line, one.column) == (3, 10)


def test_installed_and_hidden_code_is_skipped_unless_it_is_named(tmp_path, write):
    bad = "import boto3\nboto3.client('s3')\n"
    for name in (".venv/x.py", "node_modules/x.py", "env/x.py", "a/__pycache__/x.py"):
        write(name, bad)
    write("env/pyvenv.cfg", "")
    write("notes.txt", bad)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert audit([tmp_path]).files == 0
    assert audit([tmp_path / ".venv"]).findings
    assert audit([tmp_path / "notes.txt"]).findings


def test_notebooks_are_read_cell_by_cell(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["boto3.client('s3')"]},
        {"cell_type": "code", "source": ["%pip install boto3\n", "import boto3 as b"]},
        {"cell_type": "code", "source": "x = 1\ny = b.client('s3')"},
        {"cell_type": "code", "source": ["%%bash\n", "echo ("]},
    ]
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": cells}, indent=1))
    (one,) = audit([tmp_path]).findings
    assert (one.cell, one.column, one.rule) == (3, 5, "DZ101")
    assert "b.client" in path.read_text().splitlines()[one.line - 1]
    path.write_text("{}")
    assert found(tmp_path) == {("x.ipynb", 1, "DZ001"): 1}


def test_comments_allow_with_a_reason(tmp_path, write):
    write(
        "x.py",
        """
        import boto3
        boto3.client("s3")  # dropzone: allow DZ101 the pool of this project
        # dropzone: allow DZ1,DZ2 also the line below
        boto3.client("s3")
        boto3.client(
            "s3",  # dropzone: allow DZ101 within the call
        )
        boto3.client("s3")  # dropzone: allow DZ201 another rule
        boto3.client("s3")  # dropzone: allow DZ101
        boto3.client("s3")  # dropzone: allow DZ999 no such rule
        "# dropzone: allow DZ101 a text"; boto3.client("s3")
        # dropzone: allow DZ101 nothing here any more
        x = 1
        """,
    )
    report = audit([tmp_path])
    assert report.allowed == 3
    assert [(f.line, f.rule) for f in report.findings] == [
        (8, "DZ002"),
        (8, "DZ101"),
        (9, "DZ003"),
        (9, "DZ101"),
        (10, "DZ003"),
        (10, "DZ101"),
        (11, "DZ101"),
        (12, "DZ002"),
    ]


LIST = """
[[tool.dropzone.audit.allow]]
paths = ["src/pool", "*.py"]
rules = ["DZ101"]
reason = "The pool."
[[tool.dropzone.audit.allow]]
paths = ["**/test_*.py"]
rules = ["DZ"]
reason = "Tests."
"""


def test_a_list_allows_with_a_reason(tmp_path, write):
    bad = "import boto3\nboto3.client('s3')\n"
    for name in ("src/pool/a/b.py", "src/poolx.py", "c.py", "src/test_x.py"):
        write(name, bad)
    write("pyproject.toml", LIST)
    report = audit([tmp_path])
    assert [Path(f.path).name for f in report.findings] == ["poolx.py"]
    assert report.allowed == 3
    # Its own folder decides, not the one that audit is called in.
    assert not audit([tmp_path / "src" / "pool"]).findings


def test_entries_that_allow_nothing_are_found_when_all_they_stand_for_was_read(
    tmp_path, write
):
    write("src/pool/a.py", "x = 1\n")
    write("pyproject.toml", LIST)
    unused = [(f.line, f.rule) for f in audit([tmp_path]).findings]
    assert unused == [(1, "DZ002"), (5, "DZ002")]
    assert not audit([tmp_path / "src/pool/a.py"]).findings
    assert not audit([tmp_path / "src"]).findings


def test_everything_wrong_in_a_list_is_told_at_once_with_its_line(tmp_path, write):
    write(
        "pyproject.toml",
        """
        [[tool.dropzone.audit.allow]]
        paths = ["x"]
        rules = ["DZ1O1"]
        [[tool.dropzone.audit.allow]]
        path = ["x"]
        rules = []
        reason = "y"
        """,
    )
    with pytest.raises(ConfigurationError) as caught:
        audit([tmp_path])
    told = caught.value.message.splitlines()
    assert [re.sub(r".*toml, ", "", line) for line in told] == [
        "line 1: there is no rule 'DZ1O1'; did you mean 'DZ101'?",
        "line 1: the reason is missing",
        "line 4: there is no key 'path'; known: paths, rules, reason",
        "line 4: paths must be a list of texts",
        "line 4: rules must be a list of texts",
    ]
    write("pyproject.toml", "[tool.dropzone.audit]\nallowed = []\n")
    with pytest.raises(ConfigurationError):
        audit([tmp_path])


def test_wrong_use_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        audit([tmp_path / "none"])
    with pytest.raises(UsageError, match="not both"):
        run([tmp_path], as_json=True, as_sarif=True)


def test_many_files_are_read_by_several_processes(tmp_path, write):
    for number in range(160):
        write(f"m{number}.py", "import boto3\nboto3.client('s3')\n")
    report = audit([tmp_path], processes=2)
    assert len(report.findings) == report.files == 160
    assert report.findings == sorted(report.findings)


def test_sarif_has_what_the_format_asks_for(write):
    text = "import boto3\ndef f():\n    boto3.client('s3')\n    boto3.client('s3')\n"
    path = write("with space.py", text)
    log = document(audit([path]).findings, "1.2.3")
    assert set(log) == SARIF["log"]
    assert log["version"] == "2.1.0"
    (made,) = log["runs"]
    assert set(made) == SARIF["run"]
    assert set(made["tool"]["driver"]) == SARIF["driver"]
    rules = made["tool"]["driver"]["rules"]
    assert all(set(rule) == SARIF["rule"] for rule in rules)
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in made["results"]:
        assert set(result) == SARIF["result"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
        place = result["locations"][0]["physicalLocation"]
        assert "%20" in place["artifactLocation"]["uri"]
        assert set(place["region"]) == SARIF["region"]
        assert min(place["region"].values()) >= 1
    prints = [r["partialFingerprints"]["dropzone/v1"] for r in made["results"]]
    assert len(set(prints)) == 2
    # Lines that are added above do not make new findings of old ones.
    path.write_text("\n\n" + text)
    again = document(audit([path]).findings, "1.2.3")["runs"][0]["results"]
    assert [r["partialFingerprints"]["dropzone/v1"] for r in again] == prints


def test_the_command_tells_and_ends_with_its_code(tmp_path, write, capsys):
    path = write("x.py", "import boto3\nboto3.client('s3')\n")
    line = [sys.executable, "-m", "dropzone", "audit", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{path}:2:1: DZ101 boto3.client makes an AWS client")
    assert run([path], as_json=True, as_sarif=False) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["line"] == 2
    path.write_text("x = 1\n")
    assert run([path], as_json=False, as_sarif=False) == 0
    assert capsys.readouterr().out == "Nothing found in 1 file.\n"


def test_the_standard_library_does_not_break_it():
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py"))[::20]:
        assert audit_file(path, path.name).path == path


PIECES = st.sampled_from(
    [
        *(
            "import boto3",
            "from boto3 import *",
            "x = boto3.client",
            "x('s3')",
            "del x",
        ),
        *("class A(boto3.Session): x = self", "def f(x=boto3): return x", "f()()()"),
        *(
            "global x",
            "async def g(self, *a, **k): yield boto3",
            "lambda: x",
            "x = x.x",
        ),
        *("getattr(x)", "getattr(boto3, x)", "__import__()", "x: 'boto3.' = 1"),
        *(
            "match x:\n  case {'a': boto3, **x}: x()",
            "x[0] = password = f'{x}'",
            "a, *b = x",
        ),
        *(
            "try: x\nexcept* x as boto3: x",
            "with x as (a, b): pass",
            "[x for x in (x, boto3)]",
        ),
        *("import functools", "x = functools.partial()", "x = x = f = boto3", "x += x"),
        "vars()['x']",
    ]
)


@given(st.lists(PIECES, max_size=12))
def test_any_source_is_read_to_its_end(tmp_path_factory, pieces):
    path = tmp_path_factory.getbasetemp() / "any.py"
    path.write_text("\n".join(pieces))
    assert all(f.line >= 1 for f in audit_file(path, "any.py").findings)


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "bytes.py"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace"))
    assert {f.rule for f in audit_file(path, "bytes.py").findings} <= set(RULES)
