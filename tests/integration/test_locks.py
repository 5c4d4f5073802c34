"""What the image installs, and under which licences."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^[A-Za-z0-9]\S*==[^\\;\s]+", re.MULTILINE)
VENDOR = re.compile(r"https?://|--(extra-)?index-url|--find-links")


def pins(name: str) -> set[str]:
    return set(PIN.findall((ROOT / name).read_text()))


def left_out() -> set[str]:
    told = re.search(r"LEFT_OUT := ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text())
    assert told
    return set(told[1].replace("\\\n", " ").split())


def test_the_image_gets_the_versions_that_the_tests_run_with():
    locked = pins("requirements.lock")
    assert locked
    assert locked - pins("constraints.txt") == set()


def test_every_version_is_fixed_by_hashes_and_names_no_index():
    for name in ("requirements.lock", "image/build.lock"):
        text = (ROOT / name).read_text()
        parts = [
            part for part in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if part
        ]
        assert all("--hash=sha256:" in part for part in parts), name
        assert not VENDOR.search(text), name
    assert not VENDOR.search((ROOT / "constraints.txt").read_text())


def test_all_that_we_depend_on_is_locked_or_left_out_by_name():
    wanted = re.search(
        r"^dependencies = \[(.*?)^\]",
        (ROOT / "pyproject.toml").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert wanted
    names = re.findall(r'"([\w.-]+)', wanted[1])
    locked = {pin.partition("==")[0] for pin in pins("requirements.lock")}
    normal = {name.lower().replace("_", "-") for name in names}
    assert normal <= locked
    assert not left_out() & locked


def run(*arguments: object, path: Path | None = None):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={"PYTHONPATH": str(path)} if path else None,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_bill_of_materials_has_hashes_and_licences(tmp_path: Path):
    output = tmp_path / "sbom.json"
    lock = "requirements.lock"
    done = run("image/sbom.py", lock, "3.12", output, *sorted(left_out()))
    assert done.returncode == 0, done.stderr
    bill = json.loads(output.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "dropzone-daemon"
    components = bill["components"]
    assert all(one["licenses"][0]["expression"] for one in components)
    assert all(one["externalReferences"][0]["hashes"] for one in components)
    made_of = {f"{one['name']}=={one['version']}" for one in components}
    # One version of each, that of the image's Python, and none for other systems.
    assert len({name.partition("==")[0] for name in made_of}) == len(components)
    assert made_of <= pins(lock)
    assert "pywin32" not in output.read_text()
    listed = {line.split("\t")[0].lower() for line in done.stdout.splitlines()}
    assert {"mlflow", "psycopg", "matplotlib"} <= listed
    assert "AGPL" not in done.stdout


@pytest.mark.parametrize(
    ("metadata", "accepted"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License-Expression: MIT AND Apache-2.0", "MIT AND Apache-2.0"),
        ("License-Expression: AGPL-3.0-only", None),
        ("License-Expression: MIT AND AGPL-3.0-or-later", None),
        ("License: GNU Affero General Public License v3", None),
        ("License: BUSL-1.1", None),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT"),
        ("Classifier: License :: OSI Approved", None),
        ("Summary: says nothing", None),
    ],
)
def test_a_licence_is_accepted_or_stops_the_build(
    tmp_path: Path, metadata: str, accepted: str | None
):
    folder = tmp_path / "planted-1.0.dist-info"
    folder.mkdir()
    head = "Metadata-Version: 2.4\nName: planted\nVersion: 1.0\n"
    (folder / "METADATA").write_text(f"{head}{metadata}\n")
    code = (
        "import sys; sys.path.insert(0, 'image'); import licences;"
        "sys.exit(licences.show(licences.installed({'planted'})))"
    )
    done = run("-c", code, path=tmp_path)
    if accepted:
        assert (done.returncode, done.stdout) == (0, f"planted\t1.0\t{accepted}\n")
    else:
        assert done.returncode == 1
        assert "planted 1.0: not an accepted licence" in done.stderr
