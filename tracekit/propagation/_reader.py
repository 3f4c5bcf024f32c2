"""What the headers of a request say, once they are in the one shape that codecs read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tracekit.propagation._baggage import MAX_BYTES, MAX_ENTRIES, is_token
from tracekit.propagation._formats import FORMATS
from tracekit.propagation._forwarding import (
    BAGGAGE_HEADER,
    BAGGAGE_PREFIX,
    TRACE_HEADERS,
    application_names,
    is_baggage,
)
from tracekit.propagation._headers import MAX_VALUE_BYTES, forwardable, ignore
from tracekit.propagation._merge import merge
from tracekit.propagation._remote import NO_BAGGAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tracekit._context import Headers
    from tracekit.propagation._counters import Counters
    from tracekit.propagation._formats import Decode, DecodeAlone, Format
    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import Extracted, ExtractedFields

_NAMES_A_SPAN = {
    format_.named_by: format_.name
    for format_ in list(FORMATS.values())[::-1]  # ``w3c`` goes before its half
    if format_.named_by
}
"""The headers without which no trace can be joined, and their formats."""
_NO_FIELDS: ExtractedFields = (0, 0, None, None, False, None, NO_BAGGAGE, "", 0)
_SENT_BY_GRPC = ("user-agent", "accept-encoding", "grpc-accept-encoding", "grpc-encoding")


class Reader:
    """Reads formats, the preferred one first, and captures what is to be forwarded.

    ``baggage_prefix`` is that of Jaeger's baggage headers; None: they are not read but forwarded.
    ``forward`` names application headers to capture. ``alone``: nobody else reads these carriers,
    so a trace in a format that is not among ``formats`` is joined by nobody, which is counted.
    """

    def __init__(
        self,
        formats: Sequence[Format],
        counters: Counters,
        baggage_prefix: str | None,
        forward: Iterable[str],
        *,
        alone: bool = False,
    ) -> None:
        self.counters = counters
        self._names = tuple(format_.name for format_ in formats)
        self._alone = alone and bool(formats)
        # One function, whether it reads one format, as most do, or several.
        self._decode: Decode
        self._note: Note
        self._decode, self._note = _together(formats, counters)
        # The one header that most requests hold and most propagators read.
        self._only: str | None = None
        self._decode_only: DecodeAlone = lambda _value, _note: None
        if len(formats) == 1 and formats[0].decode_alone is not None:
            self._only, self._decode_only = formats[0].named_by, formats[0].decode_alone
        self._reads = frozenset().union(*(format_.reads for format_ in formats))
        self._captured = (TRACE_HEADERS | {BAGGAGE_HEADER}) - self._reads
        self._prefix = BAGGAGE_PREFIX if baggage_prefix is None else baggage_prefix
        self._forwards_prefix = baggage_prefix is None
        self.forward(forward)

    def forward(self, names: Iterable[str]) -> None:
        """Capture these application headers too, from now on; edges call it for ``allow=``."""
        self._captured |= application_names(names) - self._reads
        wanted = self._reads | self._captured
        self._environ_names = {_environ_key(name): name for name in wanted}
        self._environ_prefix = _environ_key(self._prefix)
        self._raw_names = {name.encode(): name for name in wanted}
        self._raw_prefix = self._prefix.encode()
        idle = (name for name in _SENT_BY_GRPC if not name.startswith(self._prefix))
        self._idle = frozenset(idle) - wanted

    def _read(self, headers: Mapping[str, str], captured: Headers) -> Extracted:
        """Return what lower-case ``headers`` say."""
        parts = self._decode(headers, self._note)
        if parts is None and captured:
            parts = self._not_joined(captured)
        return parts, captured

    def _not_joined(self, captured: Headers) -> ExtractedFields:
        """Return what a request says from which nothing was read but what goes on as it is."""
        if self._alone:
            for name, _ in captured:
                if name in _NAMES_A_SPAN:
                    self.counters.ignore(name, _NAMES_A_SPAN[name], self._names)
                    break
        return _NO_FIELDS

    def _capture(self, headers: Mapping[str, str]) -> Headers:
        """Return what goes on as it is. Raises ``TypeError`` where a value of that is no text."""
        captured = self._captured
        if captured.isdisjoint(headers) and (
            not self._forwards_prefix or self._prefix not in "\n".join(headers)
        ):
            return ()
        # Baggage last: what else there is does not depend on how much of it there is.
        names = sorted((name for name in headers if name in captured), key=is_baggage)
        if self._forwards_prefix:
            names += [name for name in headers if name.startswith(self._prefix)]
        pairs = []
        carried = carried_bytes = 0
        for name in names:
            written = headers[name]
            if type(written) is not str:
                raise TypeError(name)
            if not written:
                continue
            if len(written) > MAX_VALUE_BYTES:
                self.counters.cannot_send("forwarded", "too_long")
                continue
            value = forwardable(written)
            if value is None or not is_token(name):
                self.counters.cannot_send("forwarded", "value")
                continue
            if is_baggage(name):  # unread, but every service behind us pays for it all the same
                carried += 1
                carried_bytes += _baggage_bytes(name, value)
                if carried > MAX_ENTRIES or carried_bytes > MAX_BYTES:
                    self.counters.cannot_send("forwarded", "limit")
                    break
            pairs.append((name, value))
        return tuple(pairs)


def _together(formats: Sequence[Format], counters: Counters) -> tuple[Decode, Note]:
    """Return one decoder for all, and its note; of a single format its own."""
    reading = [
        (format_.name, format_.decode, partial(counters.decode_error, format_.name))
        for format_ in formats
    ]
    if len(reading) == 1:
        return reading[0][1:]

    def decode(headers: Mapping[str, str], _note: Note) -> ExtractedFields | None:
        parts, winner = None, ""
        for name, decode_one, note in reading:
            found = decode_one(headers, note)
            if parts is None:
                parts, winner = found, name
            elif found is not None:
                parts, winner = merge(parts, winner, found, name, counters)
        return parts

    return decode, ignore


def _baggage_bytes(name: str, value: str) -> int:
    """Return the size of a header of baggage, as ``within_limits`` counts that of entries."""
    return (
        len(value) if name == BAGGAGE_HEADER else len(name) - len(BAGGAGE_PREFIX) + len(value) + 2
    )


def _environ_key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
