"""Native frames against those of the Python encoders, which are the reference, byte by byte."""

from __future__ import annotations

import enum
import math
import os
import struct
import sys
from functools import partial
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from tracekit._protocols import UNSET, Facts, Frame, UnnamedEvent
from tracekit.encoding import jaeger_binary, jaeger_compact, native_frames, otlp

native = native_frames()
pytestmark = pytest.mark.skipif(native is None, reason="the native frames were not built here")

EXAMPLES = int(os.environ.get("NATIVE_EXAMPLES", "500"))
"""Each is several spans. By hand: a million and more."""
ENCODERS = {
    "compact": (jaeger_compact(), native and jaeger_compact(native=native)),
    "binary": (jaeger_binary(), native and jaeger_binary(native=native)),
    "otlp": (otlp(), native and otlp(native=native)),
}
SCOPES = (None, InstrumentationScope("shop", "1.2"), InstrumentationScope(""))
STATES = (DEFAULT_TRACE_STATE, TraceState(), TraceState([("vendor", "x")]))
STATUSES = (UNSET, Status(StatusCode.UNSET), Status(StatusCode.OK), Status(StatusCode.ERROR, "ä"))


class Color(str, enum.Enum):
    RED = "red"


class Number(int):
    pass


class Told:
    """A span that tells its facts."""

    def __init__(self, facts):
        self.facts = facts

    def _facts(self):
        return self.facts


text = st.text(max_size=20) | st.text("abä€🌍", min_size=60, max_size=300)
edges = st.sampled_from([0, 1, 127, 128, 2**31, 2**32, 2**53, 2**63 - 1, -1, -(2**63), 2**63])
common = text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | edges | st.floats()
rare = st.sampled_from(
    [None, b"\0\xff", (1, 2), ["a", None], {"a": {"b": 1}}, Color.RED, Number(7), 2**70, "\ud800"]
)
attributes = st.dictionaries(text, common, max_size=20) | st.dictionaries(
    text | st.just("event"), common | rare, max_size=5
)
ids = st.integers(0, 2**64 - 1) | edges.map(abs)
times = st.integers(0, 2**64 - 1) | st.integers(-5, 5)
names = text | st.sampled_from(["\udcff", UnnamedEvent("log"), Color.RED, ""])
dropped = st.sampled_from([0, 0, 0, 3, 2**31])
bags = st.tuples(attributes, dropped)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
)
facts = st.builds(
    Facts,
    trace_id=st.integers(0, 2**128 - 1) | ids | st.just(2**128),
    span_id=ids | st.just(2**64),
    parent_id=st.just(0) | ids,
    bits=st.sampled_from([0, 1, 3, 0x101, 0x701, 0xF01]),
    state=st.sampled_from(STATES),
    name=names,
    kind=st.sampled_from(SpanKind),
    start_ns=times,
    end_ns=times,
    attributes=attributes,
    events=st.lists(st.tuples(names, times, bags), max_size=18).map(tuple)
    | st.lists(st.tuples(names, times, bags), max_size=1),
    links=st.just(()) | st.lists(st.tuples(contexts, bags), max_size=2).map(tuple),
    status=st.sampled_from(STATUSES),
    scope=st.sampled_from(SCOPES),
    dropped_attributes=dropped,
    dropped_events=dropped,
    dropped_links=dropped,
    parent_is_remote=st.booleans(),
)


def outcome(encoder, span):
    try:
        return encoder.frame(span)
    except Exception as error:
        return type(error)


def plain(**changed):
    """Return the facts of a span as most are."""
    return Facts(
        **{
            "trace_id": 2**127 + 1,
            "span_id": 2,
            "parent_id": 3,
            "bits": 1,
            "state": DEFAULT_TRACE_STATE,
            "name": "GET /dispatch",
            "kind": SpanKind.SERVER,
            "start_ns": 1_700_000_000_000_000_000,
            "end_ns": 1_700_000_000_005_000_000,
            "attributes": {"http.route": "/dispatch", "n": 200, "ok": True, "share": 0.5},
            "events": (("cache miss", 1_700_000_000_000_000_001, ({"key": "k"}, 0)),),
            "links": (),
            "status": UNSET,
            "scope": SCOPES[1],
            "dropped_attributes": 0,
            "dropped_events": 0,
            "dropped_links": 0,
            "parent_is_remote": False,
            **changed,
        }
    )


def shuffled(facts):
    """Yield ``facts``, and spans of what its events say: to draw takes longer than to encode."""
    yield facts
    for name, at_ns, (attributes, dropped) in facts.events:
        told = facts._replace(name=name, start_ns=at_ns, attributes=attributes)
        yield told._replace(events=facts.events[:1], dropped_events=dropped)


@pytest.mark.timeout(900)  # thousands of spans, on a busy machine
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(facts=facts)
def test_native_frames_equal_pythons(facts):
    """Over everything that a span can be, errors included."""
    for span in map(Told, shuffled(facts)):
        for pure, fast in ENCODERS.values():
            assert outcome(fast, span) == outcome(pure, span)


def plan(*known):
    """Return a plan as the encoders have one."""
    return DEFAULT_TRACE_STATE, UNSET, Frame, list(known)


def first(add):
    """Return the one frame that is added, or None."""
    into = []
    left = add(into)
    assert left == 1 - sum(len(frame.data) for frame in into)
    return into.pop() if into else None


def calls(one, at=None):
    """Return the calls for facts: of a plain span, and with what is rare about it."""
    at = at or plan((SpanKind.SERVER, SCOPES[1], 2, b""))
    return {
        "compact": lambda: first(lambda into: native.jaeger(at, True, [one], into, 1)),
        "binary": lambda: first(lambda into: native.jaeger(at, False, [one], into, 1)),
        "otlp": lambda: first(lambda into: native.otlp(at, [one], into, 1)),
        "compact, rare": lambda: native.jaeger(at, True, one, 0, b""),
        "binary, rare": lambda: native.jaeger(at, False, one, 0, b""),
        "otlp, rare": lambda: native.otlp(at, one, 2, b"", b""),
    }


def test_ordinary_spans_are_not_declined():
    """Otherwise the test above would compare Python with itself."""
    for one in (plain(), plain(events=(), parent_id=0, trace_id=5), plain(attributes={})):
        for call in calls(one).values():
            assert type(call()) is Frame


@pytest.mark.parametrize(
    "changed",
    [
        {"links": ((SpanContext(1, 2, is_remote=False), ({}, 0)),)},
        {"links": []},
        {"status": Status(StatusCode.UNSET)},
        {"state": TraceState()},
        {"dropped_attributes": 1},
        {"dropped_events": 1},
        {"dropped_links": "0"},
        {"kind": SpanKind.CLIENT},
        {"scope": InstrumentationScope("shop", "1.2")},  # equal, and not the one that is known
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_rare_identities_are_left_to_python(changed):
    """Python looks once at what is told by identity, and hands the bytes of it in."""
    for name, call in calls(plain(**changed)).items():
        assert (call() is None) is ("rare" not in name)


def test_any_number_of_kinds_and_scopes_fits():
    """The encoders keep a few at hand; the others go the longer way to the same bytes."""
    scopes = [InstrumentationScope(f"library {n}") for n in range(40)]
    for pure, fast in ENCODERS.values():
        for scope in (*scopes, *reversed(scopes)):
            for kind in SpanKind:
                one = Told(plain(scope=scope, kind=kind))
                assert fast.frame(one) == pure.frame(one)


@pytest.mark.parametrize(
    "changed",
    [
        {"trace_id": 2**128},
        {"trace_id": -1},
        {"span_id": 2**64},
        {"span_id": "2"},
        {"name": "\ud800"},
        {"name": Color.RED},
        {"start_ns": -1},
        {"attributes": {"a": b"x"}},
        {"attributes": {"a": 2**63}},
        {"attributes": {"a": math.nan}},
        {"attributes": {"a": Number(1)}},
        {"attributes": {1: "x"}},
        {"attributes": None},
        {"events": [("a", 1, ({}, 0))]},
        {"events": (("a", 1, ({}, 1)),)},
        {"events": (("a", 1, None),)},
        {"events": (("a", 1, (None, 0)),)},
        {"events": (("a", 1, ({}, "0")),)},
        {"events": (None,)},
        {"events": (("\ud800", 1, ({}, 0)),)},
    ],
    ids=str,
)
def test_rare_values_are_declined_not_errors(changed):
    """None sends the caller to the Python encoder."""
    for call in calls(plain(**changed)).values():
        assert call() is None


def test_many_end_at_one_that_is_wrong():
    """What there is already is not made again; a wrong one raises behind those before it."""
    good, odd = plain(), plain(name="\ud800")
    other = plain(kind=SpanKind.CLIENT, trace_id=7)
    known = plan(*((kind, SCOPES[1], 2, kind.name.encode()) for kind in SpanKind))
    for add in (
        lambda many, into, room=1 << 20: native.jaeger(known, True, many, into, room),
        lambda many, into, room=1 << 20: native.otlp(known, many, into, room),
    ):
        alone = {}
        for one in (good, other):
            add([one], into := [], 1)
            alone[id(one)] = into[0]
        add([good, other, good, odd, good], into := [])
        assert into == [alone[id(good)], alone[id(other)], alone[id(good)]]
        add([odd, other, good], into := ["a frame that was there"])
        assert into == ["a frame that was there", alone[id(other)], alone[id(good)]]
        size = len(alone[id(good)].data)
        for room, count in ((-1, 0), (0, 0), (1, 1), (size, 1), (size + 1, 2), (2**62, 3)):
            left = add([good] * 3, into := [], room)
            assert left == room - count * size
            assert len(into) == count
        with pytest.raises(TypeError):
            add([good, None], into := [])
        assert into == [alone[id(good)]]


@pytest.mark.parametrize("name", ENCODERS)
def test_many_equal_each_alone(name):
    """By one call or by as many as there are rare ones; what cannot be is where the list ends."""
    pure, fast = ENCODERS[name]
    several = [
        plain(),
        plain(status=STATUSES[3]),
        plain(trace_id=5, attributes={"a": b"x"}),
        plain(links=((SpanContext(1, 2, is_remote=False), ({}, 0)),)),
        plain(),
    ]
    spans = [Told(one) for one in several]
    alone = [pure.frame(span) for span in spans]
    for encoder in (pure, fast):
        encoder.frames(spans, into := alone[:2], 1 << 20)
        assert into == alone
        for room in range(1, sum(len(frame.data) for frame in alone)):
            encoder.frames(spans, into := [], room)
            sizes = [len(frame.data) for frame in into]
            assert into == alone[: len(into)]
            assert sum(sizes[:-1]) < room <= sum(sizes)
        broken = [*spans[:3], Told(plain(start_ns="x")), *spans]
        with pytest.raises((TypeError, struct.error)):
            encoder.frames(broken, into := [], 1 << 20)
        assert into == alone[:3]
        with pytest.raises(AttributeError):
            encoder.frames([*spans[:3], object()], into := [], 1 << 20)
        assert into == alone[:3]


def test_wrong_arguments_are_a_type_error():
    """The one caller passes the tuples of the protocol; all else would be read out of bounds."""
    state, status, frame, known = plan()
    wrong = [(plan(), facts) for facts in ((), (1,) * 17, [1] * 18, None)]
    plans = (
        None,
        (),
        (state, status, dict, known),
        (state, status, "Frame", known),
        (state, status, frame, tuple(known)),
        plan((SpanKind.SERVER, SCOPES[1], 2)),
        plan([SpanKind.SERVER, SCOPES[1], 2, b""]),
        plan((SpanKind.SERVER, SCOPES[1], "2", b"")),
    )
    wrong += [(other, plain()) for other in plans]
    for at, one in wrong:
        for call in (
            lambda: native.jaeger(at, True, [one], [], 1),  # noqa: B023
            lambda: native.otlp(at, [one], [], 1),  # noqa: B023
        ):
            with pytest.raises(TypeError):
                call()
    with pytest.raises(TypeError):
        native.jaeger(plan((SpanKind.SERVER, SCOPES[1], 2, "tags")), True, [plain()], [], 1)
    for many, into, room in (
        ((plain(),), [], 1),
        ([plain()], (), 1),
        (None, [], 1),
        ([], None, 1),
        ([], [], "1"),
        ([], [], None),
    ):
        with pytest.raises(TypeError):
            native.jaeger(plan(), True, many, into, room)
        with pytest.raises(TypeError):
            native.otlp(plan(), many, into, room)
    with pytest.raises(OverflowError):
        native.otlp(plan(), [], [], 2**70)
    for count in (0, 1, 2, 3, 4, 6):
        with pytest.raises(TypeError):
            native.jaeger(*(plan(), True, plain(), 0, b"", b"")[:count])
    for count in (0, 1, 2, 3, 6):
        with pytest.raises(TypeError):
            native.otlp(*(plan(), plain(), 0, b"", b"", b"")[:count])
    for number, data in (("1", b""), (1, "text"), (-1, b""), (2**64, b"")):
        with pytest.raises((TypeError, OverflowError)):
            native.jaeger(plan(), True, plain(), number, data)
        with pytest.raises((TypeError, OverflowError)):
            native.otlp(plan(), plain(), number, b"", data)
    assert native.jaeger(plan(), True, plain(), 2**31, b"") is None  # no list is so long


def test_one_of_another_source_is_not_used(monkeypatch):
    """A source tree that was updated still has it: Python encodes until it is built again."""
    monkeypatch.setitem(sys.modules, native.__name__, ModuleType(native.__name__))
    assert native_frames() is None


def test_a_large_frame_grows_on_the_heap():
    """Long texts and many attributes fit, at every length around the border."""
    for length in (*range(3900, 4200), 100_000, 5_000_000):
        one = plain(attributes={"long": "x" * length}, events=())
        for pure, fast in ENCODERS.values():
            assert fast.frame(Told(one)) == pure.frame(Told(one))


def direct(one):
    """Return, of each call for a span, what makes it without a step in Python, and its list."""
    at = plan((SpanKind.SERVER, SCOPES[1], 2, b""))
    lists = [[], [], []]
    return [
        (partial(native.jaeger, at, True, [one], lists[0], 1), lists[0]),
        (partial(native.jaeger, at, False, [one], lists[1], 1), lists[1]),
        (partial(native.otlp, at, [one], lists[2], 1), lists[2]),
        (partial(native.jaeger, at, True, one, 0, b""), []),
        (partial(native.jaeger, at, False, one, 0, b""), []),
        (partial(native.otlp, at, one, 2, b"", b""), []),
    ]


def test_memory_may_run_out_anywhere():
    """Each allocation fails in turn: a frame or MemoryError, no crash, nothing half-written.

    Nothing but the call runs meanwhile: CPython 3.12 and 3.13 crash in steps of Python.
    """
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no module _testcapi")
    one = plain(attributes={"long": "ä" * 9000, **plain().attributes})
    whole = [(call(), into) for call, into in direct(one)]
    seen = set()
    for at in range(40):
        for (call, into), (right, frames) in zip(direct(one), whole, strict=True):
            testcapi.set_nomemory(at, at + 1)
            try:
                made = call()
            except MemoryError:
                made = MemoryError
            finally:
                testcapi.remove_mem_hooks()
            assert made in (right, MemoryError) or (made in (None, 1) and not into)
            assert into in ([], frames)
            seen.add(made if made is MemoryError else type(made))
    assert {MemoryError, Frame, int} <= seen


class Odd(str):
    """A key with the hash of "event" that runs code when it is looked for."""

    __slots__ = ("run",)
    __hash__ = str.__hash__

    def __eq__(self, _):
        self.run()
        return False


def test_a_key_may_change_its_event():
    """As many fields as are announced are there, whatever to look for one of them does."""
    key = Odd("event")
    held = {key: 1}

    def change():
        held.clear()
        held.update(a=1, b=2, c=3)

    key.run = change
    one = plain(events=(("late", 1, (held, 0)),), attributes={})
    for name in ("compact", "binary"):
        held.clear()
        held[key] = 1
        assert ENCODERS[name][1].frame(Told(one)) == ENCODERS[name][0].frame(Told(one))


class Scope:
    """A scope that runs code when it goes."""

    def __init__(self, run):
        self.run = run

    def __del__(self):
        self.run()


def test_a_plan_may_change_while_it_is_read():
    """The end of the scope before empties the list that the next one was just found in."""
    known, many = [], []
    key = Odd("event")
    held = {key: 1}

    def forget():
        many[0] = None
        del known[0]
        held.clear()
        held["a"] = 1

    key.run = forget
    gone = []
    scopes = [Scope(lambda: (known.clear(), gone.append(1))), Scope(int)]
    known += ((SpanKind.SERVER, scope, 0, bytes(1000 + n)) for n, scope in enumerate(scopes))
    many += (
        plain(scope=scope, events=events, attributes={})
        for scope, events in zip(scopes, ((("late", 1, (held, 0)),), ()), strict=True)
    )
    scopes.clear()
    at = plan()
    at = (*at[:3], known)
    native.jaeger(at, True, many, into := [], 1 << 20)
    assert gone
    assert [frame.data.count(bytes(900)) for frame in into] == [1, 1]
    assert into[1].data.endswith(bytes(1001) + b"\0")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal since 3.12")
def test_to_decline_keeps_no_reference():
    """Not even to None: it is counted, too."""
    native.otlp(plan(), [plain(name="\ud800")], [], 1)
    before = sys.getrefcount(None)
    for _ in range(1000):
        for call in calls(plain(name="\ud800")).values():
            call()
    assert sys.getrefcount(None) - before < 500
