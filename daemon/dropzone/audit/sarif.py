"""Findings as SARIF 2.1.0, which code hosts and editors show beside the code."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dropzone.audit.findings import Finding
from dropzone.audit.rules import RULES

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def document(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """Return the log; paths stay relative to where they are, columns are characters."""
    driver = {
        "name": "dropzone audit",
        "semanticVersion": version,
        "rules": [
            {
                "id": rule.id,
                "name": "".join(map(str.capitalize, rule.name.split("-"))),
                "shortDescription": {"text": rule.sentence.format("...")},
                "help": {"text": rule.instead},
                "defaultConfiguration": {"level": _level(rule.id)},
            }
            for rule in RULES.values()
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": int(bool(findings))}],
        "results": list(_results(findings)),
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    indexes = {rule: index for index, rule in enumerate(RULES)}
    alike: Counter[tuple[str, ...]] = Counter()
    for one in findings:
        kind = (one.path, one.rule, one.within, one.subject)
        alike[kind] += 1
        yield {
            "ruleId": one.rule,
            "ruleIndex": indexes[one.rule],
            "level": _level(one.rule),
            "message": {"text": f"{one.message}. {RULES[one.rule].instead}"},
            "locations": [_location(one)],
            "partialFingerprints": {"dropzone/v1": one.fingerprint(alike[kind])},
        }


def _location(one: Finding) -> dict[str, Any]:
    path = Path(one.path)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    region = {"startLine": one.line, "startColumn": one.column}
    if (one.end_line, one.end_column) > (one.line, one.column):
        region |= {"endLine": one.end_line, "endColumn": one.end_column}
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}
    }
    if one.within:
        location["logicalLocations"] = [{"fullyQualifiedName": one.within}]
    return location


def _level(rule: str) -> str:
    return "warning" if rule in {"DZ002", "DZ003"} else "error"
