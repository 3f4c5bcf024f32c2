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
