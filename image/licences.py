"""Lists the licence of every installed package.

Ends with 1 at a licence that is not on the list of those we accept: AGPL and other
licences that bind whoever runs a server, and those nobody could tell.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

# What packages write, in small letters and without the filler around it, and how SPDX
# calls it. Licences that are not here are not accepted.
_SPDX = {
    "0bsd": "0BSD",
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0",
    "isc": "ISC",
    "iscl": "ISC",
    "lgpl-3.0-only": "LGPL-3.0-only",
    "mit": "MIT",
    "mit-0": "MIT-0",
    "mit-cmu": "MIT-CMU",
    "mozilla public license 2.0 mpl 2.0": "MPL-2.0",
    "mpl-2.0": "MPL-2.0",
    "psf-2.0": "PSF-2.0",
    "python": "PSF-2.0",
    "python software foundation": "PSF-2.0",
    "zlib": "Zlib",
}
# Packages whose own words are no expression, and what their licence files say.
_READ_BY_US = {
    # "BSD-3-Clause, Apache-2.0, dependency licenses": those of PDFium, all permissive.
    "pypdfium2": "BSD-3-Clause AND Apache-2.0",
    # None in the metadata.
    "huey": "MIT",
    # A licence of its own, after that of Python.
    "matplotlib": "LicenseRef-Matplotlib",
    # "Dual License": Apache for what was added since 2017, BSD for what was before.
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    # Only "OSI Approved".
    "skops": "MIT",
}
_WHAT_TO_DO = (
    "Leave the package out, or read its licence and add it to the lists in "
    "image/licences.py."
)
_FILLER = re.compile(r"\b(osi approved|the|software|licen[cs]e|version)\b|[()]|::")


class Unknown(Exception):
    """Nobody has accepted this licence; the message is what the package says."""


def licence_of(package: Distribution) -> str:
    """Return the licence as an SPDX expression.

    Raises:
        Unknown: it is none that we accept, or not to be told.

    """
    name = normal(package.name)
    if name in _READ_BY_US:
        return _READ_BY_US[name]
    said = list(_said(package))
    for text in said:
        if (expression := _expression(text)) is not None:
            return expression
    raise Unknown(", ".join(text.splitlines()[0] for text in said) or "nothing")


def normal(name: str) -> str:
    """Return a package's name as all spellings of it are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(names: set[str] | None = None) -> list[Distribution]:
    """Return the installed packages, all or those named, sorted.

    Raises:
        LookupError: one that is named is not installed.

    """
    found = {normal(one.name): one for one in distributions()}
    if names is not None:
        if missing := names - found.keys():
            raise LookupError(f"not installed: {', '.join(sorted(missing))}")
        found = {name: found[name] for name in names}
    return [one for _, one in sorted(found.items())]


def _said(package: Distribution) -> Iterator[str]:
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        yield expression
    if text := (metadata.get("License") or "").strip():
        yield text
    for line in metadata.get_all("Classifier") or []:
        if line.startswith("License ::"):
            yield line.removeprefix("License ::")


def _expression(text: str) -> str | None:
    words = []
    for part in re.split(r"\b(AND|OR)\b", text):
        if part in {"AND", "OR"}:
            words.append(part)
            continue
        plain = " ".join(_FILLER.sub(" ", part.lower()).split())
        if plain not in _SPDX:
            return None
        words.append(_SPDX[plain])
    return " ".join(words)


def main() -> int:
    """Print the list; return 1 if a licence in it is not accepted."""
    return show(installed())


def show(packages: list[Distribution]) -> int:
    """Print the licences of these packages; return 1 if one is not accepted."""
    refused = False
    for package in packages:
        try:
            print(f"{package.name}\t{package.version}\t{licence_of(package)}")
        except Unknown as error:
            refused = True
            told = f"{package.name} {package.version}: not an accepted licence: {error}"
            print(told, file=sys.stderr)
    if refused:
        print(_WHAT_TO_DO, file=sys.stderr)
    return int(refused)


if __name__ == "__main__":
    sys.exit(main())
