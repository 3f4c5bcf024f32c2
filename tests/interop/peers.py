"""Real peers as fixtures, and the matrix of what each wire and they made of each other.

A plugin that ``make interop`` loads: peers take minutes to build, so no other run has them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
import tools
from jaeger import Jaeger

MATRIX: dict[tuple[str, str], list[str]] = {}
VERSIONS: dict[str, str] = {}


@pytest.fixture
def noted():
    """Return what notes an outcome: ``noted(peer, wire, "equal: details")``."""

    def note(peer, what, outcome):
        MATRIX.setdefault((peer, what), []).append(outcome)

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
def workshop():
    """Where Go builds; all that it downloads is thrown away with it."""
    tools.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="go-", dir=tools.CACHE) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def jaeger_binary(workshop):
    return _tool("Jaeger", lambda: tools.jaeger(workshop))


@pytest.fixture(scope="session")
def go_peer(workshop):
    return _tool("jaeger-client-go", lambda: tools.go_peer(workshop))


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
        terminalreporter.write_line(f"{name:26} {version}")
    width = max((len(what) for _, what in MATRIX), default=0)
    for (peer, what), outcomes in sorted(MATRIX.items()):
        counts = Counter(outcome.partition(":")[0] for outcome in outcomes)
        summed = ", ".join(f"{count} x {outcome}" for outcome, count in counts.items())
        told = summed if len(outcomes) > 1 else outcomes[0]
        terminalreporter.write_line(f"{peer:26} {what:{width}}  {told}")
