"""Every event of the log is explained where an operator looks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


@pytest.fixture(scope="module")
def events() -> list[tuple[str, str]]:
    """Return each logged event and where."""
    return list(_events())


def _events() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "daemon" / "dropzone").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _tells(node):
                yield ast.literal_eval(node.args[0]), f"{path.name}:{node.lineno}"


def _tells(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or not call.args:
        return False
    name, owner = call.func.attr, ast.unparse(call.func.value)
    if name == "_tell":
        # A component's own way to the log, which passes on the event it is given.
        return isinstance(call.args[0], ast.Constant)
    passed_on = isinstance(call.args[0], ast.Name)
    return name in LEVELS and ("log" in owner or "event" in owner) and not passed_on


def test_each_event_is_explained(events: list[tuple[str, str]]) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert len(events) > 30
    assert not [(event, at) for event, at in events if f"`{event}`" not in guide]


def test_events_are_words(events: list[tuple[str, str]]) -> None:
    assert not [(event, at) for event, at in events if "_" in event]
