"""jaeger.thrift and the one call of agent.thrift that clients make, as tables.

Source: jaegertracing/jaeger-idl, ``thrift/jaeger.thrift`` and ``thrift/agent.thrift``.
"""

from __future__ import annotations

import enum

from tracekit.encoding._thrift import Field, Struct, Type


class TagType(enum.IntEnum):
    """Which of a tag's value fields is set."""

    STRING = 0
    DOUBLE = 1
    BOOL = 2
    LONG = 3
    BINARY = 4


class SpanRefType(enum.IntEnum):
    """How a span relates to the one it refers to."""

    CHILD_OF = 0
    FOLLOWS_FROM = 1


TAG = Struct(
    "Tag",
    Field(1, Type.STRING, "key"),
    Field(2, Type.I32, "vType"),
    Field(3, Type.STRING, "vStr"),
    Field(4, Type.DOUBLE, "vDouble"),
    Field(5, Type.BOOL, "vBool"),
    Field(6, Type.I64, "vLong"),
    Field(7, Type.STRING, "vBinary"),
)
LOG = Struct(
    "Log",
    Field(1, Type.I64, "timestamp"),  # µs since the epoch
    Field(2, Type.LIST, "fields"),
)
SPAN_REF = Struct(
    "SpanRef",
    Field(1, Type.I32, "refType"),
    Field(2, Type.I64, "traceIdLow"),
    Field(3, Type.I64, "traceIdHigh"),
    Field(4, Type.I64, "spanId"),
)
SPAN = Struct(
    "Span",
    Field(1, Type.I64, "traceIdLow"),
    Field(2, Type.I64, "traceIdHigh"),
    Field(3, Type.I64, "spanId"),
    Field(4, Type.I64, "parentSpanId"),  # 0: a root
    Field(5, Type.STRING, "operationName"),
    Field(6, Type.LIST, "references"),  # optional
    Field(7, Type.I32, "flags"),
    Field(8, Type.I64, "startTime"),  # µs since the epoch
    Field(9, Type.I64, "duration"),  # µs
    Field(10, Type.LIST, "tags"),  # optional
    Field(11, Type.LIST, "logs"),  # optional
)
PROCESS = Struct(
    "Process",
    Field(1, Type.STRING, "serviceName"),
    Field(2, Type.LIST, "tags"),  # optional
)
CLIENT_STATS = Struct(
    "ClientStats",
    Field(1, Type.I64, "fullQueueDroppedSpans"),
    Field(2, Type.I64, "tooLargeDroppedSpans"),
    Field(3, Type.I64, "failedToEmitSpans"),
)
BATCH = Struct(
    "Batch",
    Field(1, Type.STRUCT, "process"),
    Field(2, Type.LIST, "spans"),
    Field(3, Type.I64, "seqNo"),  # optional
    Field(4, Type.STRUCT, "stats"),  # optional
)
EMIT_BATCH = b"emitBatch"
EMIT_BATCH_ARGS = Struct("emitBatch_args", Field(1, Type.STRUCT, "batch"))
