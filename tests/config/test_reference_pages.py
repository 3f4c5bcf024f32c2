"""The reference pages that are printed from tables say what the tables say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = runpy.run_path(str(DOCS / "__main__.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_its_table_prints(name):
    """``make docs`` would change nothing."""
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == PAGES[name]()


def test_the_changelog_comes_from_fragments():
    """It says nothing that no fragment says (``make docs`` adds what it does not say yet)."""
    made = runpy.run_path(str(DOCS / "__main__.py"))["changelog"]()
    said = (DOCS / "changelog.md").read_text(encoding="utf-8")
    assert {line for line in said.splitlines() if line not in made.splitlines()} == set()
    for fragment in (DOCS / "changelog.d").glob("*.md"):
        assert fragment.read_text(encoding="utf-8").strip() in made


def test_the_rationale_lists_its_questions():
    """Its page names each package's page, and no question that is not asked there."""
    made = runpy.run_path(str(DOCS / "__main__.py"))["rationale"]()
    said = (DOCS / "explanation" / "rationale.md").read_text(encoding="utf-8")
    assert set(said.splitlines()) <= set(made.splitlines())
    for page in (DOCS / "explanation").glob("rationale-*.md"):
        assert f"]({page.name}#why" in said


def test_the_diagrams_come_from_their_tables():
    """``make docs`` would change none, and each is on a page."""
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for name, picture in runpy.run_path(str(DOCS / "__main__.py"))["diagrams"]().items():
        assert (DOCS / name).read_text(encoding="utf-8") == picture
        assert f"]({Path(name).name})" in pages
