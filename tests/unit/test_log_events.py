"""Every event of the log is explained where an operator looks."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def events() -> Iterator[tuple[str, str]]:
    """Yield each logged event and where."""
    for path in sorted((ROOT / "daemon" / "dropzone").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and any(
                    word in ast.unparse(node.func.value) for word in ("log", "event")
                )
                and node.args
            ):
                event = ast.unparse(node.args[0])
                yield ast.literal_eval(event), f"{path.name}:{node.lineno}"


def test_each_event_is_explained() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    told = list(events())
    assert len(told) > 30
    assert not [(event, at) for event, at in told if f"`{event}`" not in guide]


def test_events_are_words() -> None:
    assert not [(event, at) for event, at in events() if "_" in event]
