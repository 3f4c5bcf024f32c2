"""Loggers that others made, with the fields of the current span."""

from __future__ import annotations

import io
import json
import logging

import pytest

import tracekit.logging


def ids(span):
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_loguru(tracing):
    """Its patcher takes the processor; a service of the record's own stays."""
    loguru = pytest.importorskip("loguru")
    said = io.StringIO()
    logger = loguru.logger
    logger.remove()
    logger.configure(
        patcher=lambda record: tracekit.logging.structlog_processor(None, "", record["extra"])
    )
    sink = logger.add(said, format="{message} {extra[trace_id]} {extra[service]}")
    with tracing.tracer("t").start_as_current_span("work") as span:
        logger.bind(service="mine").info("in")
    logger.remove(sink)
    logger.configure(patcher=lambda record: None)
    assert said.getvalue().split() == ["in", ids(span)[0], "mine"]


def test_python_json_logger(tracing):
    """It writes whatever a record has, so also the fields, and an own ``service`` as it is."""
    formatters = pytest.importorskip("pythonjsonlogger.json")
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(formatters.JsonFormatter("%(message)s"))
    logger = logging.Logger("shop")  # noqa: LOG001
    logger.addHandler(handler)
    undo = tracekit.logging.install(tracing=tracing)
    with tracing.tracer("t").start_as_current_span("work") as span:
        logger.info("in", extra={"service": "mine"})
    undo()
    line = json.loads(handler.stream.getvalue())
    assert (line["trace_id"], line["span_id"], line["service"]) == (*ids(span), "mine")


def test_structlog_bound_service(tracing):
    """A service bound to a logger, or to the context, stays."""
    structlog = pytest.importorskip("structlog")
    said = []

    def keep(_logger, _method, event):
        said.append(event)
        raise structlog.DropEvent

    chain = [structlog.contextvars.merge_contextvars, tracekit.logging.structlog_processor, keep]
    logger = structlog.wrap_logger(None, processors=chain)
    logger.bind(service="bound").info("x")
    with structlog.contextvars.bound_contextvars(service="of the context"):
        logger.info("x")
    assert [event["service"] for event in said] == ["bound", "of the context"]
