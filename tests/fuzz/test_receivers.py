"""A short run of the receivers' fuzzer in every test run; ``make fuzz-receivers`` is long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_short_run():
    """A thousand damaged messages a receiver are refused or taken, and nothing else happens."""
    script = Path(__file__).with_name("fuzz_receivers.py")
    done = subprocess.run(
        [sys.executable, script, "--inputs", "1000", "--seed", "42"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "slow" not in done.stdout
