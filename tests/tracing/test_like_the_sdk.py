"""The same program of span operations on tracekit's provider and on the SDK's."""

import contextlib
import contextvars
import logging
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider


class Weird:
    """A value of no attribute type, with a text."""

    def __str__(self):
        return "weird"


class Mute:
    """A value of no attribute type, without a text of its own."""


class Kept(sdk.SpanProcessor):
    """Keeps what it is shown, in order."""

    def __init__(self):
        self.started, self.ended = [], []

    def on_start(self, span, parent_context=None):
        self.started.append(span)

    def on_end(self, span):
        self.ended.append(span)


class PickByName(Sampler):
    """A foreign sampler: drops, records or samples by the first letter, and adds an attribute."""

    def should_sample(
        self, parent_context, trace_id, name, kind=None, attributes=None, links=None, state=None
    ):
        decision = {"d": Decision.DROP, "r": Decision.RECORD_ONLY}.get(
            name[:1], Decision.RECORD_AND_SAMPLE
        )
        return SamplingResult(decision, {**(attributes or {}), "picked": True})

    def get_description(self):
        return "PickByName"


class Side:
    """One provider, with a context of its own and the spans and blocks of the program."""

    def __init__(self, provider, limits):
        self.kept = Kept()
        provider.add_span_processor(self.kept)
        self.tracer = provider.get_tracer("scope", "1.2", "https://schema", {"of": "scope"})
        self.context = contextvars.Context()
        self.spans = []
        self.blocks = []
        self.snapshots = []

    def run(self, step):
        return self.context.run(step, self)

    def seen(self):
        """Return everything that the processor saw, with ids as places in the program."""
        places = {trace.INVALID_SPAN_ID: None}
        traces = {}
        for place, span in enumerate(self.spans):
            places[span.get_span_context().span_id] = place
            traces.setdefault(span.get_span_context().trace_id, place)
        return [describe(span, places, traces) for span in self.kept.ended]


def describe_context(context, places, traces):
    if context is None:
        return None
    return (
        places.get(context.span_id, context.span_id),
        traces.get(context.trace_id, context.trace_id),
        int(context.trace_flags),
        dict(context.trace_state),
        context.is_remote,
    )


def describe(span, places, traces):
    """Return a span's readable surface as plain values; times only where the program gave them."""

    def attributes(of):
        return [(key, value) for key, value in (of or {}).items() if key != "exception.stacktrace"]

    def given(time):
        return time if time is not None and time < 1_000_000 else "now"

    assert isinstance(span, sdk.ReadableSpan)
    return {
        "name": span.name,
        "context": describe_context(span.context, places, traces),
        "parent": describe_context(span.parent, places, traces),
        "kind": span.kind,
        "start": given(span.start_time),
        "end": given(span.end_time),
        "status": (span.status.status_code, span.status.description),
        "attributes": attributes(span.attributes),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "events": [
            (e.name, given(e.timestamp), attributes(e.attributes), e.dropped_attributes)
            for e in span.events
        ],
        "links": [
            (
                describe_context(link.context, places, traces),
                attributes(link.attributes),
                link.dropped_attributes,
            )
            for link in span.links
        ],
        "scope": span.instrumentation_scope,
        "resource": span.resource,
    }


KEYS = st.sampled_from(["", "a", "b", "c", "d", "e", "long-key"])
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False),
    st.text("xyzé", max_size=12),
    st.binary(max_size=4),
    st.none(),
    st.sampled_from([SpanKind.SERVER, Weird(), Mute(), 3 + 4j]),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(KEYS, SCALARS, max_size=2),
    st.tuples(SCALARS, st.lists(SCALARS, max_size=2)),
)
ATTRIBUTES = st.one_of(st.none(), st.dictionaries(KEYS, VALUES, max_size=5))
NAMES = st.sampled_from(["work", "drop", "record", "", "name"])
TIMES = st.one_of(st.none(), st.integers(1, 999_999))
CONTEXTS = st.builds(
    SpanContext,
    st.sampled_from([0, 1, 2**127]),
    st.sampled_from([0, 7]),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    st.sampled_from([None, trace.TraceState([("k", "v")])]),
)
LINKS = st.one_of(st.none(), st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=4))
STATUSES = st.one_of(
    st.builds(Status, st.sampled_from(StatusCode)),
    st.just(Status(StatusCode.ERROR, "why")),
    st.sampled_from(StatusCode),
)
ERRORS = st.sampled_from([ValueError("bad"), KeyError(3), KeyboardInterrupt(), GeneratorExit()])


class Programs(RuleBasedStateMachine):
    """Each rule does one step on both sides; in the end both must have shown the same spans."""

    limits: ClassVar = {}
    samplers = (lambda: ParentRule(ALWAYS_ON), lambda: ParentBased(ALWAYS_ON))

    def __init__(self):
        super().__init__()
        resource = Resource({"service.name": "both"})
        limits = {"limits": sdk.SpanLimits(**self.limits)}
        ours, theirs = self.samplers
        self.sides = (
            Side(TracerProvider(ours(), None, resource, traceid_128bit=True, **limits), limits),
            Side(
                sdk.TracerProvider(
                    ours() if theirs is None else theirs(),
                    resource,
                    shutdown_on_exit=False,
                    span_limits=limits["limits"],
                ),
                limits,
            ),
        )
        logging.disable(logging.ERROR)

    def both(self, step):
        answers = [side.run(step) for side in self.sides]
        assert answers[0] == answers[1]
        return answers[0]

    def on_span(self, place, step):
        count = len(self.sides[0].spans)
        if count:
            self.both(lambda side: step(side.spans[place % count]))

    @rule(
        name=NAMES,
        kind=st.sampled_from(SpanKind),
        attributes=ATTRIBUTES,
        links=LINKS,
        start_time=TIMES,
        flags=st.tuples(st.booleans(), st.booleans()),
        parent=st.one_of(st.none(), st.integers(0, 9), CONTEXTS),
    )
    def start(self, name, kind, attributes, links, start_time, flags, parent):
        def step(side):
            context = None
            if isinstance(parent, SpanContext):
                context = trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
            elif parent is not None and side.spans:
                context = trace.set_span_in_context(side.spans[parent % len(side.spans)])
            span = side.tracer.start_span(
                name, context, kind, attributes, links, start_time, *flags
            )
            side.spans.append(span)
            return span.is_recording(), int(span.get_span_context().trace_flags)

        self.both(step)

    @rule(
        name=NAMES,
        attributes=ATTRIBUTES,
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        start_time=TIMES,
    )
    def enter(self, name, attributes, flags, start_time):
        def step(side):
            block = side.tracer.start_as_current_span(
                name, None, SpanKind.CLIENT, attributes, None, start_time, *flags
            )
            span = block.__enter__()
            assert trace.get_current_span() is span
            side.blocks.append(block)
            side.spans.append(span)

        self.both(step)

    @precondition(lambda self: self.sides[0].blocks)
    @rule(error=st.one_of(st.none(), ERRORS))
    def leave(self, error):
        def step(side):
            block = side.blocks.pop()
            kind = None if error is None else type(error)
            with contextlib.suppress(BaseException):  # a generator raises what ours lets pass
                assert not block.__exit__(kind, error, None)

        self.both(step)

    @rule(place=st.integers(0, 9), error=st.one_of(st.none(), ERRORS))
    def leave_span(self, place, error):
        kind = None if error is None else type(error)
        self.on_span(place, lambda span: span.__exit__(kind, error, None))

    @rule(place=st.integers(0, 9), key=st.one_of(KEYS, st.just(3)), value=VALUES)
    def set_attribute(self, place, key, value):
        self.on_span(place, lambda span: span.set_attribute(key, value))

    @rule(place=st.integers(0, 9), attributes=st.dictionaries(KEYS, VALUES, max_size=5))
    def set_attributes(self, place, attributes):
        self.on_span(place, lambda span: span.set_attributes(attributes))

    @rule(place=st.integers(0, 9), value=st.lists(st.integers(0, 3), min_size=1, max_size=3))
    def set_and_change(self, place, value):
        def step(span):
            mutable = list(value)
            span.set_attribute("mutable", mutable)
            mutable.append("later")

        self.on_span(place, step)

    @rule(place=st.integers(0, 9), name=NAMES, attributes=ATTRIBUTES, timestamp=TIMES)
    def add_event(self, place, name, attributes, timestamp):
        self.on_span(place, lambda span: span.add_event(name, attributes, timestamp))

    @rule(place=st.integers(0, 9), context=CONTEXTS, attributes=ATTRIBUTES)
    def add_link(self, place, context, attributes):
        self.on_span(place, lambda span: span.add_link(context, attributes))

    @rule(place=st.integers(0, 9), error=ERRORS, attributes=ATTRIBUTES, timestamp=TIMES)
    def record_exception(self, place, error, attributes, timestamp):
        self.on_span(
            place, lambda span: span.record_exception(error, attributes, timestamp, escaped=True)
        )

    @rule(
        place=st.integers(0, 9),
        status=STATUSES,
        description=st.one_of(st.none(), st.just("because")),
    )
    def set_status(self, place, status, description):
        self.on_span(place, lambda span: span.set_status(status, description))

    @rule(place=st.integers(0, 9), name=NAMES)
    def update_name(self, place, name):
        self.on_span(place, lambda span: span.update_name(name))

    @rule(place=st.integers(0, 9))
    def read(self, place):
        def step(span):
            if not span.is_recording() and not isinstance(span, sdk.ReadableSpan):
                return None
            return list(span.attributes.items()), len(span.events), len(span.links)

        self.on_span(place, step)

    @rule(place=st.integers(0, 9), end_time=TIMES)
    def end(self, place, end_time):
        self.on_span(place, lambda span: span.end(end_time))

    def teardown(self):
        try:
            while self.sides[0].blocks:
                self.leave(None)
            for place in range(len(self.sides[0].spans)):
                self.on_span(place, lambda span: span.end())
            ours, theirs = self.sides
            assert ours.seen() == theirs.seen()
            assert len(ours.kept.started) == len(theirs.kept.started)
        finally:
            logging.disable(logging.NOTSET)


class TightPrograms(Programs):
    """The same with limits that every program meets."""

    limits: ClassVar = {
        "max_events": 2,
        "max_links": 2,
        "max_span_attributes": 3,
        "max_event_attributes": 2,
        "max_link_attributes": 1,
        "max_attribute_length": 4,
        "max_span_attribute_length": 5,
    }


class EmptyPrograms(Programs):
    """The same with limits that let nothing through."""

    limits: ClassVar = {"max_events": 0, "max_links": 0, "max_attributes": 0}


class ForeignPrograms(Programs):
    """The same below a sampler that is asked for every span and decides as it likes."""

    samplers = (PickByName, PickByName)


def case(machine, examples):
    test = machine.TestCase
    test.settings = settings(max_examples=examples, stateful_step_count=25, deadline=None)
    return test


TestDefaults = case(Programs, 60)
TestTightLimits = case(TightPrograms, 60)
TestNoRoom = case(EmptyPrograms, 25)
TestForeignSampler = case(ForeignPrograms, 40)


@pytest.mark.parametrize("indent", [4, None])
def test_json_reads_as_the_sdk_writes_it(indent):
    """``to_json`` has the SDK's layout, events, links and resource included."""
    texts = []
    for provider in (
        TracerProvider(ParentRule(ALWAYS_ON), None, Resource({"service.name": "both"})),
        sdk.TracerProvider(ALWAYS_ON, Resource({"service.name": "both"}), shutdown_on_exit=False),
    ):
        link = Link(SpanContext(1, 2, is_remote=True), {"l": 1})
        span = provider.get_tracer("x").start_span("n", Context(), start_time=1, links=[link])
        span.set_attribute("a", [1, 2])
        span.add_event("e", {"k": "v"}, timestamp=2)
        span.set_status(StatusCode.ERROR, "why")
        span.end(3)
        context = span.get_span_context()
        text = span.to_json(indent=indent)
        text = text.replace(trace.format_trace_id(context.trace_id), "TRACE")
        texts.append(text.replace(trace.format_span_id(context.span_id), "SPAN"))
    assert texts[1] == texts[0]
