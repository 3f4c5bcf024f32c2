"""The alert rules and the dashboard of the docs: they work, and name only what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tracekit import metrics

HERE = Path(__file__).parent
FILES = HERE.parents[1] / "docs" / "how-to" / "prometheus"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed"
)

LABELS = {
    row.prometheus + suffix: {*row.labels, "job", "le"}
    for row in metrics.JAEGER + metrics.OWN + metrics.RPC
    for suffix in (("_bucket",) if row.kind == "histogram" else ("",))
}


def alert_expressions():
    (group,) = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def dashboard_expressions():
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels
        for target in panel.get("targets", ())
    }


EXPRESSIONS = alert_expressions() | dashboard_expressions()


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_names_what_exists(where):
    """A renamed figure cannot leave a dead alert or an empty panel behind."""
    expression = EXPRESSIONS[where]
    names = re.findall(r"(?:jaeger|tracekit)_\w+", expression)
    assert names
    assert set(names) <= set(LABELS)
    known = set().union(*(LABELS[name] for name in names))
    grouped = re.findall(r"(?:by|ignoring|on) \(([^)]*)\)", expression)
    matched = re.findall(r"[{,] ?(\w+)=", expression)
    used = {label.strip() for part in grouped for label in part.split(",")} | set(matched)
    assert used <= known


def test_there_are_six_alerts():
    """Spans dropped, queue filling, sender failing, sampler stale, bad headers, keep is full."""
    assert len(alert_expressions()) == 6


@needs_promtool
def test_promtool_accepts_the_rules():
    """The rules are what Prometheus loads."""
    checked = subprocess.run(
        [PROMTOOL, "check", "rules", FILES / "alerts.yml"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "6 rules found" in checked.stdout


@needs_promtool
def test_each_alert_fires_for_its_trouble(tmp_path):
    """A healthy service raises none; each trouble raises the one that is meant for it."""
    scenario = tmp_path / "alerts_test.yml"
    text = (HERE / "alerts_test.yml").read_text()
    scenario.write_text(text.replace("%RULES%", str(FILES / "alerts.yml")))
    tested = subprocess.run(
        [PROMTOOL, "test", "rules", scenario],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
