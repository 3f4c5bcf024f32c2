"""Facts that more than one page states: they come from the code, or from a command beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracekit.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    page
    for page in [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
    if "changelog" not in str(page)  # it tells what was
]
FACTS = {
    r"(\d[\d ,]*) bytes (?:per|in) \d+ ms": "max_burst_bytes",
    r"bytes (?:per|in) (\d+) ms": "burst_pause_s",
    r"exit budget[\s|]*\(?(?:is )?(\d+) s\b": "exit_budget_s",
    r"`TRACEKIT_EXIT_BUDGET` \| (\d+) s \|": "exit_budget_s",
    r"(\d+) s exit budget": "exit_budget_s",
}
"""How pages state a setting's default, and whose it is."""
UNITS = {"burst_pause_s": 0.001}


@pytest.mark.parametrize("pattern", FACTS)
def test_a_default_told_is_the_settings(pattern):
    """Whoever changes a default changes every page that tells it."""
    stated = [
        (page.name, float(re.sub("[ ,]", "", found)))
        for page in PAGES
        for found in re.findall(pattern, page.read_text("utf-8"))
    ]
    name = FACTS[pattern]
    default = Settings.from_fields({}, environ={}).flat()[name]
    assert stated
    assert {value * UNITS.get(name, 1) for _, value in stated} == {default}, stated


def test_a_ratio_stands_beside_its_command():
    """No page but those that name what prints their tables says how many times as fast we are."""
    ratio = re.compile("[0-9] \N{MULTIPLICATION SIGN}")
    measured = [page for page in PAGES if ratio.search(page.read_text("utf-8"))]
    assert measured
    for page in measured:
        assert re.search(r"make bench|python tests/bench/", page.read_text("utf-8")), page
