"""OpenTracing's BINARY carrier as the Jaeger clients of Go and Python lay it out (big-endian).

``u64 trace high · u64 trace low · u64 span · u64 parent · u8 flags · i32 count``, then for each
baggage entry ``i32 length · key · i32 length · value`` in UTF-8. Source: ``BinaryPropagator`` in
jaeger-client-go's propagation.go, ``BinaryCodec`` in jaeger-client-python's codecs.py.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tracekit._context import CARRIED, DEBUG, LOW_64_BITS
from tracekit.propagation._baggage import within_limits
from tracekit.propagation._headers import ignore
from tracekit.propagation._remote import NO_BAGGAGE, Remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.propagation._headers import Note

_HEAD = struct.Struct(">QQQQBi")
_LENGTH = struct.Struct(">i")
_SAMPLED = 0x01


def decode_binary(data: bytes | bytearray, note: Note = ignore) -> Remote | None:
    """Return the context in ``data``, or None. Total, like every decoder."""
    if len(data) < _HEAD.size:
        note("malformed")
        return None
    high, low, span_id, parent_id, flags, count = _HEAD.unpack_from(data)
    if not (high or low) or not span_id:
        note("zero_id")
        return None
    sampled = flags & _SAMPLED != 0
    # The ids have been read: baggage that was cut on the way costs itself, not the trace.
    try:
        baggage = dict(within_limits(_entries(data, count), note)) if count else NO_BAGGAGE
    except (struct.error, ValueError):  # cut short, a negative length, or not UTF-8
        note("baggage")
        baggage = NO_BAGGAGE
    return Remote(
        high << 64 | low,
        span_id,
        parent_id or None,
        sampled,
        sampled and flags & DEBUG != 0,
        None,
        baggage,
        "",
        flags & (_SAMPLED | CARRIED),
    )


def _entries(data: bytes | bytearray, count: int) -> Iterator[tuple[str, str]]:
    # A count is four bytes that anybody can write: entries are read one by one, so that it costs
    # no more than the data that is there.
    offset = _HEAD.size
    for _ in range(count):
        key, offset = _text(data, offset)
        value, offset = _text(data, offset)
        yield key, value


def _text(data: bytes | bytearray, offset: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(data, offset)
    start = offset + _LENGTH.size
    end = start + length
    if length < 0 or end > len(data):
        raise ValueError("length beyond the data")
    return bytes(data[start:end]).decode(), end


def encode_binary(remote: Remote) -> bytes:
    """Return ``remote`` as a binary carrier's content; baggage as far as its limits go."""
    entries = list(within_limits(remote.baggage.items()))
    flags = remote.trace_flags & CARRIED
    if remote.sampled or remote.debug:
        flags |= _SAMPLED | (DEBUG if remote.debug else 0)
    parts = [
        _HEAD.pack(
            remote.trace_id >> 64,
            remote.trace_id & LOW_64_BITS,
            remote.span_id,
            remote.parent_id or 0,
            flags,
            len(entries),
        )
    ]
    for text in (text for entry in entries for text in entry):
        data = text.encode("utf-8", "replace")
        parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)
