"""The formats, composed: OpenTelemetry's ``TextMapPropagator`` and what edges need beyond it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from opentelemetry import baggage as otel_baggage
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

from tracekit._context import SPAN_KEY, forwarded_headers, get_current, ids_of, root_hint
from tracekit.propagation import _formats, _forwarding, _jaeger
from tracekit.propagation._arrival import BAGGAGE_KEY, NO_STATE, fill
from tracekit.propagation._counters import Counters
from tracekit.propagation._forwarding import ForwardRule, Outgoing
from tracekit.propagation._headers import MAX_VALUE_BYTES, collect, ignore
from tracekit.propagation._merge import merge
from tracekit.propagation._remote import NO_BAGGAGE
from tracekit.propagation._w3c import TRACESTATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tracekit._context import Headers
    from tracekit.propagation._formats import Decode
    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import Parts

Order = Literal["first", "last"]

_NOTHING: Parts = (0, 0, None, None, False, None, NO_BAGGAGE, "", 0)
_NONE: frozenset[str] = frozenset()
_NO_FORMAT: tuple[str, Decode, Note] = ("", lambda _headers, _note: None, ignore)


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
        reading = [
            (format_.name, format_.decode, partial(self.counters.decode_error, format_.name))
            for format_ in (chosen if order == "first" else chosen[::-1])
        ]
        # Taken apart, because most propagators have one format and a loop would cost them a tenth.
        self._first: str
        self._decode_first: Decode
        self._note_first: Note
        self._first, self._decode_first, self._note_first = reading[0] if reading else _NO_FORMAT
        self._others = reading[1:]
        self._write_ids = _formats.together(chosen)
        self._write_baggage = [
            (format_.write_baggage, partial(self.counters.cannot_send, format_.name))
            for format_ in chosen
            if format_.write_baggage
        ]
        self._writing = chosen
        self._identity = frozenset().union(*(format_.identity for format_ in chosen))
        self._certain = frozenset().union(*(format_.certain for format_ in chosen))
        self._reads = frozenset().union(*(format_.reads for format_ in chosen))
        self._fields = {name for format_ in chosen for name in format_.fields}
        self._captured = (_forwarding.TRACE_HEADERS | {_forwarding.BAGGAGE_HEADER}) - self._reads
        # Jaeger's baggage has names of the user's; where we do not read it, it is forwarded.
        self._prefix = jaeger_headers.baggage_prefix.lower()
        self._forwards_prefix = "jaeger" not in self.formats
        if self._forwards_prefix:
            self._prefix = _forwarding.BAGGAGE_PREFIX
        self.forward(forward)

    @property
    def fields(self) -> set[str]:
        """The header names that ``inject`` may set (``uberctx-*`` names depend on the baggage)."""
        return set(self._fields)

    def forward(self, names: Iterable[str]) -> None:
        """Capture these application headers too, from now on; edges call it for ``allow=``."""
        self._captured |= frozenset(name.lower() for name in names) - self._reads
        wanted = self._reads | self._captured
        self._environ_names = {_environ_key(name): name for name in wanted}
        self._environ_prefix = _environ_key(self._prefix)

    # -- in ------------------------------------------------------------------------------------

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Return ``context`` (None: an empty one) with what ``carrier`` says. Never raises."""
        try:
            if type(carrier) is dict and getter is default_getter:
                plain: dict[str, str] = carrier  # type: ignore[assignment] # codecs do not trust it
                if self._reads.issuperset(plain):
                    return self._enter(plain, context, ())
                if "\n".join(plain).islower():  # nothing to fold: codecs can read it as it is
                    return self._enter(plain, context, self._capture(plain))
        except (TypeError, AttributeError):  # names or values that are no text
            pass
        try:
            headers = self._gather(carrier, getter)
            return self._enter(headers, context, self._capture(headers))
        except Exception:  # a getter or a carrier of somebody else's
            self.counters.decode_error("carrier", "error")
            return Context() if context is None else context

    def extract_pairs(
        self, pairs: Iterable[tuple[str | bytes, object]], context: Context | None = None
    ) -> Context:
        """Like ``extract``, of header pairs (text or bytes) in any letter case with repetitions."""
        try:
            headers = self._wanted(pairs)
        except Exception:  # pairs that are none
            self.counters.decode_error("carrier", "error")
            headers = {}
        return self._enter(headers, context, self._capture(headers))

    def _wanted(self, pairs: Iterable[tuple[str | bytes, object]]) -> dict[str, str]:
        """Return what concerns us; most headers of a request do not, and are not looked into."""
        reads, captured, prefix = self._reads, self._captured, self._prefix
        wanted = []
        for name, value in pairs:
            key = (name if isinstance(name, str) else name.decode("latin-1")).lower()
            if key in reads or key in captured or key.startswith(prefix):
                wanted.append((key, value))
        return collect(wanted, partial(self.counters.decode_error, "carrier"))

    def extract_environ(
        self, environ: Mapping[str, object], context: Context | None = None
    ) -> Context:
        """Like ``extract``, of a WSGI environ, whose headers are keys: ``HTTP_X_REQUEST_ID``."""
        names, prefix = self._environ_names, self._environ_prefix
        found = {names[key]: environ[key] for key in environ if key in names}
        if prefix in "\n".join(environ):  # one look into all names is cheaper than one into each
            for key in environ:
                if key.startswith(prefix):
                    found[key[5:].replace("_", "-").lower()] = environ[key]
        if not found:
            return Context() if context is None else context
        headers: dict[str, str] = found  # type: ignore[assignment] # as in ``extract``
        try:
            return self._enter(headers, context, self._capture(headers))
        except (TypeError, AttributeError):  # values that are no text
            headers = collect(found.items(), partial(self.counters.decode_error, "carrier"))
            return self._enter(headers, context, self._capture(headers))

    def _gather(self, carrier: CarrierT, getter: Getter[CarrierT]) -> dict[str, str]:
        """Read a carrier of unknown type through its getter; names may be in any case."""
        names = dict.fromkeys(getter.keys(carrier))
        if getter is not default_getter:
            # Some getters list no keys, or list them in another spelling, and still answer.
            lowered = {name.lower() for name in names}
            names.update(dict.fromkeys((self._reads | self._captured) - lowered))
        pairs = ((name, getter.get(carrier, name)) for name in names)
        return collect(pairs, partial(self.counters.decode_error, "carrier"))

    def _enter(
        self, headers: Mapping[str, str], context: Context | None, captured: Headers
    ) -> Context:
        """Return ``context`` with what lower-case ``headers`` say."""
        parts = self._decode_first(headers, self._note_first)
        if self._others:
            parts = self._with_others(parts, headers)
        if parts is None:
            if not captured:
                return Context() if context is None else context
            parts = _NOTHING
        return fill(Context() if context is None else Context(context), parts, captured)

    def _with_others(self, parts: Parts | None, headers: Mapping[str, str]) -> Parts | None:
        """Return what the first format said together with what the others say."""
        winner = self._first
        for name, decode, note in self._others:
            found = decode(headers, note)
            if found is not None:
                if parts is None:
                    parts, winner = found, name
                else:
                    parts, winner = merge(parts, winner, found, name, self.counters)
        return parts

    def _capture(self, headers: Mapping[str, str]) -> Headers:
        """Return what goes on as it is. Raises ``TypeError`` where a value of that is no text."""
        captured = self._captured
        names = [name for name in headers if name in captured]
        if self._forwards_prefix:
            names += [name for name in headers if name.startswith(self._prefix)]
        pairs = []
        for name in names:
            value = headers[name]
            if type(value) is not str:
                raise TypeError(name)
            if 0 < len(value) <= MAX_VALUE_BYTES:
                pairs.append((name, value))
        return tuple(pairs)

    # -- out -----------------------------------------------------------------------------------

    def inject(
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
            span = context.get(SPAN_KEY)
            trace_id = 0
            if span is not None:
                tell = getattr(span, "_ids", None)
                trace_id, span_id, flags, parent_id, marks, state = (
                    ids_of(span) if tell is None else tell()  # type: ignore[arg-type] # OTel's key
                )
            if trace_id:
                if into and not self._certain.issuperset(into):
                    self._clear(into)
                self._write_ids(into, trace_id, span_id, flags, parent_id, marks)
                if state is not NO_STATE:
                    self._write_state(into, state)
            else:
                self._write_hint(into, context)
            if self._write_baggage and context.get(BAGGAGE_KEY):
                self._inject_baggage(into, context)
        except Exception:  # a setter or a span of somebody else's
            self.counters.cannot_send("carrier", "error")

    def _write_state(self, into: dict[str, str], state: trace.TraceState) -> None:
        if state and TRACESTATE in self._identity:
            into[TRACESTATE] = state.to_header()

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
        captured = forwarded_headers(context)
        own: dict[str, str] = {}
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


def _environ_key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def jaeger_propagator() -> Propagator:
    """Return a propagator of Jaeger's headers (``OTEL_PROPAGATORS=tracekit``)."""
    return Propagator(("jaeger",))


def b3_propagator() -> Propagator:
    """Return a propagator of the ``X-B3-*`` headers (``OTEL_PROPAGATORS=tracekit_b3``)."""
    return Propagator(("b3",))
