"""The fixture ``spans`` beside the plugins that people have, run by pytest itself."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HEAD = """
import asyncio, pytest, tracekit
from tracekit.testing import assert_trace
tracer = tracekit.get_tracer("shop")
"""
ASYNC = """
async def work(name):
    with tracer.start_as_current_span(name):
        await asyncio.sleep(0)

{mark}
async def test_tasks(spans):
    with tracer.start_as_current_span("page"):
        await asyncio.gather(work("a"), work("b"))
    assert_trace(spans, '''
        page
          a
          b
    ''')

{mark}
async def test_leak(spans):
    tracer.start_span("left open")
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs pytest on a suite and gives its output."""

    def run(suite, *options):
        (tmp_path / "test_suite.py").write_text(HEAD + textwrap.dedent(suite), encoding="utf-8")
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-pno:cacheprovider", *options, str(tmp_path)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return ran.stdout + ran.stderr

    return run


@pytest.mark.parametrize(
    ("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")], ids=["auto", "strict"]
)
def test_coroutine_tests_are_recorded(run, mode, mark):
    """With pytest-asyncio in both of its modes."""
    shown = run(ASYNC.format(mark=mark), "-pno:randomly", f"--asyncio-mode={mode}")
    assert "span 'left open' has not ended" in shown, shown
    assert "2 passed, 1 error" in shown


def test_each_xdist_worker_has_its_own_spans(run):
    """Forty tests on two workers: none sees another's."""
    shown = run(
        """
        @pytest.mark.parametrize("n", range(40))
        def test_own(spans, n):
            with tracer.start_as_current_span(f"span {n}"):
                pass
            assert [span.name for span in spans] == [f"span {n}"]
        """,
        "-n2",
    )
    assert "40 passed" in shown, shown


def test_any_order_and_any_seed_will_do(run):
    """pytest-randomly shuffles tests and seeds ``random``; ids do not come from there."""
    suite = """
        seen = set()

        @pytest.mark.parametrize("n", range(20))
        def test_fresh(spans, n):
            assert list(spans) == []
            with tracer.start_as_current_span("x") as span:
                assert span.get_span_context().trace_id not in seen
                seen.add(span.get_span_context().trace_id)
    """
    for seed in ("1", "2"):
        shown = run(suite, f"--randomly-seed={seed}")
        assert "20 passed" in shown, shown


def test_trees_go_into_snapshots(run):
    """Syrupy's and inline-snapshot's: a tree is a plain text."""
    shown = run(
        """
        from inline_snapshot import snapshot as inline

        def dispatch():
            with tracer.start_as_current_span("dispatch"):
                with tracer.start_as_current_span("route", attributes={"n": 1}):
                    pass

        def test_inline(spans):
            dispatch()
            assert spans.tree("n") == inline("dispatch\\n  route {n=1}")

        def test_syrupy(spans, snapshot):
            dispatch()
            assert spans.tree("n") == snapshot
        """,
        "--snapshot-update",
    )
    assert "2 passed" in shown, shown
    assert "1 snapshot generated" in shown
