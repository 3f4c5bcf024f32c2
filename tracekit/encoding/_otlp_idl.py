"""OTLP's traces as tables.

Source: open-telemetry/opentelemetry-proto, ``trace/v1/trace.proto``, ``common/v1/common.proto``,
``resource/v1/resource.proto``, ``collector/trace/v1/trace_service.proto``.
"""

from __future__ import annotations

from tracekit._protobuf import Field, Message, Type

ANY_VALUE = Message(
    Field(1, Type.STRING, "string_value"),
    Field(2, Type.UINT, "bool_value"),
    Field(3, Type.INT, "int_value"),
    Field(4, Type.DOUBLE, "double_value"),
    Field(5, Type.MESSAGE, "array_value"),
    Field(6, Type.MESSAGE, "kvlist_value"),
    Field(7, Type.BYTES, "bytes_value"),
)
ARRAY_VALUE = Message(Field(1, Type.MESSAGE, "values"))
KEY_VALUE_LIST = Message(Field(1, Type.MESSAGE, "values"))
KEY_VALUE = Message(Field(1, Type.STRING, "key"), Field(2, Type.MESSAGE, "value"))
SPAN = Message(
    Field(1, Type.BYTES, "trace_id"),
    Field(2, Type.BYTES, "span_id"),
    Field(3, Type.STRING, "trace_state"),
    Field(4, Type.BYTES, "parent_span_id"),
    Field(5, Type.STRING, "name"),
    Field(6, Type.UINT, "kind"),
    Field(7, Type.FIXED64, "start_time_unix_nano"),
    Field(8, Type.FIXED64, "end_time_unix_nano"),
    Field(9, Type.MESSAGE, "attributes"),
    Field(10, Type.UINT, "dropped_attributes_count"),
    Field(11, Type.MESSAGE, "events"),
    Field(12, Type.UINT, "dropped_events_count"),
    Field(13, Type.MESSAGE, "links"),
    Field(14, Type.UINT, "dropped_links_count"),
    Field(15, Type.MESSAGE, "status"),
    Field(16, Type.FIXED32, "flags"),
)
EVENT = Message(
    Field(1, Type.FIXED64, "time_unix_nano"),
    Field(2, Type.STRING, "name"),
    Field(3, Type.MESSAGE, "attributes"),
    Field(4, Type.UINT, "dropped_attributes_count"),
)
LINK = Message(
    Field(1, Type.BYTES, "trace_id"),
    Field(2, Type.BYTES, "span_id"),
    Field(3, Type.STRING, "trace_state"),
    Field(4, Type.MESSAGE, "attributes"),
    Field(5, Type.UINT, "dropped_attributes_count"),
    Field(6, Type.FIXED32, "flags"),
)
STATUS = Message(Field(2, Type.STRING, "message"), Field(3, Type.UINT, "code"))
SCOPE = Message(
    Field(1, Type.STRING, "name"),
    Field(2, Type.STRING, "version"),
    Field(3, Type.MESSAGE, "attributes"),
)
SCOPE_SPANS = Message(
    Field(1, Type.MESSAGE, "scope"),
    Field(2, Type.MESSAGE, "spans"),
    Field(3, Type.STRING, "schema_url"),
)
RESOURCE = Message(Field(1, Type.MESSAGE, "attributes"))
RESOURCE_SPANS = Message(
    Field(1, Type.MESSAGE, "resource"),
    Field(2, Type.MESSAGE, "scope_spans"),
    Field(3, Type.STRING, "schema_url"),
)
EXPORT_REQUEST = Message(Field(1, Type.MESSAGE, "resource_spans"))

HAS_IS_REMOTE = 0x100
"""``SpanFlags``: it is known whether the parent (of a link: its target) is remote …"""
IS_REMOTE = 0x200
"""… and it is."""
