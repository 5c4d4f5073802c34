"""axe-core over a page: what it finds against WCAG 2.2, levels A and AA."""

from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

# The package holds axe-core itself; its own wrapper is not needed.
_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
_TAGS = (
    *("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"),
    "best-practice",
)
_RUN = "tags => axe.run({runOnly: {type: 'tag', values: tags}})"


def check_accessible(page: Page) -> None:
    """Fail with all that axe-core finds on the page as it is now, each with where."""
    found = findings(page)
    assert not found, f"{page.url} is not accessible:\n" + "\n".join(found)


def findings(page: Page) -> list[str]:
    """Return what is wrong, a line for each element."""
    # Not a script of the page: its policy would forbid one that is not our file.
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_AXE)
    result = page.evaluate(_RUN, list(_TAGS))
    assert result["passes"], "axe-core looked at nothing"
    return [
        _told(rule, node) for rule in result["violations"] for node in rule["nodes"]
    ]


def _told(rule: Any, node: Any) -> str:
    where = " ".join(str(part) for part in node["target"])
    why = "; ".join(
        one["message"] for kind in ("any", "all", "none") for one in node[kind]
    )
    return f"{rule['id']} ({rule['impact']}): {where}: {why or rule['help']}"
