"""What a trace context says beyond OpenTelemetry's: debug, firehose, undecided, decision alone.

OpenTelemetry's ``TraceFlags`` know *sampled* (and 0x02, *random trace id*, which is why Jaeger's
debug bit 0x02 must never be written there). What is missing is kept as *marks* on tracekit's own
``SpanContext``, so that it survives wherever a span is passed without its ``Context``. Only what
arrives *without* ids (a lone ``b3: 0``, a ``jaeger-debug-id``) is a value of the ``Context``.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context

_runtime = otel_context._RUNTIME_CONTEXT
if type(_runtime) is ContextVarsRuntimeContext:
    # Straight through its variable: the functions around it cost more than what they do.
    _variable = _runtime._current_context
    get_current: Callable[[], Context] = _variable.get
    attach: Callable[[Context], Token[Context]] = _variable.set
    detach: Callable[[Token[Context]], None] = _variable.reset
else:  # another OTEL_PYTHON_CONTEXT; OpenTelemetry chose it when it was imported
    get_current, attach, detach = _runtime.get_current, _runtime.attach, otel_context.detach

# OpenTelemetry makes this key up at import; reading a context by it is a tenth of asking for it.
SPAN_KEY: str = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, otel_context.Context())))

SUPPRESSED_PLAINLY = "suppress_instrumentation"
"""The key by which most instrumentations said that nothing is to be traced, and some still do."""


def with_span(span: trace.Span, context: Context) -> Context:
    """Return ``context`` with ``span`` as its current one; OpenTelemetry's way copies twice."""
    made = otel_context.Context(context)
    dict.__setitem__(made, SPAN_KEY, span)  # nobody has seen it yet
    return made


LOW_64_BITS = (1 << 64) - 1
"""A span id's bits, and those of a trace id that a peer with 64-bit ids keeps."""

RANDOM = 0x02
"""W3C's trace flag *random trace id* (Trace Context level 2): about the id, no decision."""

DEBUG = 0x02
"""The trace was forced by a person: it implies sampled and skips every sampler."""
FIREHOSE = 0x08
"""The span is stored but not indexed (Jaeger's flag 8); carried as it came."""
CARRIED = FIREHOSE | 0x04
"""Jaeger's flags that decide nothing here and go on as they came; 0x04 means nothing yet."""
DEFER = 0x10
"""The sender did not decide: our sampler does. Never on the wire."""


class Decision(enum.IntEnum):
    """What somebody upstream decided about a trace (B3's four sampling states)."""

    DEFER = 0
    DENY = 1
    ACCEPT = 2
    DEBUG = 3


class SpanContext(trace.SpanContext):
    """OpenTelemetry's span context and the marks that its flags cannot express.

    It is equal to, hashes like, and pickles like the plain one with the same five fields; the
    marks take no part in equality. Immutable, so any thread may share it.
    """

    marks: int = 0  # the class's default: only a marked context pays for an instance dictionary

    @classmethod
    def marked(
        cls,
        trace_id: int,
        span_id: int,
        *,
        is_remote: bool,
        trace_flags: trace.TraceFlags | None = None,
        trace_state: trace.TraceState | None = None,
        marks: int = 0,
    ) -> SpanContext:
        """Return a context that carries ``marks`` (``DEBUG | CARRIED | DEFER``)."""
        made = cls(trace_id, span_id, is_remote, trace_flags, trace_state)
        if marks:
            object.__setattr__(made, "marks", marks)
        return made

    @property
    def decision(self) -> Decision:
        """What this context says about sampling: DEBUG before DEFER before the sampled bit."""
        if self.marks & DEBUG:
            return Decision.DEBUG
        if self.marks & DEFER:
            return Decision.DEFER
        return Decision.ACCEPT if self.trace_flags.sampled else Decision.DENY


def marks_of(context: trace.SpanContext) -> int:
    """Return the marks of any OpenTelemetry span context; a foreign one has none."""
    return context.marks if isinstance(context, SpanContext) else 0


Ids: TypeAlias = "tuple[int, int, int, int | None, int, trace.TraceState]"
"""What headers say of a span: trace id, span id, flags, parent's id, marks, state.

Spans of ours have a method ``_ids``, or are read by slot; any other is asked through the API, for
which some spans must make two contexts.
"""


def ids_of(span: trace.Span, context: Context) -> Ids:
    """Return what headers say of any OpenTelemetry span; the ids are 0 where it is invalid.

    ``context`` is the one in which ``span`` is current. Spans of another SDK have no place for
    marks: what arrived with their trace counts for those that are sampled.
    """
    span_context = span.get_span_context()
    trace_id, span_id, _, flags, state, valid = span_context
    if not valid:
        return 0, 0, 0, None, 0, state
    parent: trace.SpanContext | None = getattr(span, "parent", None)
    parent_id = None if parent is None else parent[1]
    marks = span_context.marks if span_context.__class__ is SpanContext else 0
    arrived = context.get(MARKS_KEY)
    if not marks and isinstance(arrived, tuple) and arrived[0] == trace_id and flags & 1:
        marks = arrived[1]
    return trace_id, span_id, flags, parent_id, marks, state


class RootHint(NamedTuple):
    """A decision that arrived without ids: it binds the next root started in its ``Context``."""

    decision: Decision
    debug_id: str | None = None
    """Value of ``jaeger-debug-id``: the root carries it as a tag of that name."""


ROOT_HINT_KEY = "tracekit-root-hint"
MARKS_KEY = "tracekit-marks"
"""Trace id and marks of a marked context that arrived, for spans that cannot carry them."""
FORWARDED_KEY = "tracekit-forwarded-headers"


def root_hint(context: Context | None = None) -> RootHint | None:
    """Return the decision that binds a root started in ``context`` (None: the current one)."""
    hint = otel_context.get_value(ROOT_HINT_KEY, context)
    return hint if isinstance(hint, RootHint) else None


def with_root_hint(hint: RootHint, context: Context | None = None) -> Context:
    """Return ``context`` (None: the current one) with a decision for the roots started in it."""
    return otel_context.set_value(ROOT_HINT_KEY, hint, context)


Headers = tuple[tuple[str, str], ...]
"""Header pairs as they arrived: names in lower case, order and repetitions kept."""


def forwarded_headers(context: Context | None = None) -> Headers:
    """Return the mesh headers captured from the request that ``context`` serves."""
    held = otel_context.get_value(FORWARDED_KEY, context)
    return held if isinstance(held, tuple) else ()
