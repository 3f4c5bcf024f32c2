"""OpenTracing's three carriers, each through the formats that the handle is configured with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from opentelemetry.context import Context
from opentracing import Format, InvalidCarrierException, UnsupportedFormatException

from tracekit._context import DEBUG, marks_of
from tracekit.opentracing._span_context import SpanContext
from tracekit.propagation import Remote
from tracekit.propagation._binary import decode_binary, encode_binary
from tracekit.propagation._headers import pairs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from tracekit._assembly.handle import Tracing

_T = TypeVar("_T")
_SAMPLED = 0x01
_DEBUG = 0x02


def inject(tracing: Tracing, context: SpanContext, form: object, carrier: object) -> None:
    """Write ``context`` into ``carrier``.

    Raises UnsupportedFormatException, and InvalidCarrierException for a carrier that does not go
    with its format.
    """
    _lookup(_WRITERS, form)(tracing, context, carrier)


def extract(tracing: Tracing, form: object, carrier: object) -> SpanContext | None:
    """Return what ``carrier`` says, None if it says nothing. What is malformed is only counted.

    Raises what ``inject`` raises.
    """
    return _lookup(_READERS, form)(tracing, carrier)


def _lookup(table: Mapping[object, Callable[..., _T]], form: object) -> Callable[..., _T]:
    for known, function in table.items():  # a format may be of any type, hashable or not
        if known == form:
            return function
    raise UnsupportedFormatException(form)


def _inject_headers(tracing: Tracing, context: SpanContext, carrier: object) -> None:
    tracing.propagator.inject(_writable(carrier), context.enter(Context()))


def _inject_text(tracing: Tracing, context: SpanContext, carrier: object) -> None:
    """Jaeger's baggage stands in a text map as it is; only in headers it is percent-encoded."""
    into = _writable(carrier)
    prefix = _raw_prefix(tracing)
    if prefix is None:
        tracing.propagator.inject(into, context.enter(Context()))
        return
    tracing.propagator.inject(into, context.with_baggage({}).enter(Context()))
    for key, value in context.baggage.items():
        into[prefix + key] = value


def _extract_headers(tracing: Tracing, carrier: object) -> SpanContext | None:
    return SpanContext.held_by(tracing.propagator.extract_pairs(_readable(carrier)))


def _extract_text(tracing: Tracing, carrier: object) -> SpanContext | None:
    pairs = _readable(carrier)
    prefix = _raw_prefix(tracing)
    if prefix is None:
        return SpanContext.held_by(tracing.propagator.extract_pairs(pairs))
    own = {
        name[len(prefix) :].lower(): value
        for name, value in pairs
        if isinstance(name, str) and isinstance(value, str) and name.lower().startswith(prefix)
    }
    rest = (pair for pair in pairs if not str(pair[0]).lower().startswith(prefix))
    found = SpanContext.held_by(tracing.propagator.extract_pairs(rest))
    if not own:
        return found
    found = found or SpanContext(None, None)
    return found.with_baggage({**found.baggage, **own})


def _inject_binary(_tracing: Tracing, context: SpanContext, carrier: object) -> None:
    to_binary(context, carrier)


def to_binary(context: SpanContext, carrier: object) -> None:
    """Append ``context`` to ``carrier``; InvalidCarrierException if that is no bytearray."""
    if not isinstance(carrier, bytearray):
        raise InvalidCarrierException("a binary carrier is a bytearray")
    if not context.has_trace:
        return  # the layout has no place for a decision or a debug id alone
    otel = context.otel
    marks = marks_of(otel)
    carrier += encode_binary(
        Remote(
            otel.trace_id,
            otel.span_id,
            context.parent_id,
            bool(otel.trace_flags.sampled),
            bool(marks & DEBUG),
            baggage=context.baggage,
            trace_flags=marks,
        )
    )


def _extract_binary(tracing: Tracing, carrier: object) -> SpanContext | None:
    counters = tracing.propagator.counters
    return from_binary(carrier, lambda why: counters.decode_error("binary", why))


def from_binary(carrier: object, note: Callable[[str], None]) -> SpanContext | None:
    """Return what a bytearray says; ``note`` hears what of it cannot be read.

    Raises InvalidCarrierException if ``carrier`` is no bytearray.
    """
    if not isinstance(carrier, bytearray):
        raise InvalidCarrierException("a binary carrier is a bytearray")
    if not carrier:
        return None
    remote = decode_binary(carrier, note)
    if remote is None:
        return None
    flags = remote.trace_flags | (_SAMPLED if remote.sampled else 0)
    flags |= _DEBUG if remote.debug else 0
    return SpanContext(remote.trace_id, remote.span_id, remote.parent_id, flags, remote.baggage)


def _raw_prefix(tracing: Tracing) -> str | None:
    """Return the prefix of Jaeger's baggage entries; None where another format carries them."""
    if "jaeger" not in tracing.propagator.formats:
        return None
    return tracing.settings.jaeger_headers.baggage_prefix


def _writable(carrier: object) -> MutableMapping[str, str]:
    if not hasattr(carrier, "__setitem__") or isinstance(carrier, bytearray | list):
        raise InvalidCarrierException("a text carrier is a dict")
    return carrier  # type: ignore[return-value] # a header class of somebody's, as good as a dict


def _readable(carrier: object) -> list[tuple[str, str]]:
    if not hasattr(carrier, "items"):
        raise InvalidCarrierException("a text carrier is a dict")
    return list(pairs_of(carrier))  # type: ignore[arg-type] # the propagator trusts none of them


_WRITERS = {
    Format.TEXT_MAP: _inject_text,
    Format.HTTP_HEADERS: _inject_headers,
    Format.BINARY: _inject_binary,
}
_READERS = {
    Format.TEXT_MAP: _extract_text,
    Format.HTTP_HEADERS: _extract_headers,
    Format.BINARY: _extract_binary,
}
