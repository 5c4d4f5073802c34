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
_RUN = """async tags => {
    let changed = false;
    const watch = new MutationObserver(() => { changed = true; });
    watch.observe(document, {
        subtree: true, childList: true, attributes: true, characterData: true,
    });
    const told = {passes: 0, violations: [], error: ""};
    try {
        const result = await axe.run({runOnly: {type: "tag", values: tags}});
        told.passes = result.passes.length;
        told.violations = result.violations;
    } catch (error) {
        told.error = String(error);
    }
    changed ||= watch.takeRecords().length > 0;
    watch.disconnect();
    return {...told, changed};
}"""
_TRIES = 10


def check_accessible(page: Page) -> None:
    """Fail with all that axe-core finds on the page as it is now, each with where."""
    found = findings(page)
    assert not found, f"{page.url} is not accessible:\n" + "\n".join(found)


def findings(page: Page) -> list[str]:
    """Return what is wrong, a line for each element."""
    # Not a script of the page: its policy would forbid one that is not our file.
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_AXE)
    for _ in range(_TRIES):
        result = page.evaluate(_RUN, list(_TAGS))
        wrong = result["violations"] or result["error"]
        # What is told of a page that was redrawn meanwhile may be true of neither.
        if not (wrong and result["changed"]):
            break
    assert not result["error"], result["error"]
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
