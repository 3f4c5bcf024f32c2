"""Who decides about a span, and that following a parent inline is the same as asking the rule."""

import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.sdk.trace.sampling import Decision as SdkDecision
from opentelemetry.trace import NonRecordingSpan, TraceFlags, TraceState

from tracekit._context import (
    DEBUG,
    DEFER,
    FIREHOSE,
    Decision,
    RootHint,
    SpanContext,
    marks_of,
    with_root_hint,
)
from tracekit._protocols import PlainAttributes
from tracekit.sampling import Const, ParentRule, RootSampler
from tracekit.tracing import Span, TracerProvider, UnsampledSpan


class Asked(Sampler):
    """The parent rule, but one that wants to be asked about every span."""

    def __init__(self, root):
        self._rule = ParentRule(root)

    def should_sample(self, *args, **kwargs):
        return self._rule.should_sample(*args, **kwargs)

    def get_description(self):
        return "Asked"


def shape(span):
    """Return what the decision made of a span, without ids."""
    context = span.get_span_context()
    facts = {
        "type": type(span),
        "flags": int(context.trace_flags),
        "state": dict(context.trace_state),
        "marks": marks_of(context),
        "remote": context.is_remote,
    }
    if isinstance(span, Span):
        facts["attributes"] = dict(span.attributes)
        parent = span.parent
        facts["parent"] = parent and (
            parent.is_remote,
            parent.trace_id == context.trace_id,
            int(parent.trace_flags),
            marks_of(parent),
        )
    return facts


PARENTS = st.one_of(
    st.none(),
    st.builds(
        lambda flags, marks, state, valid: SpanContext.marked(
            9 if valid else 0,
            8,
            is_remote=True,
            trace_flags=TraceFlags(flags | bool(marks & DEBUG)),
            trace_state=state,
            marks=marks,
        ),
        st.sampled_from([0, 1, 2, 3]),
        st.sampled_from([0, DEBUG, FIREHOSE, DEFER, DEBUG | FIREHOSE]),
        st.sampled_from([TraceState(), TraceState([("k", "v")])]),
        st.booleans(),
    ),
    st.builds(
        lambda flags: trace.SpanContext(9, 8, is_remote=True, trace_flags=TraceFlags(flags)),
        st.sampled_from([0, 1]),
    ),
)
HINTS = st.one_of(
    st.none(), st.builds(RootHint, st.sampled_from(Decision), st.sampled_from([None, "id-1"]))
)
START = st.sampled_from(
    [None, {"a": 1}, {"sampling.priority": 0}, {"sampling.priority": 1, "b": 2}]
)


@given(
    remote=PARENTS,
    hint=HINTS,
    root=st.sampled_from([Const(True), Const(False), ALWAYS_ON, ALWAYS_OFF]),
    starts=st.lists(START, min_size=1, max_size=4),
    forced=st.lists(st.sampled_from(Decision), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_following_inline_is_asking_the_rule(remote, hint, root, starts, forced):
    """Down a chain of spans, the inline way and the rule give the same decisions and marks."""
    chains = []
    for sampler in (ParentRule(root), Asked(root)):
        tracer = TracerProvider(sampler, None, Resource({})).get_tracer("x")
        context = Context() if hint is None else with_root_hint(hint, Context())
        if remote is not None:
            context = trace.set_span_in_context(NonRecordingSpan(remote), context)
        shapes = []
        for i, attributes in enumerate(starts):
            span = tracer.start_span("x", context, attributes=attributes)
            shapes.append(shape(span))
            for decision in forced[i : i + 1]:
                span._force(decision)
                shapes.append(shape(span))
            context = trace.set_span_in_context(span, context)
        chains.append(shapes)
    assert chains[1] == chains[0]


@pytest.mark.parametrize(
    ("hint", "kind", "marks", "attributes"),
    [
        (RootHint(Decision.DENY), UnsampledSpan, 0, None),
        (RootHint(Decision.ACCEPT), Span, 0, {}),
        (RootHint(Decision.DEBUG, "id-1"), Span, DEBUG, {"jaeger-debug-id": "id-1"}),
        (RootHint(Decision.DEFER), UnsampledSpan, 0, None),
    ],
)
def test_decision_without_ids_binds_the_root(hint, kind, marks, attributes):
    """A hint decides about the root before any sampler, which adds no tags then."""
    tracer = TracerProvider(ParentRule(Const(False)), None, Resource({})).get_tracer("x")
    span = tracer.start_span("x", with_root_hint(hint, Context()))
    assert isinstance(span, kind)
    assert marks_of(span.get_span_context()) == marks
    if attributes is not None:
        assert dict(span.attributes) == attributes


def test_a_sampled_root_has_sampler_tags():
    """A root that a sampler decided about says which one, beside the caller's attributes."""
    tracer = TracerProvider(ParentRule(Const(True)), None, Resource({})).get_tracer("x")
    root = tracer.start_span("x", Context(), attributes={"a": 1})
    child = tracer.start_span("x", trace.set_span_in_context(root, Context()))
    assert dict(root.attributes) == {"a": 1, "sampler.type": "const", "sampler.param": True}
    assert dict(child.attributes) == {}


def test_unsampled_spans_are_counted(provider_of, told):
    """An unsampled span is told to nobody, counted, and propagates the trace with a new span id."""
    provider = provider_of(ParentRule(ALWAYS_OFF))
    tracer = provider.get_tracer("x")
    with tracer.start_as_current_span("root") as root:
        child = tracer.start_span("child")
    first, second = root.get_span_context(), child.get_span_context()
    assert (first.trace_id, first.is_remote) == (second.trace_id, False)
    assert first.span_id != second.span_id
    assert second.is_valid
    assert not second.trace_flags.sampled
    assert told.started == []
    assert provider.counts().unsampled == 2


def test_sampler_that_raises_samples_nothing(provider_of, told, caplog):
    """An exception of a sampler is logged and counted; the program goes on, unsampled."""

    class Broken(Sampler):
        def should_sample(self, *args, **kwargs):
            raise RuntimeError("broken")

        def get_description(self):
            return "Broken"

    provider = provider_of(Broken())
    span = provider.get_tracer("x").start_span("x")
    assert not span.is_recording()
    assert provider.counts().failures == 1
    assert "broken" in caplog.text


def test_replaced_sampler_is_asked(provider_of):
    """A sampler set on the running provider decides from then on, also below local parents."""
    provider = provider_of()
    tracer = provider.get_tracer("x")
    with tracer.start_as_current_span("root"):
        provider.sampler = ALWAYS_OFF
        assert not tracer.start_span("child").is_recording()


def test_what_is_no_span_is_no_parent(tracer):
    """A value that is no span at all makes the next span a root."""
    context = trace.set_span_in_context("no span", Context())
    assert tracer.start_span("x", context).parent is None


def test_racing_threads_miscount_nothing(provider_of):
    """The lock-free counter of unsampled spans is exact under threads that switch all the time."""
    provider = provider_of(ParentRule(ALWAYS_OFF))
    tracer = provider.get_tracer("x")

    def start_many():
        with tracer.start_as_current_span("root"):
            for _ in range(2499):
                tracer.start_span("child")

    threads = [threading.Thread(target=start_many) for _ in range(4)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(switch)
    assert provider.counts().unsampled == 4 * 2500


class NoHealth(ParentRule):
    """What a program derives to keep one operation out."""

    def should_sample(self, parent_context, trace_id, name, *rest):
        if name == "health":
            return SamplingResult(SdkDecision.DROP)
        return super().should_sample(parent_context, trace_id, name, *rest)


class Around(Sampler):
    """A sampler that shows another's attributes as its own."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def should_sample(self, parent_context, trace_id, name, *rest):
        if name == "health":
            return SamplingResult(SdkDecision.DROP)
        return self._inner.should_sample(parent_context, trace_id, name, *rest)

    def get_description(self):
        return "Around"


@pytest.mark.parametrize("sampler", [NoHealth(Const(True)), Around(ParentRule(Const(True)))])
def test_a_wrapped_sampler_is_asked(sampler):
    """The tracer takes no short way around what a program has put in front of the rule."""
    tracer = TracerProvider(sampler, None, Resource({})).get_tracer("test")
    assert not tracer.start_span("health", Context()).is_recording()
    assert tracer.start_span("order", Context()).is_recording()


class Telling(RootSampler):
    """A root sampler that has more to say than its decision."""

    def decide(self, trace_id, name):
        state = TraceState([("vendor", "1")])
        result = SamplingResult(SdkDecision.RECORD_AND_SAMPLE, {"told": True}, state)
        result.marks = DEBUG
        return result

    def get_description(self):
        return "Telling"


@pytest.mark.parametrize("attributes", [None, {"own": 1}])
def test_all_of_a_samplers_answer_is_taken(attributes):
    """A root takes attributes beside the caller's, trace state, and marks."""
    tracer = TracerProvider(ParentRule(Telling()), None, Resource({})).get_tracer("test")
    span = tracer.start_span("root", Context(), attributes=attributes)
    held = span.get_span_context()
    assert dict(span.attributes) == {**(attributes or {}), "told": True}
    assert dict(held.trace_state) == {"vendor": "1"}
    assert marks_of(held) == DEBUG


class Unreadable(dict):
    """Attributes that cannot even be asked what they have."""

    def __contains__(self, key):
        raise KeyError(key)


@pytest.mark.parametrize("attributes", [5, Unreadable(a=1)], ids=["no mapping", "it raises"])
@pytest.mark.parametrize("parent", ["none", "local", "remote"])
def test_unreadable_attributes_at_the_start(parent, attributes, caplog):
    """The span starts without them, with one warning, wherever it starts."""
    tracer = TracerProvider(ParentRule(Const(True)), None, Resource({})).get_tracer("test")
    context = Context()
    if parent == "local":
        context = trace.set_span_in_context(tracer.start_span("parent", context), context)
    elif parent == "remote":
        held = SpanContext(1, 2, True, TraceFlags(1))
        context = trace.set_span_in_context(NonRecordingSpan(held), context)
    span = tracer.start_span("x", context, attributes=attributes)
    assert span.is_recording()
    assert not span.attributes.keys() - {"sampler.type", "sampler.param"}
    assert "cannot be read" in caplog.text


class Mute:
    """Cannot say what it is, in many words."""

    def __str__(self):
        raise ValueError("no\r\nWARNING all is well \x1b[31m" + "x" * 10_000)


@pytest.mark.parametrize("way", ["start_span", "set_attributes", "add_event"])
def test_one_mute_value_costs_no_others(way, caplog):
    """A value whose ``__str__`` raises is left out, in one bounded line; its neighbours stay."""
    attributes = {"a": 1, "mute": Mute(), "b": "c"}
    tracer = TracerProvider(ParentRule(Const(True)), None, Resource({})).get_tracer("test")
    given = attributes if way == "start_span" else None
    span = tracer.start_span("x", Context(), attributes=given)
    if way == "set_attributes":
        span.set_attributes(attributes)
    elif way == "add_event":
        span.add_event("e", attributes)
    kept = span.events[0].attributes if way == "add_event" else span.attributes
    assert dict(kept).items() >= {"a": 1, "b": "c"}.items()
    assert "mute" not in kept
    (said,) = [each for each in caplog.records if each.name.startswith("tracekit")]
    assert "mute" in said.getMessage()
    assert said.getMessage().isprintable()
    assert len(said.getMessage()) < 500
    assert said.exc_info is None


class Triples(dict):
    """Attributes whose items are no pairs."""

    def items(self):
        return [(*pair, None) for pair in super().items()]


@pytest.mark.parametrize("way", ["start_span", "set_attributes", "add_event"])
def test_items_that_are_no_pairs(way, caplog):
    """They are left out with one warning, and the program goes on."""
    attributes = Triples(a=1)
    tracer = TracerProvider(ParentRule(Const(True)), None, Resource({})).get_tracer("test")
    above = trace.set_span_in_context(tracer.start_span("parent", Context()), Context())
    given = attributes if way == "start_span" else None
    span = tracer.start_span("x", above, attributes=given)
    if way == "set_attributes":
        span.set_attributes(attributes)
    elif way == "add_event":
        span.add_event("e", attributes)
    assert "a" not in (span.events[0].attributes if way == "add_event" else span.attributes)
    assert caplog.text.count("cannot be read") == 1


def test_an_id_generator_may_be_replaced():
    """The ids of the next span are the new one's."""

    class Fixed:
        def generate_span_id(self):
            return 7

        def generate_trace_id(self):
            return 9

    provider = TracerProvider(ParentRule(Const(True)), None, Resource({}))
    tracer = provider.get_tracer("test")
    tracer.start_span("before", Context())
    provider.id_generator = Fixed()
    held = tracer.start_span("after", Context()).get_span_context()
    assert (held.trace_id, held.span_id) == (9, 7)


def test_attributes_set_again_come_last():
    """As all attributes do that are set again."""
    provider = TracerProvider(ParentRule(Const(True)), None, Resource({}))
    span = provider.get_tracer("test").start_span("x", Context())
    span.set_attributes({"a": 1, "b": 1})
    span.set_attributes(PlainAttributes({"a": 2, "c": 2}))
    names = [name for name in span.attributes if not name.startswith("sampler.")]
    assert names == ["b", "a", "c"]
