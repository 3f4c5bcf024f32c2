"""The programs on pages of the documentation, run as a reader pastes them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def blocks(*pages):
    """Return the programs of these how-to pages, a parameter each."""
    return [
        pytest.param(code, id=f"{page}:{number}")
        for page in pages
        for number, code in enumerate(
            re.findall(
                r"```python\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL
            )
        )
    ]


def run_as_pasted(code, folder, environ=None):
    """Run ``code`` in ``folder`` with this interpreter and ``environ``; fail if it does."""
    (folder / "pasted.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "pasted.py"],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
