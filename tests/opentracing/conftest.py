"""A handle, a tracer on it, and an empty context for each test."""

from __future__ import annotations

import pytest
from opentelemetry import context as otel_context

import tracekit.opentracing
import tracekit.testing


@pytest.fixture(autouse=True)
def _nothing_active():
    """Let no test find the scopes that another one left open."""
    otel_context.attach(otel_context.Context())
    yield
    otel_context.attach(otel_context.Context())


@pytest.fixture
def tracing():
    handle = tracekit.testing.tracing()
    yield handle
    handle.shutdown()


@pytest.fixture
def tracer(tracing):
    return tracekit.opentracing.tracer(tracing)
