"""The formats, composed: OpenTelemetry's ``TextMapPropagator`` and what edges need beyond it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from tracekit._context import (
    DEBUG,
    DEFER,
    FORWARDED_KEY,
    ROOT_HINT_KEY,
    Decision,
    RootHint,
    SpanContext,
    forwarded_headers,
    root_hint,
)
from tracekit.propagation import _formats, _forwarding, _jaeger
from tracekit.propagation._counters import Counters
from tracekit.propagation._forwarding import ForwardRule, Outgoing
from tracekit.propagation._headers import collect, plain
from tracekit.propagation._merge import merge
from tracekit.propagation._tracestate import TraceState, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tracekit.propagation._formats import Format
    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import Remote

Order = Literal["first", "last"]

# OpenTelemetry makes these keys up at import. Reading the context once by key, instead of through
# two functions that each look it up, is a third of what inject costs.
_SPAN_KEY = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_BAGGAGE_KEY = next(iter(otel_baggage.set_baggage("key", "value", Context())))

_FLAGS = tuple(map(trace.TraceFlags, range(4)))
_NO_STATE = trace.TraceState.get_default()


class Propagator(TextMapPropagator):
    """Extracts and injects a list of formats. Immutable after start; any thread may use it.

    ``order`` says which format's ids count when several name a span: the *first* valid one of
    ``formats`` (Jaeger's clients), or the *last* (OpenTelemetry's composite). All are injected.
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
    ) -> None:
        self.formats = tuple(dict.fromkeys(formats))
        self.order = order
        self.counters = Counters() if counters is None else counters
        chosen = [
            _formats.jaeger(jaeger_headers) if name == "jaeger" else _formats.lookup(name)
            for name in self.formats
        ]
        # The last of a list is the first of the reversed list: one rule serves both orders.
        reading = chosen if order == "first" else chosen[::-1]
        self._reading: list[tuple[Format, Note]] = [
            (format_, partial(self.counters.decode_error, format_.name)) for format_ in reading
        ]
        self._writing: list[tuple[Format, Note]] = [
            (format_, partial(self.counters.cannot_send, format_.name)) for format_ in chosen
        ]
        self._write_ids = [format_.write_ids for format_ in chosen if format_.write_ids]
        self._write_baggage = [
            (format_.write_baggage, note)
            for format_, note in self._writing
            if format_.write_baggage
        ]
        self._writes_parent = any(format_.writes_parent for format_ in chosen)
        self._writes_state = any("tracestate" in format_.identity for format_ in chosen)
        self._identity = frozenset().union(*(format_.identity for format_ in chosen))
        self._reads = frozenset().union(*(format_.reads for format_ in chosen))
        prefixes = (format_.read_prefix for format_ in chosen if format_.read_prefix)
        self._fields = {name for format_ in chosen for name in format_.fields}
        self._foreign_baggage = () if "jaeger" in self.formats else (_forwarding.BAGGAGE_PREFIX,)
        self._captured = (_forwarding.TRACE_HEADERS | {_forwarding.BAGGAGE_HEADER}) - self._reads
        self._prefixes = (*prefixes, *self._foreign_baggage)
        self.forward(forward)

    @property
    def fields(self) -> set[str]:
        """The header names that ``inject`` may set (``uberctx-*`` names depend on the baggage)."""
        return set(self._fields)

    def forward(self, names: Iterable[str]) -> None:
        """Capture these application headers too, from now on; edges call it for ``allow=``."""
        self._captured |= frozenset(name.lower() for name in names) - self._reads

    # -- in ------------------------------------------------------------------------------------

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,  # type: ignore[assignment] # as OpenTelemetry's
    ) -> Context:
        """Return ``context`` (None: an empty one) with what ``carrier`` says. Never raises."""
        if context is None:
            context = Context()
        try:
            if type(carrier) is dict and getter is default_getter and plain(carrier):
                return self._enter(carrier, context)
            return self._enter(self._gather(carrier, getter), context)
        except Exception:
            # A getter or a carrier of somebody else's.
            self.counters.decode_error("carrier", "error")
            return context

    def extract_pairs(
        self, pairs: Iterable[tuple[str, str | bytes]], context: Context | None = None
    ) -> Context:
        """Like ``extract``, of header pairs in any letter case with repetitions."""
        if context is None:
            context = Context()
        reads, captured, prefixes = self._reads, self._captured, self._prefixes
        wanted = [
            pair
            for pair in pairs
            if (name := pair[0].lower()) in reads or name in captured or name.startswith(prefixes)
        ]
        if not wanted:
            return context
        return self._enter(collect(wanted, partial(self.counters.decode_error, "carrier")), context)

    def _gather(self, carrier: CarrierT, getter: Getter[CarrierT]) -> dict[str, str]:
        """Read a carrier of unknown type through its getter; names may be in any case."""
        names = dict.fromkeys(getter.keys(carrier))
        lowered = {name.lower() for name in names}
        # Some getters list no keys, or list them in another spelling, and still answer.
        names.update(dict.fromkeys((self._reads | self._captured) - lowered))
        pairs = ((name, getter.get(carrier, name)) for name in names)
        return collect(pairs, partial(self.counters.decode_error, "carrier"))

    def _enter(self, headers: Mapping[str, str], context: Context) -> Context:
        remote: Remote | None = None
        for format_, note in self._reading:
            found = format_.decode(headers, note)
            if found is not None:
                if remote is None:
                    remote, winner = found, format_.name
                else:
                    remote, winner = merge(remote, winner, found, format_.name, self.counters)
        captured = () if self._captured.isdisjoint(headers) else self._capture(headers)
        if remote is None and not captured:
            return context
        values = dict(context)
        if captured:
            values[FORWARDED_KEY] = captured
        if remote is not None:
            _put(values, remote)
        return Context(values)

    def _capture(self, headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        captured, prefix = self._captured, self._foreign_baggage
        return tuple(
            (name, value)
            for name, value in headers.items()
            if value and (name in captured or name.startswith(prefix))
        )

    # -- out -----------------------------------------------------------------------------------

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,  # type: ignore[assignment] # as OpenTelemetry's
    ) -> None:
        """Write the current span, its decision and baggage in every format. Never raises.

        In a plain dict, headers that describe another span are replaced in any letter case.
        """
        if context is None:
            context = otel_context.get_current()
        try:
            if type(carrier) is dict and setter is default_setter:
                if not carrier:
                    self._write(carrier, context)
                    return
                own: dict[str, str] = {}
                if self._write(own, context):
                    for name in [name for name in carrier if name.lower() in self._identity]:
                        del carrier[name]
                carrier.update(own)
                return
            own = {}
            self._write(own, context)
            for name, value in own.items():
                setter.set(carrier, name, value)
        except Exception:
            # A setter or a span of somebody else's.
            self.counters.cannot_send("carrier", "error")

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
            context = otel_context.get_current()
        captured = forwarded_headers(context)
        own: dict[str, str] = {}
        if rule is None:
            described = self._write(own, context)
            return Outgoing(own, dict(captured), self._identity if described else frozenset())
        if not rule.lets_trace(host or ""):
            return Outgoing({}, {})
        application = rule.lets_application(host or "")
        described = self._write(own, context, baggage=application)
        forwarded = _forwarding.select(captured, rule.allow if application else frozenset())
        if application:
            forwarded.update(pair for pair in captured if _forwarding.is_baggage(pair[0]))
        return Outgoing(own, forwarded, self._identity if described else frozenset())

    def _write(self, into: dict[str, str], context: Context, *, baggage: bool = True) -> bool:
        """Write into an empty dict; return whether a span or a decision is described."""
        described = False
        span = context.get(_SPAN_KEY)
        if span is not None:
            span_context = span.get_span_context()  # type: ignore[attr-defined] # OTel's own key
            # The tuple that SpanContext is; six property calls cost as much as the writing.
            trace_id, span_id, _, flags, state, described = span_context
            if described:
                marks = span_context.marks if isinstance(span_context, SpanContext) else 0
                parent_id = None
                if self._writes_parent:
                    parent = getattr(span, "parent", None)
                    parent_id = parent and parent.span_id
                for write in self._write_ids:
                    write(into, trace_id, span_id, parent_id, flags, marks)
                if state is not _NO_STATE and self._writes_state and state:
                    into["tracestate"] = state.to_header()
        if not described:
            described = self._write_hint(into, context)
        carried = context.get(_BAGGAGE_KEY) if baggage else None
        if carried and isinstance(carried, dict):
            for write_baggage, note in self._write_baggage:
                write_baggage(into, carried, note)
        return described

    def _write_hint(self, into: dict[str, str], context: Context) -> bool:
        """Pass on a decision that came without ids and that no span of ours has taken up."""
        hint = root_hint(context)
        if hint is None:
            return False
        for format_, note in self._writing:
            if format_.write_decision is not None:
                format_.write_decision(into, hint.decision)
            if format_.write_debug_id is not None and hint.debug_id:
                format_.write_debug_id(into, hint.debug_id, note)
        return bool(into)


def _put(values: dict[str, object], remote: Remote) -> None:
    """Put what arrived where OpenTelemetry and our tracer look for it."""
    if remote.trace_id:
        values[_SPAN_KEY] = trace.NonRecordingSpan(_span_context(remote))
        values.pop(ROOT_HINT_KEY, None)
    elif (decision := remote.decision) is not Decision.DEFER:
        values[ROOT_HINT_KEY] = RootHint(decision, remote.debug_id)
    if remote.baggage:
        held = values.get(_BAGGAGE_KEY)
        base = held if isinstance(held, dict) else {}
        values[_BAGGAGE_KEY] = {**base, **remote.baggage}


def _span_context(remote: Remote) -> SpanContext:
    trace_id, span_id, _, sampled, debug, _, _, tracestate, bits = remote
    members = parse(tracestate) if tracestate else None
    # SpanContext.__new__ checks ranges that the decoders have checked.
    made = tuple.__new__(
        SpanContext,
        (
            trace_id,
            span_id,
            True,
            _FLAGS[(1 if sampled else 0) | bits & 2],
            TraceState(members) if members else _NO_STATE,
            True,
        ),
    )
    marks = bits & 12
    if debug:
        marks |= DEBUG
    elif sampled is None:
        marks |= DEFER
    if marks:
        object.__setattr__(made, "marks", marks)
    return made


def jaeger_propagator() -> Propagator:
    """Return a propagator of Jaeger's headers (``OTEL_PROPAGATORS=tracekit``)."""
    return Propagator(("jaeger",))


def b3_propagator() -> Propagator:
    """Return a propagator of the ``X-B3-*`` headers (``OTEL_PROPAGATORS=tracekit_b3``)."""
    return Propagator(("b3",))
