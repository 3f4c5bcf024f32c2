"""A guard of the speed of a log record by what can be counted. No seconds in here."""

from __future__ import annotations

import logging
import sys

import pytest
from counts import byte_codes, calls, least

import tracekit
import tracekit.logging
from tracekit._process.tally import FREE_THREADED
from tracekit.testing import MemoryTransport


@pytest.fixture
def log():
    """Return a logger whose records nobody takes."""
    logger = logging.getLogger("costs")
    logger.propagate, level = False, logger.level
    logger.setLevel(logging.INFO)
    handler = logging.NullHandler()
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(level)


@pytest.mark.parametrize(("within", "most"), [("span", (8, 160)), ("none", (9, 147))])
def test_what_the_fields_of_a_record_add(log, within, most):
    """Two hooks, a look at the current span, and its ids as text, which is made once a span."""
    tracing = tracekit.init(
        "costs", environ={}, set_global=False, transport=MemoryTransport(), sampler_type="const"
    )
    tracer = tracing.tracer("x")

    def record():
        log.info("order %d", 392)

    def counted(count):
        if within == "none":
            return least(count, record)
        with tracer.start_as_current_span("work"):
            return least(count, record)

    bare = counted(calls), counted(byte_codes)
    undo = tracekit.logging.install(tracing=tracing)
    try:
        added = counted(calls) - bare[0], counted(byte_codes) - bare[1]
    finally:
        undo()
        tracing.shutdown()
    assert added[0] <= most[0]
    if sys.version_info < (3, 12) and not FREE_THREADED:
        assert added[1] <= most[1]
