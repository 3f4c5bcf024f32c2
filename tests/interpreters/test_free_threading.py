"""What is chosen at import where there is no GIL passes the tests of what it stands for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit._process.tally import FREE_THREADED

TESTS = Path(__file__).parents[1]
SAME = ["tracing", "reporting/test_queue.py", "reporting/test_reporter.py"]


def ended(*arguments, **environ):
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS / "interpreters"), **environ},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_init_calls_it_experimental_once():
    """Two handles in one process, one sentence."""
    program = """
import free_threaded, logging
logging.basicConfig()
import tracekit
for name in "ab":
    tracekit.init(name, environ={}, set_global=False).shutdown()
"""
    assert ended("-c", program).stderr.count("without the GIL") == 1


def test_native_frames_are_left_alone():
    """What was compiled for builds with the GIL is not loaded."""
    program = """
import free_threaded, sys
from tracekit.encoding._native import native_frames
assert native_frames() is None
assert "tracekit.encoding._frames" not in sys.modules
"""
    ended("-c", program)


@pytest.mark.skipif(FREE_THREADED, reason="here they run like that anyway")
@pytest.mark.slow
def test_the_same_tests_pass():
    """Tracer, spans, queue and reporter are tested with the parts for a build without the GIL."""
    flags = ["-q", "-p", "free_threaded", "-p", "no:cacheprovider"]
    if sys.version_info < (3, 13):
        # Where a lock finds no memory, these say RuntimeError; no build of them is without the GIL.
        flags += ["-k", "not test_no_memory_in_the_end_of_a_span"]
    ended("-m", "pytest", *flags, *(str(TESTS / each) for each in SAME))
