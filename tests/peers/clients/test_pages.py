"""The programs of the pages about clients, run as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
BLOCKS = [
    pytest.param(code, id=f"{page}:{number}")
    for page in ("instrument-httpx.md",)
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize("code", BLOCKS)
def test_every_block_runs_as_pasted(code, tmp_path):
    """No name is missing, nothing raises."""
    (tmp_path / "pasted.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "pasted.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
