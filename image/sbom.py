"""Writes what the image is made of as CycloneDX, and prints every licence.

Versions and hashes are those of the lock file for the image's Python; licences are
those of the packages that are installed here. The list of licences covers also the
packages that ``pip install`` brings and the image leaves out.

usage: sbom.py LOCK PYTHON OUTPUT [LEFT_OUT...]
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import licences
from packaging.markers import Marker

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==[^ ;]+( ; (?P<marker>[^\\]+))?")


def main() -> int:
    """Return 1 if a licence is not accepted."""
    lock, python, output = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    pins = _pins(lock.read_text(encoding="utf-8"), python)
    packages = licences.installed({*pins, *map(licences.normal, sys.argv[4:])})
    if licences.show(packages):
        return 1
    bill = _bill("".join(pins.values()))
    known = {licences.normal(one.name): licences.licence_of(one) for one in packages}
    for component in bill["components"]:
        # The line of the lock, with every hash once more.
        del component["description"]
        licence = known[licences.normal(component["name"])]
        component["licenses"] = [{"expression": licence}]
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    return 0


def _pins(lock: str, python: str) -> dict[str, str]:
    """Return the part of the lock that is installed on Linux, by normal name."""
    system = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }
    found = {}
    for part in re.split(r"^(?=\S)", lock, flags=re.MULTILINE):
        pin = _PIN.match(part)
        if pin and (not pin["marker"] or Marker(pin["marker"]).evaluate(system)):
            found[licences.normal(pin["name"])] = part
    return found


def _bill(lock: str) -> dict[str, Any]:
    made = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements"),
            *("--output-format", "JSON", "--spec-version", "1.6"),
            *("--output-reproducible", "--pyproject", "pyproject.toml", "-"),
        ],
        input=lock.encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    bill: dict[str, Any] = json.loads(made.stdout)
    return bill


if __name__ == "__main__":
    sys.exit(main())
