"""The table of formats, and the codecs as two functions over text maps.

========== ======================================================== =====================
name       reads                                                    writes
========== ======================================================== =====================
jaeger     uber-trace-id, uberctx-*, jaeger-baggage, jaeger-debug-id uber-trace-id, uberctx-*
b3         b3, x-b3-*                                               x-b3-*
b3single   b3, x-b3-*                                               b3
w3c        traceparent, tracestate, baggage                         the same
========== ======================================================== =====================

``tracecontext`` and ``baggage`` are the halves of ``w3c``, as ``OTEL_PROPAGATORS`` lists them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tracekit._context import CARRIED, DEBUG, DEFER, RANDOM, Decision
from tracekit._protocols import MARKS_SHIFT
from tracekit.propagation import _b3, _baggage, _jaeger, _w3c
from tracekit.propagation._headers import collect, ignore, pairs_of
from tracekit.propagation._remote import NO_BAGGAGE, Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from tracekit.propagation._headers import Carrier, Note
    from tracekit.propagation._remote import ExtractedFields

_new = tuple.__new__  # a Remote without its keyword machinery


class Decode(Protocol):
    """Read lower-case headers. Total: any text in, a value or None out. Linear in the input."""

    def __call__(self, headers: Mapping[str, str], note: Note, /) -> ExtractedFields | None: ...


class DecodeAlone(Protocol):
    """Read the one header of a format."""

    def __call__(self, value: str, note: Note, /) -> ExtractedFields | None: ...


class Text(Protocol):
    """Return a span's ids and decision as the one header of a format."""

    def __call__(self, trace_id: int, span_id: int, bits: int, parent_id: int | None, /) -> str: ...


class WriteIds(Protocol):
    """Write a span's ids and decision, and the parent's id where it is known.

    ``bits`` are as a span of ours has them: trace flags, and marks from ``MARKS_SHIFT`` on.
    """

    def __call__(
        self,
        into: MutableMapping[str, str],
        trace_id: int,
        span_id: int,
        bits: int,
        parent_id: int | None,
        /,
    ) -> None: ...


class WriteState(Protocol):
    """Write the trace state, whose text is given; what cannot be sent is noted."""

    def __call__(self, into: MutableMapping[str, str], state: str, note: Note, /) -> None: ...


class WriteBaggage(Protocol):
    """Write baggage as far as the limits go; what is left out is noted."""

    def __call__(
        self, into: MutableMapping[str, str], baggage: Mapping[str, object], note: Note, /
    ) -> None: ...


class Format(NamedTuple):
    """One format: what it reads, what it writes, and the pure functions that do it."""

    name: str
    identity: frozenset[str]
    """Every header that names the span: together they describe one span or none."""
    fields: tuple[str, ...]
    """What ``write_ids`` may write."""
    reads: frozenset[str]
    decode: Decode
    write_ids: WriteIds | None
    write_baggage: WriteBaggage | None = None
    write_state: WriteState | None = None
    write_decision: Callable[[MutableMapping[str, str], Decision], None] | None = None
    write_debug_id: Callable[[MutableMapping[str, str], str], None] | None = None
    certain: frozenset[str] = frozenset()
    """What ``write_ids`` writes for every span, whatever else it adds."""
    named_by: str = ""
    """The header without which nobody can join a trace in this format."""
    decode_alone: DecodeAlone | None = None
    """What ``decode`` says of that header's value, if no other one that it reads stands there."""
    text: Text | None = None
    """What ``write_ids`` puts there, if that is all that it writes."""


def _write_text(
    name: str,
    text: Text,
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    bits: int,
    parent_id: int | None,
) -> None:
    into[name] = text(trace_id, span_id, bits, parent_id)


def jaeger(names: _jaeger.Names = _jaeger.NAMES) -> Format:
    """Return Jaeger's format, with other header names where a deployment changed them."""
    names = names.lowered()
    identity = frozenset({names.trace_id})
    own = names == _jaeger.NAMES
    return Format(
        "jaeger",
        identity,
        (names.trace_id,),
        identity | {names.debug_id, names.baggage},
        _jaeger.decode if own else partial(_jaeger.decode, names=names),
        partial(_write_text, names.trace_id, _jaeger.text),
        partial(_jaeger.write_baggage, names=names),
        write_debug_id=partial(_jaeger.write_debug_id, names=names),
        certain=identity,
        named_by=names.trace_id,
        decode_alone=_jaeger.decode_ids,
        text=_jaeger.text,
    )


_B3_NAMES = frozenset({_b3.SINGLE, *_b3.MULTI})
_B3 = Format(
    "b3",
    _B3_NAMES,
    _b3.MULTI,
    _B3_NAMES,
    _b3.decode,
    _b3.write_multi,
    write_decision=_b3.write_multi_decision,
    certain=frozenset({_b3.TRACE_ID, _b3.SPAN_ID, _b3.SAMPLED}),
    named_by=_b3.TRACE_ID,
)
_B3_SINGLE = Format(
    "b3single",
    _B3_NAMES,
    (_b3.SINGLE,),
    _B3_NAMES,
    _b3.decode,
    _b3.write_single,
    write_decision=_b3.write_single_decision,
    certain=frozenset({_b3.SINGLE}),
    named_by=_b3.SINGLE,
)


def _write_w3c_baggage(
    into: MutableMapping[str, str], baggage: Mapping[str, object], note: Note
) -> None:
    into.update(_baggage.encode(baggage, note))


def _decode_w3c(headers: Mapping[str, str], note: Note) -> ExtractedFields | None:
    fields = _w3c.decode(headers, note)
    if _baggage.HEADER not in headers:
        return fields
    carried = _baggage.decode(headers, note)
    if fields is None or carried is None:
        return fields or carried
    return (*fields[:6], carried[6], *fields[7:])


_W3C_NAMES = (_w3c.TRACEPARENT, _w3c.TRACESTATE)
_TRACECONTEXT = Format(
    "tracecontext",
    frozenset(_W3C_NAMES),
    _W3C_NAMES,
    frozenset(_W3C_NAMES),
    _w3c.decode,
    _w3c.write,
    write_state=_w3c.write_state,
    certain=frozenset({_w3c.TRACEPARENT}),
    named_by=_w3c.TRACEPARENT,
)
_BAGGAGE = Format(
    "baggage",
    frozenset(),
    (_baggage.HEADER,),
    frozenset({_baggage.HEADER}),
    _baggage.decode,
    None,
    _write_w3c_baggage,
)
_W3C = _TRACECONTEXT._replace(
    name="w3c",
    fields=(*_W3C_NAMES, _baggage.HEADER),
    reads=frozenset({*_W3C_NAMES, _baggage.HEADER}),
    decode=_decode_w3c,
    write_baggage=_write_w3c_baggage,
)

FORMATS: Mapping[str, Format] = {
    format_.name: format_ for format_ in (jaeger(), _B3, _B3_SINGLE, _W3C, _TRACECONTEXT, _BAGGAGE)
}


def lookup(name: str) -> Format:
    """Return the format of that name; ``ValueError`` names the ones there are."""
    try:
        return FORMATS[name]
    except KeyError:
        raise ValueError(f"unknown format {name!r}; known: {', '.join(FORMATS)}") from None


def together(formats: Sequence[Format]) -> WriteIds:
    """Return one writer for all; of a single format its own, with nothing in between."""
    writers = [format_.write_ids for format_ in formats if format_.write_ids]
    if len(writers) == 1:
        return writers[0]

    def write(
        into: MutableMapping[str, str],
        trace_id: int,
        span_id: int,
        bits: int,
        parent_id: int | None,
    ) -> None:
        for write_one in writers:
            write_one(into, trace_id, span_id, bits, parent_id)

    return write


def decode(
    format: str,  # noqa: A002 -- the word of every user; the built-in is not needed here
    headers: Carrier,
) -> Remote | None:
    """Return what ``headers`` (a mapping, or pairs; names in any case) say in that format.

    Total: any text or bytes of any size gives a ``Remote`` or None, in time linear in the input.
    Raises ``ValueError`` for an unknown format, nothing else.
    """
    found = FORMATS.get(format) or lookup(format)
    fields = None
    try:
        if type(headers) is dict:
            if found.reads.issuperset(headers):
                fields = found.decode(headers, ignore)
                return None if fields is None else _new(Remote, fields)
            lowered = {}
            for name in headers:
                lowered[name.lower()] = headers[name]
            if len(lowered) == len(headers):  # no name stands there twice, in two spellings
                fields = found.decode(lowered, ignore)
                return None if fields is None else _new(Remote, fields)
    except Exception:  # noqa: S110 - names or values that are no text: read below
        pass
    fields = found.decode(collect(pairs_of(headers)), ignore)
    return None if fields is None else _new(Remote, fields)


def encode(
    format: str,  # noqa: A002 -- as above
    remote: Remote,
) -> dict[str, str]:
    """Return the headers, names in lower case, that say ``remote`` in that format.

    What the format cannot express is left out. Raises ``ValueError`` for an unknown format.
    """
    found = FORMATS.get(format) or lookup(format)
    into: dict[str, str] = {}
    trace_id, span_id, parent_id, sampled, debug, _, baggage, tracestate, bits = remote
    write_ids = found.write_ids
    if not trace_id or not span_id:
        _encode_decision(found, into, remote)
    elif write_ids is not None:
        flags, marks = bits & RANDOM, bits & CARRIED
        if debug:
            flags, marks = flags | 1, marks | DEBUG
        elif sampled:
            flags |= 1
        elif sampled is None:
            marks |= DEFER
        write_ids(into, trace_id, span_id, flags | marks << MARKS_SHIFT, parent_id)
        if tracestate and found.write_state is not None:
            found.write_state(into, tracestate, ignore)
    if baggage is not NO_BAGGAGE and found.write_baggage is not None:
        found.write_baggage(into, baggage, ignore)
    return into


def _encode_decision(found: Format, into: dict[str, str], remote: Remote) -> None:
    # An accept without ids looks like the invalid span context of somebody who samples all, and
    # that must not be written. Inject knows the two apart and writes it.
    if found.write_decision is not None and remote.decision is not Decision.ACCEPT:
        found.write_decision(into, remote.decision)
    if found.write_debug_id is not None and remote.debug_id:
        found.write_debug_id(into, remote.debug_id)
