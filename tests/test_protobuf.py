"""Reading protobuf by tables: whatever bytes come."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import example, given
from hypothesis import strategies as st

from tracekit._protobuf import DecodeError, Field, Message, Type, read, varint

INNER = Message(Field(1, Type.INT, "number"), Field(2, Type.BYTES, "bytes"))
TABLE = Message(
    Field(1, Type.MESSAGE, "inner", INNER),
    Field(2, Type.DOUBLE, "double"),
    Field(3, Type.STRING, "text", repeated=True),
    Field(4, Type.FIXED32, "four"),
    Field(5, Type.FIXED64, "eight"),
    Field(6, Type.UINT, "unsigned"),
)
VALUE = Message(
    Field(2, Type.DOUBLE, "number_value"),
    Field(3, Type.STRING, "string_value"),
    Field(4, Type.UINT, "bool_value"),
)


@given(st.binary(max_size=60))
@example(b"\xff" * 20)
@example(b"\x0b\x0b\x0b")
def test_any_bytes_are_read_or_refused(data):
    """Nothing but ``DecodeError`` is ever raised."""
    with contextlib.suppress(DecodeError):
        assert isinstance(read(data, TABLE), dict)


@given(st.integers(-(2**63), 2**64 - 1))
def test_numbers_come_back(number):
    """An integer of 64 bits is read as it was written, by the sign of its field."""
    name, key = ("number", INNER.key("number")) if number < 2**63 else ("unsigned", b"\x30")
    table = INNER if number < 2**63 else TABLE
    assert read(key + varint(number), table) == {name: number}


@given(st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])))
def test_what_protobuf_writes_is_read(value):
    """Google's runtime and this reader agree on doubles and texts."""
    field = "number_value" if isinstance(value, float) else "string_value"
    assert read(Value(**{field: value}).SerializeToString(), VALUE) == {field: value}


def test_unknown_fields_are_skipped():
    """Types that do not fit, too: a newer peer may say more than the table knows."""
    data = b"\x7a\x01x" + b"\x0d\0\0\0\0" + b"\x1a\x01a\x1a\x01b" + b"\x25\1\0\0\0"
    assert read(data, TABLE) == {"text": ["a", "b"], "four": 1}


@pytest.mark.parametrize(
    "data",
    [b"\x0a\x05x", b"\x80", b"\x11\0", b"\x1a\x01\xff", b"\x30" + b"\xff" * 11],
    ids=["length", "key", "double", "utf-8", "number"],
)
def test_what_is_cut_off_or_wrong_is_refused(data):
    """Half a message is no message."""
    with pytest.raises(DecodeError):
        read(data, TABLE)
