"""Trees as text: what is drawn is what is matched, in any order of siblings, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, Status, StatusCode

import tracekit
from tracekit.testing import assert_trace, recording

NAMES = st.sampled_from(["a", "b", "GET /x", "x [y]", "ERROR x"])
TREES = st.recursive(
    st.tuples(NAMES, st.sampled_from(SpanKind), st.booleans(), st.just(())),
    lambda inner: st.tuples(
        NAMES, st.sampled_from(SpanKind), st.booleans(), st.lists(inner, max_size=4)
    ),
    max_leaves=8,
)


def grow(tracer, tree):
    name, kind, failed, children = tree
    with tracer.start_as_current_span(name, kind=kind, attributes={"n": len(children)}) as span:
        for child in children:
            grow(tracer, child)
        if failed:
            span.set_status(Status(StatusCode.ERROR))


def turned(tree):
    name, kind, failed, children = tree
    return name, kind, failed, [turned(child) for child in reversed(children)]


@pytest.fixture
def tracer(spans):
    return spans.tracing.tracer("t")


@given(tree=TREES)
def test_a_drawn_tree_matches_in_any_order(tree):
    """Of siblings, names with blanks, brackets and words of the form included."""
    with recording() as spans:
        grow(spans.tracing.tracer("t"), tree)
        drawn = spans.tree("n")
        assert_trace(spans, drawn, ordered=True)
    with recording() as spans:
        grow(spans.tracing.tracer("t"), turned(tree))
        assert_trace(spans, drawn)


@pytest.mark.parametrize(
    "expected",
    [
        "a\n  b\n  c {k=1}\n    d",
        "a\n  c\n    d\n  b",
        "a\n  ...",
        "a\n  c\n    ...\n  ...",
        "?\n  b\n  *\n    *",
        "a\n  b\n  c {k=*}\n    d {s=say*}",
        'a\n  b\n  c\n    d {s="say, \\"hi\\""}',
        "...",
        "a [internal]\n  b\n  c\n    d",
    ],
)
def test_what_the_text_asks_for_is_found(spans, tracer, expected):
    """Free order, wildcards, further siblings, attributes with odd characters."""
    with tracer.start_as_current_span("a"):
        tracer.start_span("b").end()
        with tracer.start_as_current_span("c", attributes={"k": 1}):
            tracer.start_span("d", attributes={"s": 'say, "hi"'}).end()
    assert_trace(spans, expected)


@pytest.mark.parametrize(
    "expected",
    [
        "",
        "a",
        "a\n  b",
        "a\n  b\n  b",
        "a\n  b\n  c",
        "a\n  b\n  c\n    d\n  e",
        "a [server]\n  ...",
        "a\n  b {k=1}\n  ...",
        "a ERROR\n  ...",
        "b\n...",
        "A\n  ...",
    ],
)
def test_what_is_not_so_fails(spans, tracer, expected):
    """Too few, too many, another kind, another depth, another letter case."""
    with tracer.start_as_current_span("a"):
        tracer.start_span("b").end()
        with tracer.start_as_current_span("c"):
            tracer.start_span("d").end()
    with pytest.raises(AssertionError, match="another one"):
        assert_trace(spans, expected)


def test_a_failed_span_must_be_expected(spans, tracer):
    """An error that nobody asked for is news."""
    span = tracer.start_span("b")
    span.set_status(Status(StatusCode.ERROR))
    span.end()
    with pytest.raises(AssertionError):
        assert_trace(spans, "b")
    assert_trace(spans, "b ERROR")


def test_many_siblings_match_at_once(spans, tracer):
    """Sixty siblings of which one is missing: an answer at once, not after 60! tries."""
    with tracer.start_as_current_span("a"):
        for _ in range(60):
            tracer.start_span("b", attributes={"k": 1}).end()
    with pytest.raises(AssertionError):
        assert_trace(spans, "a\n" + "  b {k=1}\n" * 59 + "  b {k=2}")
    assert_trace(spans, "a\n" + "  b {k=1}\n" * 60)


def test_order_counts_where_it_is_asked_for(spans, tracer):
    """With ``ordered``, in that of the starts; ``...`` may stand between."""
    for name in "abc":
        tracer.start_span(name).end()
    assert_trace(spans, "a\nb\nc", ordered=True)
    assert_trace(spans, "a\nc\n...", ordered=True)
    for wrong in ("b\na\nc", "c\na\n..."):
        with pytest.raises(AssertionError):
            assert_trace(spans, wrong, ordered=True)


def test_the_sequence_can_be_asked(spans, tracer):
    """By name with wildcards, kind, status and attributes; ``one`` wants exactly one."""
    tracer.start_span("GET /a", kind=SpanKind.SERVER, attributes={"n": 1}).end()
    tracer.start_span("GET /b").end()
    assert [span.name for span in spans.where("GET *")] == ["GET /a", "GET /b"]
    assert spans.one(kind="server") is spans[0]
    assert spans.one(attributes={"n": 1}) is spans[:1][0]
    assert spans.where(error=True) == []
    assert repr(spans) == "<Spans: GET /a, GET /b>"
    with pytest.raises(AssertionError, match="2 spans are like that"):
        spans.one("GET *")
    with pytest.raises(AssertionError, match="3 spans expected, 2 have ended"):
        spans.wait(3, timeout_s=0.01)
    spans.clear()
    assert len(spans) == 0


def test_recordings_may_stand_in_each_other(spans, tracer):
    """The inner one has its own spans; afterwards the outer one is the process' handle again."""
    with recording() as inner:
        tracekit.get_tracer("t").start_span("inner").end()
    tracekit.get_tracer("t").start_span("outer").end()
    assert [span.name for span in inner] == ["inner"]
    assert [span.name for span in spans] == ["outer"]


def test_a_raising_block_is_not_checked():
    """All is put back, and its own error is what a reader needs."""
    with pytest.raises(KeyError), recording() as spans:
        raise KeyError(spans.tracing.tracer("t").start_span("open"))
    assert not tracekit.get_tracer("t").start_span("x").is_recording()
