from __future__ import annotations

import pytest

import tracekit.testing


@pytest.fixture
def tracing():
    handle = tracekit.testing.tracing(propagation="jaeger,b3")
    yield handle
    handle.shutdown()
