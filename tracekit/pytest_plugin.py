"""The pytest plugin: fixtures ``spans``, ``agent`` and ``collector``, and the marker ``spans``.

pytest loads it in every run where tracekit is installed, so it imports nothing of tracekit's before
a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.testing import FakeAgent, FakeCollector, Spans

_MARKER = (
    "spans(strict=True, sampler=None, **settings): record the spans of this test; `strict=False`"
    " checks nothing at its end, `sampler` is the share of traces to sample or a sampler, the rest"
    " are settings of tracekit.init"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also under ``--strict-markers``."""
    config.addinivalue_line("markers", _MARKER)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Record the spans of a test that has the marker, whether or not it asks for the fixture."""
    names = getattr(item, "fixturenames", None)
    if names is not None and "spans" not in names and item.get_closest_marker("spans"):
        names.append("spans")


@pytest.fixture
def spans(request: pytest.FixtureRequest) -> Iterator[Spans]:
    """The spans of this test: what ends on the process' handle, whoever makes it.

    The handle is strict: it fails the test that leaves a span open, a context attached, or one of
    tracekit's threads. See ``tracekit.testing.recording``.
    """
    from tracekit.testing import recording  # noqa: PLC0415 - only who asks pays

    options: dict[str, object] = {}
    for marker in reversed(list(request.node.iter_markers("spans"))):
        options |= marker.kwargs  # the closest one wins
    try:
        with recording(**options) as recorded:  # type: ignore[arg-type] # it checks
            yield recorded
    except AssertionError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    """A Jaeger agent on loopback, for programs that a test starts: ``agent.environ``."""
    from tracekit.testing import FakeAgent  # noqa: PLC0415 - as above

    with FakeAgent() as listening:
        yield listening


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    """A collector on loopback (HTTP Thrift and OTLP), for programs that a test starts."""
    from tracekit.testing import FakeCollector  # noqa: PLC0415 - as above

    with FakeCollector() as listening:
        yield listening
