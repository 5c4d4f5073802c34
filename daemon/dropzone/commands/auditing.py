"""The command ``audit``: what was found, as text, JSON or SARIF."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dropzone import __version__
from dropzone.audit import RULES, Report, audit
from dropzone.audit.sarif import document
from dropzone.commands import output
from dropzone.commands.command import PROBLEM
from dropzone.errors import UsageError


def run(paths: list[Path], *, as_json: bool, as_sarif: bool) -> int:
    """Print what is below ``paths``; return the exit code."""
    if as_json and as_sarif:
        raise UsageError("Say --json or --sarif, not both.")
    report = audit(paths)
    if as_json:
        output.print_json(_plain(report))
    elif as_sarif:
        print(json.dumps(document(report.findings, __version__), indent=2))
    else:
        for line in _lines(report):
            print(line)
    return PROBLEM if report.findings else 0


def _plain(report: Report) -> dict[str, object]:
    findings = [
        {
            "path": one.path,
            "line": one.line,
            "column": one.column,
            "end_line": one.end_line,
            "end_column": one.end_column,
            "cell": one.cell or None,
            "within": one.within,
            "rule": one.rule,
            "subject": one.subject,
            "message": one.message,
            "instead": RULES[one.rule].instead,
        }
        for one in report.findings
    ]
    return {"findings": findings, "files": report.files, "allowed": report.allowed}


def _lines(report: Report) -> Iterator[str]:
    for one in report.findings:
        place = f"{one.path}:{one.line}:{one.column}"
        cell = f" (cell {one.cell})" if one.cell else ""
        yield f"{place}: {one.rule} {one.message}{cell}"
    counts = Counter(one.rule for one in report.findings)
    if counts:
        yield "\nWhat to do:"
    for rule, count in sorted(counts.items()):
        yield f"  {rule} ({count}): {RULES[rule].instead}"
    found = _count(len(report.findings), "finding") if counts else "Nothing found"
    allowed = f", {report.allowed} allowed" if report.allowed else ""
    yield f"{found} in {_count(report.files, 'file')}{allowed}."


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
