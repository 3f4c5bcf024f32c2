"""The parent rule: DEBUG before an explicit decision before DEFER, in any provider."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider, sampling

from tracekit import _context
from tracekit.sampling import ParentRule, from_type

SAMPLED, NOT_SAMPLED = trace.TraceFlags(1), trace.TraceFlags(0)
STATE = trace.TraceState([("vendor", "1")])


def parent(flags=NOT_SAMPLED, marks=0, *, is_remote=True, state=None):
    context = _context.SpanContext.marked(
        1, 2, is_remote=is_remote, trace_flags=flags, trace_state=state, marks=marks
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())


def ask(root, context, attributes=None):
    return ParentRule(root).should_sample(context, 1, "operation", attributes=attributes)


@pytest.mark.parametrize("is_remote", [True, False])
@pytest.mark.parametrize("root_param", [0, 1])
@pytest.mark.parametrize(
    ("flags", "marks", "sampled"),
    [
        (SAMPLED, 0, True),
        (NOT_SAMPLED, 0, False),
        (SAMPLED, _context.DEBUG, True),
        (NOT_SAMPLED, _context.DEBUG, True),
        (NOT_SAMPLED, _context.DEBUG | _context.DEFER, True),
    ],
)
def test_a_parents_decision_is_final(flags, marks, sampled, root_param, is_remote):
    """The root sampler is not asked, and its attributes are not on the span."""
    result = ask(from_type("const", root_param), parent(flags, marks, is_remote=is_remote))
    assert sampled == result.decision.is_sampled()
    assert not result.attributes


@pytest.mark.parametrize("root_param", [0, 1])
def test_an_undecided_parent_asks_the_root(root_param):
    """DEFER: our sampler decides and says so, and the trace state goes on."""
    context = parent(NOT_SAMPLED, _context.DEFER, state=STATE)
    result = ask(from_type("const", root_param), context, {"user": 7})
    assert bool(root_param) == result.decision.is_sampled()
    assert result.attributes["sampler.type"] == "const"
    assert result.trace_state == STATE


def test_a_foreign_parent_is_followed():
    """OpenTelemetry's own span contexts know sampled and not sampled."""
    foreign = trace.SpanContext(1, 2, is_remote=True, trace_flags=SAMPLED)
    context = trace.set_span_in_context(trace.NonRecordingSpan(foreign), Context())
    assert ask(from_type("const", 0), context).decision.is_sampled()


@pytest.mark.parametrize("state", [None, STATE])
@pytest.mark.parametrize("flags", [SAMPLED, NOT_SAMPLED])
def test_the_parents_trace_state_goes_on(flags, state):
    """Whatever the decision: the SDK takes it from the answer."""
    result = ask(from_type("const", 0), parent(flags, state=state))
    assert (state or None) == (result.trace_state or None)


@pytest.mark.parametrize(
    ("decision", "sampled"),
    [
        (_context.Decision.DENY, False),
        (_context.Decision.ACCEPT, True),
        (_context.Decision.DEBUG, True),
    ],
)
@pytest.mark.parametrize("root_param", [0, 1])
def test_a_lone_decision_binds_the_root(decision, sampled, root_param):
    """A lone ``b3: 0`` denies, ``b3: 1`` accepts, ``b3: d`` debugs."""
    context = _context.with_root_hint(_context.RootHint(decision), Context())
    result = ask(from_type("const", root_param), context)
    assert sampled == result.decision.is_sampled()
    assert not result.attributes


def test_a_debug_id_forces_the_root():
    """``jaeger-debug-id`` is how a person finds the forced trace again."""
    hint = _context.RootHint(_context.Decision.DEBUG, "case 7")
    context = _context.with_root_hint(hint, Context())
    result = ask(from_type("const", 0), context, {"user": 7})
    assert result.decision.is_sampled()
    assert dict(result.attributes) == {"user": 7, "jaeger-debug-id": "case 7"}


def test_a_parent_with_ids_has_the_last_word():
    """A decision without ids says nothing to a child."""
    hint = _context.RootHint(_context.Decision.DEBUG, "case 7")
    context = _context.with_root_hint(hint, parent(NOT_SAMPLED))
    assert not ask(from_type("const", 1), context).decision.is_sampled()


@pytest.mark.parametrize("context", [Context(), parent(SAMPLED), parent(NOT_SAMPLED)])
@pytest.mark.parametrize(
    ("value", "sampled"),
    [(1, True), ("1", True), (5, True), (True, True), (2.0, True), (0, False), ("0", False)],
)
def test_sampling_priority_overrides_all(context, value, sampled):
    """The program's own word about a span, as the Jaeger clients took it."""
    result = ask(from_type("const", not sampled), context, {"sampling.priority": value})
    assert sampled == result.decision.is_sampled()


@pytest.mark.parametrize("value", ["high", "", float("nan"), float("inf"), (1,), "1.5"])
def test_a_priority_is_an_integer(value):
    """The root sampler decides as if it were not there."""
    assert ask(from_type("const", 1), Context(), {"sampling.priority": value}).decision.is_sampled()
    denied = ask(from_type("const", 0), Context(), {"sampling.priority": value})
    assert not denied.decision.is_sampled()


def test_only_a_plain_sdks_root_is_labelled():
    """A sampled root carries the sampler's attributes; its child and unsampled roots have none."""
    provider = TracerProvider(sampler=ParentRule(from_type("probabilistic", 1.0)))
    tracer = provider.get_tracer("test")
    with (
        tracer.start_as_current_span("root", attributes={"user": 7}) as root,
        tracer.start_as_current_span("child", attributes={"user": 8}) as child,
    ):
        expected = {"user": 7, "sampler.type": "probabilistic", "sampler.param": 1.0}
        assert expected == dict(root.attributes)
        assert dict(child.attributes) == {"user": 8}


def test_anothers_root_sampler_is_asked():
    """Any OpenTelemetry sampler may stand at the root."""
    rule = ParentRule(sampling.TraceIdRatioBased(1.0))
    result = rule.should_sample(Context(), 1, "operation", attributes={"user": 7})
    assert dict(result.attributes) == {"user": 7}
    assert rule.get_description() == "ParentRule{TraceIdRatioBased{1.0}}"
