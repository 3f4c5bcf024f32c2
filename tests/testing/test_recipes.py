"""The page on testing spans, run as one suite, as somebody would paste it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-spans.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_recipe_passes_as_pasted(tmp_path):
    """All of its blocks, one below the other, in an empty folder."""
    for needed in ("flask", "grpc", "requests", "celery"):
        pytest.importorskip(needed)
    (tmp_path / "test_page.py").write_text("\n\n".join(BLOCKS), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "11 passed" in ran.stdout, ran.stdout + ran.stderr
