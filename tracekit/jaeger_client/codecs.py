"""``jaeger_client.codecs``: span contexts in carriers, one format each, for those who name them.

A tracer's ``codecs`` say what ``inject`` and ``extract`` do. Unlike the pipeline's own formats,
which count what they cannot read, these raise ``SpanContextCorruptedException``, as they did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote

from opentracing import InvalidCarrierException, SpanContextCorruptedException

from tracekit.jaeger_client.constants import (
    BAGGAGE_HEADER_KEY,
    BAGGAGE_HEADER_PREFIX,
    DEBUG_FLAG,
    DEBUG_ID_HEADER_KEY,
    SAMPLED_FLAG,
    TRACE_ID_HEADER,
)
from tracekit.opentracing import SpanContext
from tracekit.opentracing._carriers import from_binary, to_binary

if TYPE_CHECKING:
    from tracekit.opentracing import Span

__all__ = [
    "B3Codec",
    "BinaryCodec",
    "Codec",
    "TextCodec",
    "ZipkinCodec",
    "ZipkinSpanFormat",
    "span_context_from_string",
    "span_context_to_string",
]

ZipkinSpanFormat = "zipkin-span-format"


class Identified(Protocol):
    """A span or a span context: whatever has the four parts."""

    @property
    def trace_id(self) -> int | None:
        """64 or 128 bits."""

    @property
    def span_id(self) -> int | None:
        """64 bits."""

    @property
    def parent_id(self) -> int | None:
        """64 bits; None: a root."""

    @property
    def flags(self) -> int | None:
        """Jaeger's."""


class Codec:
    """What a codec is made of; derive yours from it."""

    def inject(self, span_context: SpanContext, carrier: object) -> None:
        """Write ``span_context`` into ``carrier``."""
        raise NotImplementedError

    def extract(self, carrier: object) -> SpanContext | None:
        """Return what ``carrier`` says, or None."""
        raise NotImplementedError


class TextCodec(Codec):
    """Jaeger's own headers, percent-encoded or (for text maps) as they are."""

    def __init__(
        self,
        url_encoding: bool = False,
        trace_id_header: str = TRACE_ID_HEADER,
        baggage_header_prefix: str = BAGGAGE_HEADER_PREFIX,
        debug_id_header: str = DEBUG_ID_HEADER_KEY,
        baggage_header: str = BAGGAGE_HEADER_KEY,
    ) -> None:
        self.url_encoding = url_encoding
        self.trace_id_header = _header(trace_id_header)
        self.baggage_prefix = _header(baggage_header_prefix)
        self.debug_id_header = _header(debug_id_header)
        self.baggage_header = _header(baggage_header)

    def inject(self, span_context: SpanContext, carrier: object) -> None:
        """Write ids and baggage into a dict."""
        into = _dict(carrier)
        into[self.trace_id_header] = _line(span_context)
        for key, value in span_context.baggage.items():
            name = self.baggage_prefix + _text(key)
            into[name] = quote(value) if self.url_encoding else _text(value)

    def extract(self, carrier: object) -> SpanContext | None:
        """Read ids, baggage and a debug id, names in any letter case."""
        if not hasattr(carrier, "items"):
            raise InvalidCarrierException("a text carrier is a dict")
        ids: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
        baggage: dict[str, str] = {}
        debug_id = None
        for name, value in carrier.items():
            key = name.lower()
            if key == self.trace_id_header:
                ids = span_context_from_string(self._decoded(value))
            elif key.startswith(self.baggage_prefix):
                baggage[key[len(self.baggage_prefix) :]] = self._decoded(value)
            elif key == self.debug_id_header:
                debug_id = self._decoded(value)
            elif key == self.baggage_header:
                pairs = (part.strip().split("=") for part in self._decoded(value).split(","))
                baggage.update({pair[0]: pair[1] for pair in pairs if len(pair) == 2})
        if not (ids[0] or debug_id or baggage):
            return None
        return SpanContext(*ids, baggage=baggage, debug_id=debug_id)

    def _decoded(self, value: str) -> str:
        return unquote(value) if self.url_encoding and isinstance(value, str) else value


class B3Codec(Codec):
    """The ``x-b3-*`` headers. As a tracer's codec for HTTP headers it goes for all edges, too.

    Names are written in lower case, as by every edge and as HTTP/2 wants them. *Not sampled* is
    said: a receiver that hears nothing of it decides anew (openzipkin/b3-propagation).
    """

    def __init__(self, generate_128bit_trace_id: bool = False) -> None:
        self.generate_128bit_trace_id = generate_128bit_trace_id

    def inject(self, span_context: SpanContext, carrier: object) -> None:
        """Write ids and decision into a dict."""
        into = _dict(carrier)
        width = 32 if self.generate_128bit_trace_id else 16
        into["x-b3-traceid"] = f"{span_context.trace_id or 0:0{width}x}"
        into["x-b3-spanid"] = f"{span_context.span_id or 0:016x}"
        if span_context.parent_id is not None:
            into["x-b3-parentspanid"] = f"{span_context.parent_id:016x}"
        flags = span_context.flags or 0
        if flags & DEBUG_FLAG:
            into["x-b3-flags"] = "1"
        else:
            into["x-b3-sampled"] = "1" if flags & SAMPLED_FLAG else "0"

    def extract(self, carrier: object) -> SpanContext | None:
        """Read ids and decision, names in any letter case."""
        given = {name.lower(): value for name, value in _dict(carrier).items() if value is not None}
        trace_id, span_id, parent_id = (
            _hexadecimal(given[name]) if name in given else None
            for name in ("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid")
        )
        if not trace_id or not span_id:
            return None
        flags = SAMPLED_FLAG if given.get("x-b3-sampled") == "1" else 0
        flags |= DEBUG_FLAG if given.get("x-b3-flags") == "1" else 0
        return SpanContext(trace_id, span_id, parent_id, flags)


class BinaryCodec(Codec):
    """The bytes that the Jaeger clients of Go and Python agree on."""

    def inject(self, span_context: SpanContext, carrier: object) -> None:
        """Append to a bytearray."""
        to_binary(span_context, carrier)

    def extract(self, carrier: object) -> SpanContext | None:
        """Read a bytearray."""
        return from_binary(carrier, _corrupted)


class ZipkinCodec(Codec):
    """Four plain values in a dict, or attributes of anything (TChannel's tracing fields)."""

    def inject(self, span_context: SpanContext | Span, carrier: object) -> None:
        """Write the parts into a dict."""
        into = _dict(carrier)
        into["trace_id"], into["span_id"] = span_context.trace_id, span_context.span_id
        into["parent_id"], into["traceflags"] = span_context.parent_id, span_context.flags

    def extract(self, carrier: object) -> SpanContext | None:
        """Read the parts."""
        names = ("trace_id", "span_id", "parent_id", "traceflags")
        if isinstance(carrier, dict):
            parts = [carrier.get(name) for name in names]
        else:
            for name in names:
                if not hasattr(carrier, name):
                    raise InvalidCarrierException(f"carrier has no {name}")
            parts = [getattr(carrier, name) for name in names]
        return SpanContext(*parts) if parts[0] else None


def span_context_to_string(trace_id: int, span_id: int, parent_id: int | None, flags: int) -> str:
    """Return ``{trace}:{span}:{parent}:{flags}`` in hexadecimal, without leading zeros."""
    return f"{trace_id:x}:{span_id:x}:{parent_id or 0:x}:{flags:x}"


def span_context_from_string(value: object) -> tuple[int, int, int | None, int]:
    """Return trace id, span id, parent id (None: a root) and flags of such a line.

    Raises SpanContextCorruptedException for anything else.
    """
    if isinstance(value, list) and len(value) == 1:  # some frameworks list a header's values
        (value,) = value
    try:
        trace_id, span_id, parent_id, flags = (int(part, 16) for part in _str(value).split(":"))
    except ValueError:
        raise SpanContextCorruptedException(f"malformed trace context {value!r:.100}") from None
    if trace_id < 1 or span_id < 1 or parent_id < 0 or flags < 0:
        raise SpanContextCorruptedException(f"malformed trace context {value!r:.100}")
    return trace_id, span_id, parent_id or None, flags


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise SpanContextCorruptedException(f"no text but a {type(value).__name__}")
    return value


def _hexadecimal(value: object) -> int:
    try:
        return int(_str(value), 16)
    except ValueError:
        raise SpanContextCorruptedException(f"no hexadecimal number: {value!r:.100}") from None


def _line(context: Identified) -> str:
    return span_context_to_string(
        context.trace_id or 0, context.span_id or 0, context.parent_id, context.flags or 0
    )


def _header(name: str) -> str:
    return name.lower().replace("_", "-")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _dict(carrier: object) -> dict[str, object]:
    if not isinstance(carrier, dict):
        raise InvalidCarrierException("this carrier is a dict")
    return carrier


def _corrupted(why: str) -> None:
    raise SpanContextCorruptedException(f"malformed binary trace context: {why}")
