"""The alerts and the dashboard: right by promtool, whole, and laid out."""

import re
import shutil
import subprocess

import pytest
import yaml

from deployed import ALERTS, ALERTS_TEST, DASHBOARD, DEPLOY, alerts, panels, queries

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing (Debian: prometheus)"
)


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(PROMTOOL), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_promtool
def test_the_rules_are_right_and_their_tests_pass():
    checked = promtool("check", "rules", str(ALERTS))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", str(ALERTS_TEST))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_both_ways_and_says_what_to_do():
    tests = yaml.safe_load(ALERTS_TEST.read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for rule in alerts():
        own = [case for case in cases if case["alertname"] == rule["alert"]]
        assert {bool(case["exp_alerts"]) for case in own} == {True, False}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "what_to_do"}


def test_every_alert_is_documented_and_no_other():
    page = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(Dropzone\w+)`", page, re.MULTILINE))
    assert documented == {rule["alert"] for rule in alerts()}


@needs_promtool
def test_every_query_of_the_dashboard_can_be_read(tmp_path):
    rules = []
    for number, query in enumerate(
        query for query in queries() if "label_" not in query
    ):
        plain = query.replace("$__rate_interval", "5m").replace("$", "x")
        rules.append({"record": f"query_{number}", "expr": plain})
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_panels_are_laid_out_and_named():
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_every_panel_asks_the_chosen_data_source_for_what_was_chosen():
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance", "zone"}
    for panel in panels():
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {
                "type": "prometheus",
                "uid": "${datasource}",
            }
    used = set(re.findall(r"\$(\w+)", " ".join(queries())))
    assert used <= {*variables, "__rate_interval"}
    for query in queries():
        if "$" in query and "label_values" not in query:
            assert "$instance" in query
