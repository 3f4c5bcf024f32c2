"""Real peers, for ``make interop`` only: they take minutes to build and download.

What a peer and a wire made of each other is noted in a matrix that is printed at the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
collect_ignore_glob = [] if os.environ.get("INTEROP") else ["test_*.py"]

import tools  # noqa: E402 - a module beside this file
from jaeger import Jaeger  # noqa: E402

MATRIX: dict[tuple[str, str], str] = {}
VERSIONS: dict[str, str] = {}


@pytest.fixture
def noted():
    """Return what notes an outcome: ``noted(peer, wire, "equal")``."""

    def note(peer, what, outcome):
        MATRIX[peer, what] = outcome

    return note


def _tool(name, find):
    try:
        found = find()
    except tools.Missing as missing:
        VERSIONS[name] = f"skipped: {missing}"
        pytest.skip(f"{name}: {missing}")
    VERSIONS[name] = found.version
    return found.path


@pytest.fixture(scope="session")
def jaeger_binary():
    return _tool("Jaeger", tools.jaeger)


@pytest.fixture(scope="session")
def go_peer():
    return _tool("jaeger-client-go", tools.go_peer)


@pytest.fixture(scope="session")
def envoy_binary():
    return _tool("Envoy", tools.envoy)


@pytest.fixture(scope="session")
def prometheus_binary():
    return _tool("Prometheus", tools.prometheus)


@pytest.fixture(scope="session")
def jaeger(jaeger_binary):
    """Return a running Jaeger that the tests of a session share; services tell them apart."""
    with Jaeger(jaeger_binary) as running:
        yield running


@pytest.fixture
def make_jaeger(jaeger_binary):
    """Return what makes a Jaeger of a test's own."""
    return lambda *flags, **environ: Jaeger(jaeger_binary, *flags, **environ)


def pytest_terminal_summary(terminalreporter):
    if not VERSIONS:
        return
    terminalreporter.section("who understood whom")
    for name, version in sorted(VERSIONS.items()):
        terminalreporter.write_line(f"{name:20} {version}")
    width = max((len(what) for _, what in MATRIX), default=0)
    for (peer, what), outcome in MATRIX.items():
        terminalreporter.write_line(f"{peer:20} {what:{width}}  {outcome}")
