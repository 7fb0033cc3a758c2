"""Alerts and dashboard: each alert fires on its fault and nowhere else, has a runbook, and all name what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from gateway import instruments

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy" / "prometheus"
TESTS = ("alerts_test.yml", "alerts_slow_test.yml")
DASHBOARD = ROOT / "deploy" / "grafana" / "tandem.json"
SECTIONS = ["What it means", "What users see", "First look", "What to do", "When it is over"]

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(promtool is None, reason="needs promtool (Debian: apt-get install prometheus)")


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file of rules."""
    groups = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts.yml")
RECORDED = rules("recording.yml")


def run(*arguments: str, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool or "promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def exposed() -> set[str]:
    """Every name that a query may use."""
    names = {"up"} | {rule["record"] for rule in RECORDED}
    for family in instruments.families():
        histogram = family.kind == "histogram"
        names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")} if histogram else {family.name}
    return names


def used(query: str) -> set[str]:
    """The names of metrics in a query."""
    without_labels = re.sub(r"\{[^}]*\}|\bby \([^)]*\)|\$\w+", "", query)
    return set(re.findall(r"\b(?:tandem[_:][\w:]+|up)\b", without_labels))


@needs_promtool
def test_the_rules_and_the_configuration_are_valid() -> None:
    for checked in (
        ("check", "rules", "recording.yml", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ):
        done = run(*checked)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("name", TESTS)
def test_alerts_fire_on_their_fault_and_only_there(name: str) -> None:
    done = run("test", "rules", name)
    assert done.returncode == 0, done.stdout + done.stderr


def spoken_of(what: str) -> set[str]:
    """Alerts that some test expects to fire, or not to."""
    found = set()
    for name in TESTS:
        for test in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["tests"]:
            found |= {
                one["alertname"] for one in test["alert_rule_test"] if bool(one["exp_alerts"]) == (what == "fires")
            }
    return found


def test_every_alert_is_seen_to_fire_and_not_to() -> None:
    names = {rule["alert"] for rule in ALERTS}
    assert spoken_of("fires") == names
    assert spoken_of("quiet") == names


@needs_promtool
@pytest.mark.parametrize(("factor", "what"), [(1e6, "never"), (1e-6, "always")])
def test_a_threshold_that_is_moved_is_found_out(tmp_path: Path, factor: float, what: str) -> None:
    """All are moved at once; the tests of each alert have to fail."""
    text = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    never = what == "never"

    def moved(match: re.Match[str]) -> str:
        sign, number = match[1], float(match[2])
        if sign == "<":
            return f"< {number / factor}"
        if sign == "==":
            return "== 9" if never else ">= 0"
        return f"{sign} {number * factor}" if number else f"{sign} {1e9 if never else -1}"

    # The breakers in `unless` stay: they are of other alerts.
    lines = [
        line if line.strip().startswith("unless") else re.sub(r"(>|<|==) ([\d.e]+)", moved, line)
        for line in text.splitlines()
    ]
    (tmp_path / "alerts.yml").write_text("\n".join(lines), encoding="utf-8")
    for name in ("recording.yml", *TESTS):
        shutil.copy(PROMETHEUS / name, tmp_path / name)
    failed = set()
    for name in TESTS:
        done = run("test", "rules", name, folder=tmp_path)
        assert done.returncode == 1, done.stdout + done.stderr
        failed |= set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert failed == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDED], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_speaks_of_metrics_that_there_are(rule: dict[str, Any]) -> None:
    assert used(rule["expr"])
    assert used(rule["expr"]) <= exposed()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_has_a_runbook_to_follow(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    page = (ROOT / rule["annotations"]["runbook"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == SECTIONS
    first_look = page.split("## First look")[1].split("## ")[0]
    assert "```" in first_look or "`" in first_look
    assert used(first_look) <= exposed()


def test_every_runbook_is_of_an_alert() -> None:
    pages = {f"docs/runbooks/{path.name}" for path in (ROOT / "docs" / "runbooks").iterdir()}
    assert pages == {rule["annotations"]["runbook"] for rule in ALERTS}


def queries() -> list[tuple[str, str]]:
    """Title and query of everything on the dashboard."""
    panels = orjson.loads(DASHBOARD.read_bytes())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize(("title", "query"), queries(), ids=[f"{title}: {query}" for title, query in queries()])
def test_a_panel_speaks_of_metrics_that_there_are(title: str, query: str) -> None:
    assert used(query), title
    assert used(query) <= exposed()


def test_the_dashboard_is_what_its_script_prints() -> None:
    script = ROOT / "tools" / "build_dashboard.py"
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, check=True)
    assert printed.stdout == DASHBOARD.read_bytes()


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    spoken = set().union(
        *(used(query) for _, query in queries()), *(used(rule["expr"]) for rule in [*ALERTS, *RECORDED])
    )
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in spoken}
    assert {family.name for family in instruments.families()} - stems == {"tandem_build_info"}


@needs_promtool
def test_what_is_shown_is_valid_to_prometheus() -> None:
    shown = subprocess.run(
        [promtool or "promtool", "check", "metrics"],
        input=instruments.exposition()[0],
        capture_output=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr.decode()


@needs_promtool
def test_the_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    text = {"groups": [{"name": "dashboard", "rules": []}]}
    for number, (_, query) in enumerate(queries()):
        expr = query.replace("$__rate_interval", "5m")
        text["groups"][0]["rules"].append({"record": f"panel:{number}", "expr": expr})  # type: ignore[attr-defined]
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(text), encoding="utf-8")
    done = run("check", "rules", "dashboard.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
