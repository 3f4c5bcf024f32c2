"""The schema-free reader, held against the thrift library and against arbitrary bytes."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

from tracekit.local._thrift import MAX_DEPTH, BinaryReader, CompactReader, ThriftError

PROTOCOLS = [(TCompactProtocol, CompactReader), (TBinaryProtocol, BinaryReader)]


def _write_map(protocol, value):
    protocol.writeMapBegin(TType.STRING, TType.DOUBLE, len(value))
    for key, number in value.items():
        protocol.writeString(key)
        protocol.writeDouble(number)
    protocol.writeMapEnd()


def _write_list(protocol, value):
    protocol.writeListBegin(TType.BOOL, len(value))
    for flag in value:
        protocol.writeBool(flag)
    protocol.writeListEnd()


def _write_set(protocol, value):
    protocol.writeSetBegin(TType.I16, len(value))
    for number in value:
        protocol.writeI16(number)
    protocol.writeSetEnd()


WRITERS = {
    TType.BOOL: lambda protocol, value: protocol.writeBool(value),
    TType.BYTE: lambda protocol, value: protocol.writeByte(value),
    TType.I16: lambda protocol, value: protocol.writeI16(value),
    TType.I32: lambda protocol, value: protocol.writeI32(value),
    TType.I64: lambda protocol, value: protocol.writeI64(value),
    TType.DOUBLE: lambda protocol, value: protocol.writeDouble(value),
    TType.STRING: lambda protocol, value: protocol.writeBinary(value),
    TType.LIST: _write_list,
    TType.SET: _write_set,
    TType.MAP: _write_map,
}


def _integers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


FIELDS = st.dictionaries(
    st.integers(-(2**15), 2**15 - 1),
    st.one_of(
        st.tuples(st.just(TType.BOOL), st.booleans()),
        st.tuples(st.just(TType.BYTE), _integers(8)),
        st.tuples(st.just(TType.I16), _integers(16)),
        st.tuples(st.just(TType.I32), _integers(32)),
        st.tuples(st.just(TType.I64), _integers(64)),
        st.tuples(st.just(TType.DOUBLE), st.floats(allow_nan=False)),
        st.tuples(st.just(TType.STRING), st.binary(max_size=200)),
        st.tuples(st.just(TType.LIST), st.lists(st.booleans(), max_size=20)),
        st.tuples(st.just(TType.SET), st.lists(_integers(16), max_size=20, unique=True)),
        st.tuples(st.just(TType.MAP), st.dictionaries(st.text(), st.floats(allow_nan=False))),
    ),
    max_size=20,
)


def _written(protocol_class, fields, *, name="call", kind=4, sequence=7):
    buffer = TMemoryBuffer()
    protocol = protocol_class(buffer)
    protocol.writeMessageBegin(name, kind, sequence)
    protocol.writeStructBegin("args")
    for field_id, (field_type, value) in fields.items():
        protocol.writeFieldBegin("", field_type, field_id)
        WRITERS[field_type](protocol, value)
        protocol.writeFieldEnd()
    protocol.writeFieldStop()
    protocol.writeStructEnd()
    protocol.writeMessageEnd()
    return buffer.getvalue()


def _as_read(field_type, value):
    if field_type == TType.MAP:
        return [[key.encode(), number] for key, number in value.items()]
    return value


@pytest.mark.parametrize(("protocol_class", "reader"), PROTOCOLS)
@given(fields=FIELDS, kind=st.integers(1, 4), sequence=st.integers(0, 2**31 - 1))
def test_every_type_reads_back(protocol_class, reader, fields, kind, sequence):
    """What the thrift library writes, of any type and any field id, is read back unchanged."""
    data = _written(protocol_class, fields, name="größe", kind=kind, sequence=sequence)

    reading = reader(data)
    message = reading.message()

    expected = {number: _as_read(*field) for number, field in fields.items()}
    assert (message.name, message.kind, message.sequence) == ("größe", kind, sequence)
    assert message.arguments == expected
    assert reading.left() == 0


@pytest.mark.parametrize("reader", [CompactReader, BinaryReader])
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(reader, data):
    """Whatever the bytes are, the reader answers or raises ThriftError; it never hangs."""
    for read in (reader.message, reader.struct):
        reading = reader(data)
        with contextlib.suppress(ThriftError):
            read(reading)
        assert 0 <= reading.left() <= len(data)


@pytest.mark.parametrize(("protocol_class", "reader"), PROTOCOLS)
@given(fields=FIELDS, at=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_flipped_byte_is_read_or_refused(protocol_class, reader, fields, at, byte):
    """A valid message with one byte changed, or cut there, does no more harm than ThriftError."""
    data = _written(protocol_class, fields)
    index = min(int(at * len(data)), len(data) - 1)

    changed = reader(data[:index] + bytes([byte]) + data[index + 1 :])
    with contextlib.suppress(ThriftError):
        changed.message()
    assert 0 <= changed.left() <= len(data)
    with pytest.raises(ThriftError):
        reader(data[:index]).message()


@pytest.mark.parametrize(
    ("reader", "opening"),
    [(CompactReader, b"\x1c"), (CompactReader, b"\x19\x1c"), (BinaryReader, b"\x0c\x00\x01")],
)
def test_endless_nesting_is_refused(reader, opening):
    """A datagram full of opening structs ends at the depth limit, not in a RecursionError."""
    with pytest.raises(ThriftError, match="nested too deeply"):
        reader(opening * 5000).struct()
    assert len(opening) * MAX_DEPTH < 5000


def test_an_overlong_list_is_refused_at_once():
    """A promised count that the bytes cannot hold is refused before anything is allocated."""
    two_billion_booleans = bytes([0x0F, 0, 1, 2]) + (2**31 - 1).to_bytes(4, "big")

    with pytest.raises(ThriftError, match="2147483647 elements promised, 0 bytes left"):
        BinaryReader(two_billion_booleans).struct()


def test_elements_count_before_they_cost():
    """A byte can announce an empty struct, for which Python takes a hundred."""
    empty_structs = bytes([0x0F, 0, 1, 12]) + (2_000_000).to_bytes(4, "big") + bytes(2_000_000)

    with pytest.raises(ThriftError, match="more than 1000000 elements"):
        BinaryReader(empty_structs).struct()


def test_the_error_says_where_and_pickles():
    """The position survives a process boundary."""
    with pytest.raises(ThriftError) as caught:
        CompactReader(b"\x82\x01").message()

    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.position) == ("1 bytes promised, 0 left at byte 2", 2)
