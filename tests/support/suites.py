"""Suites that pytest runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys

PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *("-p", "no:hypothesispytest", "-p", "no:anyio"),
]
"""Without two plugins that no suite here needs: to import them takes longer than all the rest."""


def run_suite(folder, *options, timeout_s=90.0):
    """Run pytest in ``folder``; return the whole of what it says."""
    ran = subprocess.run(
        [*PYTEST, *options, str(folder)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return ran.stdout
