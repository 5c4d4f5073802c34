"""Audits whole code bases, on all cores."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dropzone.audit import allowing, sources
from dropzone.audit.catalogue import Values, leads
from dropzone.audit.findings import Finding
from dropzone.audit.one import Audited, audit_file, module_name
from dropzone.errors import DropzoneError, UsageError
from dropzone.text import display

_TOGETHER = 32
# Fewer files are read in less time than processes take to start.
_WORTH_PROCESSES = 150
_ROUNDS = 3
Exports = dict[str, dict[str, Values]]
Task = tuple[Path, str, Mapping[str, Values]]


@dataclass
class Report:
    """The findings in order of their place; how many files, and findings allowed."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    allowed: int = 0


def audit(paths: Sequence[Path], *, processes: int | None = None) -> Report:
    """Read every Python file below ``paths``.

    Raises:
        UsageError: a path cannot be read.
        DropzoneError: a process that read the code was killed.
        ConfigurationError: an allow-list is wrong.

    """
    allow = _AllowList(paths)
    found = {path: display(bytes(path)) for path in _files(paths)}
    with _Workers(processes or os.cpu_count() or 1, len(found)) as workers:
        audited = _rounds(found, workers)
    report = Report(files=len(found))
    for one in audited:
        report.allowed += one.allowed
        for finding in one.findings:
            if allow.allows(finding.rule, one.path):
                report.allowed += 1
            else:
                report.findings.append(finding)
    report.findings += allow.unused()
    report.findings.sort()
    return report


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            yield from sources.files(path)
        except OSError as error:
            shown = display(bytes(path))
            raise UsageError(f"{shown} cannot be read: {error.strerror}.") from None


def _rounds(found: Mapping[Path, str], workers: "_Workers") -> Iterable[Audited]:
    """Audit every file, and again those that import what makes clients elsewhere."""
    first = workers.run((path, shown, {}) for path, shown in found.items())
    audited = {one.path: one for one in first}
    known: dict[Path, dict[str, Values]] = {}
    for _ in range(_ROUNDS):
        exports = _exported(audited.values())
        reached = {path: _reached(one, exports) for path, one in audited.items()}
        again = [path for path in found if reached[path] != known.get(path, {})]
        if not again:
            break
        tasks = [(path, found[path], reached[path]) for path in again]
        audited |= {one.path: one for one in workers.run(tasks)}
        known = reached
    return audited.values()


def _exported(audited: Iterable[Audited]) -> Exports:
    """Return what modules export that could make a client, but for their own code."""
    exported: Exports = {}
    for one in audited:
        usable = {
            name: followed
            for name, values in one.exports.items()
            if (followed := frozenset(filter(leads, values)))
        }
        if usable:
            exported[module_name(one.path)[0]] = usable
    return exported


def _reached(one: Audited, exports: Exports) -> dict[str, Values]:
    """Return what this file may take from other modules, by dotted name."""
    reached: dict[str, Values] = {}
    own, _ = module_name(one.path)
    for module, names in exports.items():
        if module == own or module.rpartition(".")[2] not in one.imported:
            continue
        # Most modules that make a client "export" boto3, and few files import it there.
        if "*" in one.imported or any(
            name in one.imported or not _is_plain(name, values)
            for name, values in names.items()
        ):
            reached |= {f"{module}.{name}": values for name, values in names.items()}
    return reached


def _is_plain(name: str, values: Values) -> bool:
    """Return True for what is imported under its own name, as in ``import boto3``."""
    return all(value.rpartition(".")[2] == name for value in values)


class _Workers:
    """Processes that audit files, if there are enough of them to be worth it."""

    def __init__(self, processes: int, files: int) -> None:
        many = processes > 1 and files >= _WORTH_PROCESSES
        self._pool = ProcessPoolExecutor(processes) if many else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, tasks: Iterable[Task]) -> Iterator[Audited]:
        """Yield what is in each file, in the order of the tasks."""
        if self._pool is None:
            yield from itertools.starmap(audit_file, tasks)
            return
        try:
            for group in self._pool.map(_some, _groups(tasks)):
                yield from group
        except BrokenProcessPool:
            raise DropzoneError(
                "A process that read the code was killed.",
                hint="Memory may have run out: audit fewer folders at once.",
            ) from None


def _some(tasks: Sequence[Task]) -> list[Audited]:
    return list(itertools.starmap(audit_file, tasks))


def _groups(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    rest = iter(tasks)
    while group := list(itertools.islice(rest, _TOGETHER)):
        yield group


class _AllowList:
    """The lists that hold for the audited paths, and whether each entry was needed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        absolute = [Path(os.path.abspath(path)) for path in paths]
        self._folders = [path for path in absolute if path.is_dir()]
        entries = [entry for path in absolute for entry in allowing.entries(path)]
        self._entries = {(entry.file, entry.line): entry for entry in entries}

    def allows(self, rule: str, path: Path) -> bool:
        if rule in {"DZ002", "DZ003"}:
            return False
        whole = Path(os.path.abspath(path))
        allowing_it = [
            entry for entry in self._entries.values() if entry.allows(rule, whole)
        ]
        for entry in allowing_it:
            entry.used = True
        return bool(allowing_it)

    def unused(self) -> Iterator[Finding]:
        """Yield the entries that allow nothing, of those that could have."""
        for entry in self._entries.values():
            if not entry.used and entry.lies_within(self._folders):
                shown = display(bytes(Path(os.path.relpath(entry.file))))
                told = (
                    f"this entry ({', '.join(entry.paths)}: {', '.join(entry.rules)})"
                )
                yield Finding(shown, entry.line, 1, "DZ002", told, entry.line, 1)
