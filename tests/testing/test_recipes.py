"""The page on testing spans, run as one suite, as somebody would paste it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from suites import run_suite

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-spans.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_recipe_passes_as_pasted(tmp_path):
    """All of its blocks, one below the other, in an empty folder."""
    for needed in ("flask", "grpc", "requests", "celery"):
        pytest.importorskip(needed)
    (tmp_path / "test_page.py").write_text("\n\n".join(BLOCKS), encoding="utf-8")
    said = run_suite(tmp_path)
    assert "11 passed" in said, said
