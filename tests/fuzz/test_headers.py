"""A short run of the header fuzzer in every test run; ``make fuzz`` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_short_run():
    """Twenty thousand near-valid carriers break no decoder."""
    script = Path(__file__).with_name("fuzz_headers.py")
    done = subprocess.run(
        [sys.executable, script, "--inputs", "20000", "--seed", "42"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("20000 inputs, no exception")
