"""The hot path: from a parent to a child.

A parent that is one of our own spans is read by slot, so no ``SpanContext`` is made until
somebody asks for it, and its decision is followed inline. So is that of a parent from the wire.
Everything else (roots, marked parents and those of another library, foreign samplers) takes the
road that the SDK takes.

``begin`` is long on purpose: a Python call costs a tenth of what a whole span may cost.

What it has to obey, on every road:

* A valid parent gives the trace id and the trace state, and with ``ParentRule`` the decision, too:
  Jaeger's clients never ask a sampler below one, and OpenTelemetry's default is
  ``ParentBased(root)``. The SDK's specification ("SDK Span creation") wants the trace id to be
  there before the sampler is asked, and a new span id whatever it answers, so that logs can tell
  two operations apart.
* ``bits`` are W3C's trace flags and, above ``MARKS_SHIFT``, the marks that have no place among
  them: Jaeger's *debug* is 0x02, which in W3C's level 2 is *random trace id*. Debug is inherited,
  and debug implies sampled.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util import BoundedList

from tracekit._context import DEBUG, DEFER, ROOT_HINT_KEY, get_current, marks_of
from tracekit._context import SpanContext as Remote
from tracekit._protocols import FLAGS, MARKS_SHIFT, PlainAttributes
from tracekit.propagation._extracted import IDLE
from tracekit.tracing._attributes import tell_unread
from tracekit.tracing._locked_span import SPAN
from tracekit.tracing._make import root
from tracekit.tracing._readable import DEBUG_BITS, SAMPLED
from tracekit.tracing._span import UnsampledSpan, is_valid_link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

    from tracekit.tracing._shared import TracerState

_new = object.__new__
_NO_STATE = trace.DEFAULT_TRACE_STATE
_PRIORITY = "sampling.priority"
"""A start attribute of this name goes before the parent's decision (OpenTracing): ask the rule."""


Arguments = tuple[
    "TracerState",
    str,
    "Context | None",
    "SpanKind",
    "Attributes",
    "Sequence[Link] | None",
    "int | None",
    bool,
    bool,
    bool,
]
"""The tracer, then the arguments of ``start_as_current_span``; most spans need few of them."""


def begin(  # noqa: C901, PLR0912, PLR0915 - one road without calls, see above
    arguments: Arguments,
    parent: Any,  # noqa: ANN401 - whatever the context holds as its span
) -> trace.Span:
    """Start a span below ``parent``, the span of its context."""
    tracer, attributes = arguments[0], arguments[4]
    provider = tracer._provider
    process = tracer._states.current
    if not process.mark[0]:  # forked: the ids and figures are the parent's
        process = tracer._states.now()
    try:
        quick = provider._inline and (attributes is None or _PRIORITY not in attributes)
    except Exception as error:  # no mapping, or one that raises
        tell_unread("What was given as attributes", error)
        attributes, quick = None, provider._inline
        arguments = (*arguments[:4], None, *arguments[5:])
    if quick:
        try:  # TracingState.draw(), without the call
            span_id = process.stock.pop() or process.draw()
        except IndexError:
            span_id = process.draw()
    # By exact type: a subclass may have ideas of its own of what its ids are, and to ask whether
    # something is a ``trace.Span``, an abstract class, is slow.
    of = type(parent)
    source: SpanContext | int | None  # the parent: of our own only its id, the rest is the span's
    if quick and (of is UnsampledSpan or of is SPAN):
        bits = parent._bits
        if not bits & SAMPLED:
            process.unsampled += 1
            quiet: UnsampledSpan = UnsampledSpan()
            quiet._trace_id = parent._trace_id
            quiet._span_id = span_id
            quiet._bits = bits
            quiet._state = parent._state
            quiet._made = None
            return quiet
        process.children += 1
        trace_id = parent._trace_id
        state = parent._state
        source = parent._span_id
    else:
        if (
            quick
            and of in IDLE
            and type(source := parent._context) is Remote  # (each way sets ``source``)
            and source[2]  # is_remote
            and source[5]  # is_valid
            and not source.marks  # debug, firehose and undecided are for ``decide``
        ):
            # As it came off the wire: its decision is final, and it counts as *joined*, Jaeger's
            # word. (A tuple: its properties would be a call each.)
            trace_id, bits, state = source[0], source[3] & FLAGS, source[4]
            recording = bits & SAMPLED
            process.joined[recording] += 1
        elif (  # a root that our own sampler decides, and no header (debug id, ``b3: 1``) speaks of
            quick
            and parent is None
            and provider._decide_root is not None
            and ROOT_HINT_KEY not in (get_current() if arguments[2] is None else arguments[2])
        ):
            source = None
            trace_id, bits, state, attributes, recording = root(
                provider, process, arguments[1], attributes
            )
        else:
            _, name, context, kind, _, links, _, _, _, _ = arguments
            source, trace_id, bits, state, attributes, recording = decide(
                tracer, parent, context, name, kind, attributes, links
            )
            process.begin(source, bits & SAMPLED)
            if not quick:  # it has no id yet: the sampler comes first, as in the SDK
                own = provider._own_ids
                span_id = process.draw() if own else provider.id_generator.generate_span_id()
        if not recording:
            quiet = UnsampledSpan()
            quiet._trace_id = trace_id
            quiet._span_id = span_id
            quiet._bits = bits
            quiet._state = state
            quiet._made = None
            return quiet
    _, name, context, kind, _, links, start_time, record, set_status, _ = arguments
    span = _new(SPAN)
    span._trace_id = trace_id
    span._state = state
    span._source = source
    span._tracer = tracer
    span._process = process
    span._name = name
    span._kind = kind
    span._span_id = span_id
    span._bits = bits
    span._made = None
    span._guard = None
    span._end_time = None
    span._added_events = None
    rules = tracer._limits.span
    # In either case a dictionary of the span's own: the caller may go on changing the one he gave.
    if attributes.__class__ is PlainAttributes and rules.trusting and len(attributes) <= rules.room:
        span._attrs = {**attributes}
    elif attributes:
        span._attrs, dropped = rules.clean(attributes)
        if dropped:
            span._dropped = dropped
    else:
        span._attrs = {}
    if links:
        span._added_links = valid_links(tracer, links)
    if not record:
        span._record_exception = False
    if not set_status:
        span._set_status_on_exception = False
    # Late, so that the work above is not in the span's time; then whoever hears of it, with ours
    # first: what a processor does to the span it does to one that is counted.
    span._start_time = time_ns() if start_time is None else start_time
    if bits & SAMPLED:
        count_started = process.intake.started
        if count_started is None:
            provider._on_start(span, context)
        else:  # a step of it, without a call
            for _ in count_started:
                break
    if provider._processors:
        provider._notify_start(span, context)
    return span


Decided = tuple["SpanContext | None", int, int, "TraceState", "Attributes", bool]
"""Before a span is made: parent, trace id, bits, trace state, attributes, whether to record."""


def decide(
    tracer: TracerState,
    held: Any,  # noqa: ANN401 - as above
    context: Context | None,
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    links: Sequence[Link] | None,
) -> Decided:
    """Decide below ``held``, what the context holds as its span, with the sampler if need be.

    Marks pass from the parent to what is sampled.
    """
    provider = tracer._provider
    parent: SpanContext | None = None
    if type(held) in IDLE or (
        held is not None and isinstance(held, trace.Span)  # slow: an abstract class asks around
    ):
        parent = held.get_span_context()
    # A span context is a tuple; its properties would be a call each.
    if parent is not None and parent[5]:
        trace_id, marks = parent[0], marks_of(parent)
        bits = parent[3] & FLAGS | (marks & ~DEFER) << MARKS_SHIFT
        if (
            provider._follows_parents
            and not marks & DEFER
            and (attributes is None or _PRIORITY not in attributes)
        ):
            if marks & DEBUG:  # also where a header had the one bit and not the other
                bits |= SAMPLED
            sampled = bool(bits & SAMPLED)
            return parent, trace_id, bits, parent[4], attributes, sampled
        # Undecided (B3 without ``x-b3-sampled`` leaves it to us), or to be decided anew: by a
        # sampler of the program's own, or because of a ``sampling.priority``.
        bits &= ~SAMPLED
    else:
        parent = None
        trace_id, bits = provider.id_generator.generate_trace_id(), provider._random_bit
    result = provider._ask_sampler(context, trace_id, name, kind, attributes, links)
    if result.decision is Decision.RECORD_AND_SAMPLE:
        bits |= SAMPLED | getattr(result, "marks", 0) << MARKS_SHIFT
    else:
        bits &= ~DEBUG_BITS
    # The sampler's word, not the parent's: by the specification None means an empty one, and a
    # sampler that wants to keep what arrived returns it.
    state = _NO_STATE if result.trace_state is None else result.trace_state
    return parent, trace_id, bits, state, result.attributes, result.decision is not Decision.DROP


def valid_links(tracer: TracerState, links: Sequence[Link]) -> BoundedList[Any]:
    """Return the links that lead somewhere or say something, as a span keeps them."""
    limits = tracer._limits
    kept = [
        (link.context, limits.link.clean(link.attributes))
        for link in links
        if link and is_valid_link(link.context, link.attributes)
    ]
    return BoundedList.from_seq(limits.max_links, kept)
