"""The formats, composed: OpenTelemetry's ``TextMapPropagator`` and what edges need beyond it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import baggage as otel_baggage
from opentelemetry import trace
from opentelemetry.propagators.textmap import (
    CarrierT,
    Setter,
    TextMapPropagator,
    default_setter,
)

from tracekit._context import (
    FORWARDED_KEY,
    SPAN_KEY,
    SpanContext,
    forwarded_headers,
    get_current,
    ids_of,
    root_hint,
)
from tracekit._protocols import FLAGS, MARKS_SHIFT
from tracekit.propagation import _formats, _forwarding, _jaeger
from tracekit.propagation._counters import Counters
from tracekit.propagation._extracted import BAGGAGE_KEY, IDLE, NO_STATE
from tracekit.propagation._extractor import Extractor
from tracekit.propagation._forwarding import ForwardRule, Outgoing
from tracekit.propagation._headers import can_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.context import Context

    from tracekit.propagation._formats import Text

Order = Literal["first", "last"]

_NONE: frozenset[str] = frozenset()
_TO_CHOOSE = frozenset({FORWARDED_KEY, BAGGAGE_KEY})
"""Where a context holds what does not go everywhere."""
_tuple = tuple.__new__  # a NamedTuple's own is a Python call


class Propagator(Extractor, TextMapPropagator):
    """Extracts and injects a list of formats. Only ``forward`` changes it; any thread may use it.

    ``order`` says which format's ids count when several name a span: the *first* valid one of
    ``formats`` (Jaeger's clients), or the *last* (OpenTelemetry's composite). All are injected.
    ``alone`` says that no other propagator reads the same carriers: a trace that is not joined,
    because its format is not among ``formats``, is counted and the first one told.
    Raises ``ValueError`` for an unknown format.
    """

    def __init__(
        self,
        formats: Sequence[str],
        *,
        order: Order = "first",
        counters: Counters | None = None,
        jaeger_headers: _jaeger.Names = _jaeger.NAMES,
        forward: Iterable[str] = (),
        alone: bool = False,
    ) -> None:
        self.formats = tuple(dict.fromkeys(formats))
        self.order = order
        chosen = [
            _formats.jaeger(jaeger_headers) if name == "jaeger" else _formats.lookup(name)
            for name in self.formats
        ]
        super().__init__(
            # The last of a list is the first of the reversed list: one rule serves both orders.
            chosen if order == "first" else chosen[::-1],
            Counters() if counters is None else counters,
            jaeger_headers.baggage_prefix.lower() if "jaeger" in self.formats else None,
            forward,
            alone=alone,
        )
        self._write_ids = _formats.together(chosen)
        # Most propagators name a span in one format, and most formats in one header.
        self._text: Text | None = None
        self._text_name = ""
        writing = [format_ for format_ in chosen if format_.write_ids]
        if len(writing) == 1:
            self._text, self._text_name = writing[0].text, writing[0].named_by
        ids = [name for format_ in chosen if format_.write_ids for name in format_.fields]
        self._ids_fit_metadata = all(map(can_name, ids))
        """Whether that can stand in gRPC's metadata: a deployment may have changed the names."""
        self._write_states = [
            (format_.write_state, partial(self.counters.cannot_send, format_.name))
            for format_ in chosen
            if format_.write_state
        ]
        self._write_baggage = [
            (format_.write_baggage, partial(self.counters.cannot_send, format_.name))
            for format_ in chosen
            if format_.write_baggage
        ]
        self._writing = chosen
        self._identity = frozenset().union(*(format_.identity for format_ in chosen))
        self._certain = frozenset().union(*(format_.certain for format_ in chosen))
        self._fields = {name for format_ in chosen for name in format_.fields}

    @property
    def fields(self) -> set[str]:
        """The header names that ``inject`` may set (``uberctx-*`` names depend on the baggage)."""
        return set(self._fields)

    def inject(  # noqa: C901 - one road without calls
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Write the current span, its decision and baggage in every format. Never raises.

        In a plain dict, headers that describe another span are replaced in any letter case.
        """
        if context is None:
            context = get_current()
        try:
            if carrier.__class__ is not dict or setter is not default_setter:
                self._inject_through(carrier, context, setter)
                return
            into: dict[str, str] = carrier  # type: ignore[assignment] # tested above
            span: Any = context.get(SPAN_KEY)
            # One of ours, sampled or not, says all by its slots: no call, and to ask whether it is
            # one is a call as well.
            try:
                bits: int | None = None if span is None else span._bits
            except AttributeError:
                bits = None
            if bits is None:
                self._inject_other(into, context, span)
            else:
                if into and not self._certain.issuperset(into):
                    self._clear(into)
                parent: Any = span._source
                if parent is not None and parent.__class__ is not int:
                    parent = parent.span_id
                text = self._text  # a local: it is no method, and not to be looked up as one
                if text is None:
                    self._write_ids(into, span._trace_id, span._span_id, bits, parent)
                else:
                    into[self._text_name] = text(span._trace_id, span._span_id, bits, parent)
                if span._state is not NO_STATE:
                    self._write_state(into, span._state)
            if self._write_baggage and BAGGAGE_KEY in context:
                self._inject_baggage(into, context)
        except Exception:  # a setter or a span of somebody else's
            self.counters.cannot_send("carrier", "error")

    def metadata_of(self, span: trace.Span, context: Context) -> tuple[tuple[str, str], ...] | None:
        """Return ``inject`` as gRPC's metadata; None where that holds more than a span's ids.

        ``context`` is that of ``span``. Nearly every call needs no more, and none of the looks at
        what a carrier may hold already.
        """
        own: Any = span
        try:  # as in ``inject``
            bits: int | None = own._bits
        except AttributeError:
            return None
        if bits is None:  # as it arrived: of a disabled handle, calls have no other
            return None
        if BAGGAGE_KEY in context or FORWARDED_KEY in context or own._state is not NO_STATE:
            return None
        if not self._ids_fit_metadata:
            return None
        parent = own._source
        if parent is not None and parent.__class__ is not int:
            parent = parent.span_id
        text = self._text
        if text is not None:
            return ((self._text_name, text(own._trace_id, own._span_id, bits, parent)),)
        into: dict[str, str] = {}
        self._write_ids(into, own._trace_id, own._span_id, bits, parent)
        return tuple(into.items())

    def _inject_other(self, into: dict[str, str], context: Context, span: Any) -> None:  # noqa: ANN401
        """Write what arrived, or a span of another library; without any, what was decided."""
        described: int = 0
        flags: int
        if span.__class__ in IDLE:  # as it arrived: nobody to ask
            held = span._context
            trace_id, span_id, _, flags, state, described = held
            parent_id = getattr(span, "parent_id", None)  # where it arrived with one
            marks = held.marks if held.__class__ is SpanContext else 0
        elif span is not None:
            trace_id, span_id, flags, parent_id, marks, state = ids_of(span, context)
            described = trace_id
        if not described:
            self._write_hint(into, context)
            return
        if into and not self._certain.issuperset(into):
            self._clear(into)
        bits = flags & FLAGS | marks << MARKS_SHIFT
        self._write_ids(into, trace_id, span_id, bits, parent_id)
        if state is not NO_STATE:
            self._write_state(into, state)

    def _write_state(self, into: dict[str, str], state: trace.TraceState) -> None:
        if state and self._write_states:
            text = state.to_header()  # a class of somebody else's may say anything
            for write_state, note in self._write_states:
                write_state(into, text, note)

    def _inject_baggage(self, into: dict[str, str], context: Context) -> None:
        carried = otel_baggage.get_all(context)
        for write_baggage, note in self._write_baggage:
            write_baggage(into, carried, note)

    def _inject_through(
        self, carrier: CarrierT, context: Context, setter: Setter[CarrierT]
    ) -> None:
        own: dict[str, str] = {}
        self.inject(own, context)
        for name, value in own.items():
            setter.set(carrier, name, value)

    def _clear(self, carrier: dict[str, str]) -> None:
        """Remove what describes another span, in any letter case."""
        if self._identity.issuperset(carrier):
            carrier.clear()
            return
        for name in [name for name in carrier if name.lower() in self._identity]:
            del carrier[name]

    def _replaced_by(self, own: dict[str, str]) -> frozenset[str]:
        """Return the names that may not stand beside ``own``: none, where it names no span."""
        return _NONE if self._identity.isdisjoint(own) else self._identity

    def outgoing(
        self,
        context: Context | None = None,
        host: str | None = None,
        rule: ForwardRule | None = None,
    ) -> Outgoing:
        """Return the headers for one outgoing request (see ``merge_headers``).

        ``rule`` says what may go to ``host``. Without a rule all that is captured, and the
        baggage, goes (a gRPC channel has been opened to one service on purpose).
        """
        if context is None:
            context = get_current()
        own: dict[str, str] = {}
        if (rule is None or rule.hosts is None) and _TO_CHOOSE.isdisjoint(context):
            self.inject(own, context)  # as nearly all: nothing that a rule had to be asked for
            replaced = _NONE if self._identity.isdisjoint(own) else self._identity
            return _tuple(Outgoing, (own, {}, replaced))
        captured = forwarded_headers(context)
        if rule is None:
            self.inject(own, context)
            return Outgoing(own, dict(captured), self._replaced_by(own))
        if not rule.lets_trace(host or ""):
            return Outgoing({}, {})
        self.inject(own, context)
        if rule.lets_application(host or ""):
            forwarded = _forwarding.select(captured, rule.allow)
            forwarded.update(pair for pair in captured if _forwarding.is_baggage(pair[0]))
        else:
            forwarded = _forwarding.select(captured)
            own = {name: value for name, value in own.items() if not self._is_baggage(name)}
        return Outgoing(own, forwarded, self._replaced_by(own))

    def inject_captured(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Write what is captured for the mesh and may go anywhere, as far as it is not there.

        For instrumentations that call ``inject`` and know no rule of hosts: trace headers of
        other formats and ``x-request-id``. Application headers and baggage stay at home. Never
        raises.
        """
        captured = forwarded_headers(context)
        if not captured:
            return
        try:
            for name, value in _forwarding.missing(_forwarding.select(captured), carrier):
                setter.set(carrier, name, value)
        except Exception:  # a carrier or a setter of somebody else's
            self.counters.cannot_send("carrier", "error")

    def _is_baggage(self, name: str) -> bool:
        return name == _forwarding.BAGGAGE_HEADER or name.startswith(self._prefix)

    def _write_hint(self, into: dict[str, str], context: Context) -> None:
        """Pass on a decision that came without ids and that no span of ours has taken up."""
        hint = root_hint(context)
        if hint is None:
            return
        self._clear(into)
        for format_ in self._writing:
            if format_.write_decision is not None:
                format_.write_decision(into, hint.decision)
            if format_.write_debug_id is not None and hint.debug_id:
                format_.write_debug_id(into, hint.debug_id)


def jaeger_propagator() -> Propagator:
    """Return a propagator of Jaeger's headers (``OTEL_PROPAGATORS=tracekit``)."""
    return Propagator(("jaeger",))


def b3_propagator() -> Propagator:
    """Return a propagator of the ``X-B3-*`` headers (``OTEL_PROPAGATORS=tracekit_b3``)."""
    return Propagator(("b3",))
