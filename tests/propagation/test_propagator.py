"""The formats composed: order, conflicts, decisions without ids, foreign carriers and spans."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import threading
from collections import UserDict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from werkzeug.datastructures import Headers

import tracekit.testing
from tracekit._context import Decision, SpanContext, forwarded_headers, root_hint
from tracekit.propagation import Propagator, Remote, decode, encode
from tracekit.propagation._counters import Counters
from tracekit.propagation._jaeger import Names as JaegerHeaders
from tracekit.propagation._propagator import b3_propagator, jaeger_propagator

T, S = 0x80F198EE56343BA864FE8B2A57D3EFF7, 0xE457B5A2E4D86BD1
FORMATS = ("jaeger", "b3", "b3single", "w3c")
# One B3 spelling is enough where two formats meet: both are read by either name.
PAIRS = [
    (left, right)
    for left, right in itertools.permutations(FORMATS, 2)
    if not left[:2] == right[:2] == "b3"
]


def quiet(formats, **options):
    return Propagator(formats, counters=Counters(lambda: 0.0), **options)


def span_context(context):
    return trace.get_current_span(context).get_span_context()


@pytest.mark.parametrize(("left", "right"), PAIRS)
@pytest.mark.parametrize("order", ["first", "last"])
def test_conflict_matrix(left, right, order):
    """Of two formats that name different spans the configured order decides, and it is counted."""
    propagator = quiet((left, right), order=order)
    carrier = encode(left, Remote(1, 1, sampled=True)) | encode(right, Remote(2, 2, sampled=True))
    winner, loser = (left, right) if order == "first" else (right, left)
    assert span_context(propagator.extract(carrier)).trace_id == (1 if winner == left else 2)
    assert propagator.counters.conflicts == {(winner, loser): 1}


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_agreement_is_no_conflict(left, right):
    """The same span in two formats, one of them cut to 64 bits, is one parent."""
    propagator = quiet((left, right))
    cut = T & ((1 << 64) - 1)
    carrier = encode(left, Remote(cut, S, sampled=True)) | encode(right, Remote(T, S, sampled=True))
    assert span_context(propagator.extract(carrier)).trace_id == T
    assert propagator.counters.conflicts == {}


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("decision", [Decision.DEBUG, Decision.DEFER])
def test_b3_says_what_w3c_cannot(order, decision):
    """DEBUG and DEFER of B3 stay when W3C names the same span with its two-valued flag."""
    remote = Remote(T, S, sampled=None, debug=False)
    if decision is Decision.DEBUG:
        remote = Remote(T, S, sampled=True, debug=True)
    propagator = quiet(("w3c", "b3"), order=order)
    context = propagator.extract(encode("w3c", remote) | encode("b3", remote))
    assert span_context(context).decision is decision
    made = {}
    propagator.inject(made, context)
    assert made == encode("w3c", remote) | encode("b3", remote)


@pytest.mark.parametrize("name", ["b3", "b3single"])
@pytest.mark.parametrize(
    ("carrier", "decision"),
    [
        ({"b3": "0"}, Decision.DENY),
        ({"b3": "1"}, Decision.ACCEPT),
        ({"b3": "d"}, Decision.DEBUG),
        ({"x-b3-sampled": "0"}, Decision.DENY),
        ({"X-B3-Flags": "1"}, Decision.DEBUG),
    ],
)
def test_decision_without_ids(name, carrier, decision):
    """A lone decision becomes the root's hint, and passes through a service without a span."""
    propagator = quiet((name,))
    context = propagator.extract(carrier)
    assert root_hint(context).decision is decision
    assert not span_context(context).is_valid
    made = {}
    propagator.inject(made, context)
    assert root_hint(propagator.extract(made)).decision is decision


def test_lone_hints_never_shadow_a_context():
    """A debug id, baggage or a deny without ids stands back behind a real parent."""
    propagator = quiet(("jaeger", "b3", "w3c"))
    carrier = {
        "jaeger-debug-id": "look",
        "uberctx-user": "ann",
        "b3": "0",
        **encode("w3c", Remote(T, S, sampled=True)),
    }
    context = propagator.extract(carrier)
    assert span_context(context).trace_id == T
    assert span_context(context).decision is Decision.ACCEPT
    assert root_hint(context) is None
    assert baggage.get_all(context) == {"user": "ann"}
    assert propagator.counters.conflicts == {}


def test_strongest_lone_hint_wins():
    """Debug beats deny, whatever the order; of equals the preferred format's counts."""
    for formats in (("jaeger", "b3"), ("b3", "jaeger")):
        context = quiet(formats).extract({"b3": "0", "jaeger-debug-id": "look"})
        assert root_hint(context) == (Decision.DEBUG, "look")


def test_a_debug_id_passes_without_a_span():
    """A service that does not trace hands the debug id on; one with a span hands on flag 3."""
    propagator = quiet(("jaeger",))
    context = propagator.extract({"Jaeger-Debug-Id": "look"})
    made = {}
    propagator.inject(made, context)
    assert made == {"jaeger-debug-id": "look"}
    tracing = tracekit.testing.tracing(sampler_type="const", sampler_param=0)
    with tracing.tracer("t").start_as_current_span("root", context):
        made = {}
        propagator.inject(made)
    assert list(made) == ["uber-trace-id"]
    assert made["uber-trace-id"].endswith(":3")


@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("name", FORMATS)
def test_decision_through_a_real_span(name, decision):
    """Extract, sampler, span, inject: a child says what its parent's caller decided."""
    remote = Remote(T, S, sampled={0: None, 1: False}.get(decision, True), debug=decision == 3)
    tracing = tracekit.testing.tracing(propagation=(name,), sampler_type="const", sampler_param=1)
    context = tracing.propagator.extract(encode(name, remote))
    with tracing.tracer("t").start_as_current_span("child", context):
        made = {}
        tracing.propagator.inject(made)
    said = span_context(quiet((name,)).extract(made))
    assert said.trace_id == T
    expected = decision
    if name in {"jaeger", "w3c"} and decision is Decision.DEFER:
        expected = Decision.DENY  # that is what the format said on the way in
    elif decision is Decision.DEFER or (name == "w3c" and decision is Decision.DEBUG):
        expected = Decision.ACCEPT  # our sampler decided; W3C has no debug
    assert said.decision is expected


def test_tracestate_goes_on():
    """A legal tracestate reaches the next service, also one that only level 2 allows."""
    propagator = quiet(("w3c",))
    carrier = encode("w3c", Remote(T, S, sampled=True, tracestate="0a@b@c=1,foo=2"))
    context = propagator.extract(carrier)
    state = span_context(context).trace_state
    assert dict(state) == {"0a@b@c": "1", "foo": "2"}
    assert list(state.update("foo", "3").items()) == [("foo", "3"), ("0a@b@c", "1")]
    assert state.add("foo", "4") is state
    assert state.update("BAD", "4") is state
    assert list(state.delete("foo")) == ["0a@b@c"]
    assert state.get("none") is None
    assert "foo" in state
    assert len(state) == 2
    assert list(state.values()) == ["1", "2"]
    made = {}
    propagator.inject(made, context)
    assert made == carrier
    assert pickle.loads(pickle.dumps(span_context(context))).trace_state == state


class ListGetter(Getter):
    """A carrier that only answers by name, in its own spelling, as framework getters do."""

    def get(self, carrier, key):
        return carrier.get(key.upper())

    def keys(self, carrier):
        return []


class PairSetter(Setter):
    """Appends to a list."""

    def set(self, carrier, key, value):
        carrier.append((key, value))


class Broken(Getter, Setter):
    """Raises, whatever is asked."""

    def get(self, carrier, key):
        raise KeyError(key)

    def keys(self, carrier):
        raise KeyError

    def set(self, carrier, key, value):
        raise KeyError(key)


def test_other_getters_and_setters():
    """Any getter, setter and mapping is read and written through its own interface."""
    propagator = quiet(("b3",))
    values = {
        name.upper(): [text] for name, text in encode("b3", Remote(T, S, sampled=True)).items()
    }
    for context in (
        propagator.extract(values, getter=ListGetter()),
        propagator.extract(UserDict(values)),
        propagator.extract(values),
        propagator.extract_pairs([(name, text[0].encode()) for name, text in values.items()]),
    ):
        assert span_context(context).trace_id == T
        made = []
        propagator.inject(made, context, PairSetter())
        assert dict(made) == encode("b3", Remote(T, S, sampled=True))


class Silent(Getter):
    """A getter that OpenTelemetry's propagators are content with: it lists nothing."""

    def __init__(self, listed):
        self.listed = listed

    def get(self, carrier, key):
        return carrier.get(key)

    def keys(self, carrier):
        return self.listed()


def test_getter_that_lists_no_names():
    """A getter need not be able to list: names are asked for one by one."""
    headers = encode("b3", Remote(T, S, sampled=True))

    def not_implemented():
        raise NotImplementedError

    for listed in (not_implemented, lambda: None, list):
        propagator = quiet(("b3",))
        context = propagator.extract(headers, getter=Silent(listed))
        assert span_context(context).trace_id == T
        assert propagator.counters.decode_errors == {}


def test_repeated_header_of_a_multimap():
    """All values of a repeated header count, in order, in any mapping that keeps them."""
    headers = Headers([("Traceparent", f"00-{T:032x}-{S:016x}-01"), ("Tracestate", "a=1")])
    headers.add("TraceState", "b=2")
    context = quiet(("w3c",)).extract(headers)
    assert dict(span_context(context).trace_state) == {"a": "1", "b": "2"}


def test_broken_carriers_cost_a_counter():
    """A getter, setter or span that raises never reaches the program."""
    propagator = quiet(("w3c",))
    context = trace.set_span_in_context(trace.NonRecordingSpan(SpanContext(T, S, False)), Context())
    assert propagator.extract({}, context, Broken()) is context
    assert propagator.extract(None) == Context()
    propagator.inject({}, context, Broken())
    propagator.inject({}, trace.set_span_in_context("no span", Context()))
    assert propagator.counters.decode_errors == {("carrier", "error"): 2}
    assert propagator.counters.unsendable == {("carrier", "error"): 2}


@pytest.mark.parametrize("sampled", [True, False])
def test_debug_survives_the_plain_sdk(sampled):
    """Spans of OpenTelemetry's SDK go on as debug where their trace came so, if they are sampled.

    Another trace in the same context, and a decision that was left open, are none of it.
    """
    propagator = quiet(("jaeger", "b3"))
    tracer = TracerProvider(ALWAYS_ON if sampled else ALWAYS_OFF).get_tracer("t")
    for flags, expected in (("3", "3"), ("9", "9"), ("1", "1")):
        context = propagator.extract({"uber-trace-id": f"{T:x}:{S:x}:0:{flags}"})
        token = otel_context.attach(context)  # as OpenTelemetry's instrumentations do
        made, foreign = {}, {}
        with tracer.start_as_current_span("server"), tracer.start_as_current_span("client"):
            propagator.inject(made)
            with tracer.start_as_current_span("root", Context()):
                propagator.inject(foreign)
        otel_context.detach(token)
        said = int(made["uber-trace-id"].rpartition(":")[2], 16)
        assert said == (int(expected) if sampled else 0)
        assert ("x-b3-flags" in made) is (sampled and expected == "3")
        assert foreign["uber-trace-id"].endswith(":1" if sampled else ":0")


def test_foreign_spans_are_injected():
    """A span of OpenTelemetry's own SDK is described like ours, its parent where B3 has a place."""
    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("a") as outer, tracer.start_as_current_span("b") as inner:
        made = {}
        quiet(("b3", "jaeger")).inject(made)
    parent = f"{outer.get_span_context().span_id:016x}"
    span = f"{inner.get_span_context().span_id:016x}"
    assert made["x-b3-spanid"] == span
    assert made["x-b3-parentspanid"] == parent
    assert made["uber-trace-id"].endswith(f":{span}:{parent}:1")


@pytest.mark.parametrize("name", [*FORMATS, "tracecontext", "baggage"])
def test_fields_is_what_inject_sets(name):
    """``fields`` names every header that inject may set, and no other."""
    propagator = quiet((name,))
    seen = set()
    for decision in (None, True, False):
        for debug in (False, True):
            remote = Remote(T, S, 7, debug or decision, debug, tracestate="a=1")
            context = quiet(FORMATS).extract(encode("b3", remote) | encode("w3c", remote))
            made = {}
            propagator.inject(made, baggage.set_baggage("k", "v", context))
            seen |= {key for key in made if not key.startswith("uberctx-")}
    assert seen | {"x-b3-parentspanid"} == propagator.fields | {"x-b3-parentspanid"}


def test_inject_replaces_stale_headers():
    """In a dict with headers, stale ones of the format go in any case; all others stay."""
    propagator = quiet(("b3",))
    context = propagator.extract(encode("b3", Remote(T, S, sampled=True)))
    made = {"X-B3-TraceId": "1", "x-b3-flags": "1", "B3": "0", "Accept": "*/*"}
    propagator.inject(made, context)
    assert made == {"Accept": "*/*", **encode("b3", Remote(T, S, sampled=True))}
    propagator.inject(made, Context())
    assert made["x-b3-sampled"] == "1"


def test_custom_header_names():
    """Deployments that renamed Jaeger's headers keep their names, in any letter case."""
    names = JaegerHeaders("X-Trace", "X-Ctx-", "X-Debug")
    propagator = quiet(("jaeger",), jaeger_headers=names)
    context = propagator.extract({"x-TRACE": "1:2:0:1", "X-Ctx-User": "ann"})
    made = {}
    propagator.inject(made, context)
    assert made == {"x-trace": "0000000000000001:0000000000000002:0:1", "x-ctx-user": "ann"}
    assert propagator.fields == {"x-trace"}
    assert root_hint(propagator.extract({"X-DEBUG": "look"})).debug_id == "look"
    assert not span_context(propagator.extract({"uber-trace-id": "1:2:0:1"})).is_valid


def test_decode_errors_are_counted():
    """Each malformed header is one count, by format and reason, and means no parent."""
    propagator = quiet(("jaeger", "b3", "w3c"))
    context = propagator.extract(
        {
            "uber-trace-id": "1:2:3",
            "b3": "nonsense",
            "traceparent": f"00-{'0' * 32}-{'1' * 16}-01",
            "baggage": "no-equals",
        }
    )
    assert context == Context()
    assert propagator.counters.decode_errors == {
        ("jaeger", "malformed"): 1,
        ("b3", "malformed"): 1,
        ("w3c", "zero_id"): 1,
        ("w3c", "baggage"): 1,
    }


def test_one_log_line_per_reason_and_minute(caplog):
    """A flood of one kind is one line a minute, with the count; another kind has its own."""
    now = [0.0]
    counters = Counters(lambda: now[0])
    with caplog.at_level(logging.WARNING, "tracekit.propagation"):
        for _ in range(100):
            counters.decode_error("b3", "malformed")
        counters.decode_error("b3", "zero_id")
        now[0] = 60.0
        counters.decode_error("b3", "malformed")
    assert [record.getMessage() for record in caplog.records] == [
        "ignored incoming b3 header: malformed (1 so far)",
        "ignored incoming b3 header: zero_id (1 so far)",
        "ignored incoming b3 header: malformed (101 so far)",
    ]


def test_baggage_joins_the_given_contexts():
    """Extracted baggage is added to the given context's, which is not changed."""
    context = baggage.set_baggage("mine", "1", Context())
    made = quiet(("w3c",)).extract({"baggage": "theirs=2"}, context)
    assert baggage.get_all(made) == {"mine": "1", "theirs": "2"}
    assert baggage.get_all(context) == {"mine": "1"}


def test_extract_ignores_the_current_context():
    """Without a context, extract starts from an empty one, not from a thread's leftovers."""
    token = otel_context.attach(baggage.set_baggage("left", "over", Context()))
    try:
        assert quiet(("jaeger",)).extract({}) == Context()
    finally:
        otel_context.detach(token)


def test_entry_points_factories():
    """The names for OTEL_PROPAGATORS give Jaeger's headers, and B3's."""
    assert jaeger_propagator().formats == ("jaeger",)
    assert b3_propagator().formats == ("b3",)
    with pytest.raises(ValueError, match="unknown format"):
        Propagator(("nonsense",))


@given(
    st.dictionaries(st.text(max_size=12), st.one_of(st.text(), st.binary(), st.none())),
    st.permutations(FORMATS),
)
@example({"SW8": " "}, FORMATS)
def test_extract_and_inject_never_raise(carrier, formats):
    """Any dict gives a context that can be injected again, without what nobody could forward."""
    propagator = quiet(formats)
    propagator.inject({}, propagator.extract(carrier))
    assert ("carrier", "error") not in propagator.counters.decode_errors
    assert propagator.counters.unsendable.keys() <= {("forwarded", "value")}


class Table:
    """A value that is asked for keys, as AMQP's tables are: by a slice too, from Python 3.12 on."""

    def __getitem__(self, key):
        raise KeyError(key)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_text_says_nothing(name):
    """Whatever it does when it is looked at, it hides nothing that stands beside it."""
    for header in encode(name, Remote(T, S, sampled=True)):
        carrier = {header: Table()}
        assert decode(name, carrier) is None
        assert quiet((name,)).extract(carrier) == Context()
        context = quiet((name,)).extract({**carrier, "x-request-id": "r"})
        assert forwarded_headers(context) == (("x-request-id", "r"),)


@pytest.mark.parametrize("said", [{}, {"b3": "0"}, {"x-b3-sampled": "0"}])
def test_a_name_without_a_value_is_absent(said):
    """As in ``{name: request.headers.get(name) for name in names}``: a fault is counted once."""
    names = ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
    for absent in (names, names[1:4], names[:1]):
        propagator = quiet(("jaeger", "b3"))
        carrier = {"uber-trace-id": "nonsense", **dict.fromkeys(absent), **said}
        hint = root_hint(propagator.extract(carrier))
        assert (hint.decision if hint else None) is (Decision.DENY if said else None)
        assert propagator.counters.decode_errors == {("jaeger", "malformed"): 1}


def test_captured_headers_are_whole():
    """Captured for the mesh: other formats, x-request-id; nothing empty, nothing over 8 KiB."""
    propagator = quiet(("jaeger",))
    context = propagator.extract(
        {"X-Request-Id": "r", "x-b3-traceid": "1", "sw8": "", "b3": "x" * 9000, "cookie": "c"}
    )
    assert dict(forwarded_headers(context)) == {"x-request-id": "r", "x-b3-traceid": "1"}


def test_pairs_may_be_bytes_or_nonsense():
    """An ASGI scope's byte pairs are read; pairs that are none cost a counter."""
    propagator = quiet(("jaeger",))
    context = propagator.extract_pairs([(b"Uber-Trace-Id", b"1:2:0:1"), (b"Accept", b"*/*")])
    assert span_context(context).span_id == 2
    assert propagator.extract_pairs([("alone",)]) == Context()
    assert propagator.counters.decode_errors == {("carrier", "error"): 1}


class Loud(str):
    """A name that does not like to be compared, as bytes do not with text under ``python -bb``."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        raise RuntimeError(other)


def test_metadata_may_have_any_names():
    """Somebody else's interceptor has put them there; what stands beside them is read."""
    propagator = quiet(("jaeger",))
    fields, _ = propagator.read_metadata(((Loud("a"), "b"), ("uber-trace-id", "1:2:0:1")))
    assert fields[:2] == (1, 2)


class Bytes(bytes):
    """Bytes as they are under ``python -bb``."""

    __slots__ = ()
    __hash__ = bytes.__hash__

    def __eq__(self, other):
        if isinstance(other, str):
            raise BytesWarning(other)
        return super().__eq__(other)


@pytest.mark.parametrize("way_in", ["read_pairs", "read_raw"])
def test_bytes_are_compared_with_no_text(way_in):
    """Servers have headers as a tuple of bytes, and some of them twice."""
    names = (b"user-agent", b"uber-trace-id", b"x-request-id", b"x-request-id")
    pairs = tuple((Bytes(name), b"1:2:0:1") for name in names)
    fields, captured = getattr(quiet(("jaeger",)), way_in)(pairs)
    assert fields[:2] == (1, 2)
    assert captured == (("x-request-id", "1:2:0:1,1:2:0:1"),)


def test_repeated_headers():
    """Two parents are malformed; B3 takes the first; lists go on whole."""
    first, second = Remote(1, 1, sampled=True), Remote(2, 2, sampled=True)

    def read(name):
        propagator = quiet((name,))
        pairs = [*encode(name, first).items(), *encode(name, second).items()]
        return span_context(propagator.extract_pairs(pairs)).trace_id

    assert {name: read(name) for name in FORMATS} == {"jaeger": 0, "w3c": 0, "b3": 1, "b3single": 1}
    context = quiet(("w3c",)).extract_pairs([("baggage", "a=1"), ("Baggage", "b=2")])
    assert baggage.get_all(context) == {"a": "1", "b": "2"}


def test_environ_is_read_like_headers():
    """A WSGI environ gives what the same headers would, and is not searched beyond them."""
    propagator = quiet(("jaeger", "w3c"))
    headers = {
        "uber-trace-id": "1:2:0:1",
        "uberctx-some-key": "v",
        "tracestate": "a=1",
        "x-request-id": "r",
    }
    environ = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()}
    environ |= {"wsgi.input": object(), "PATH_INFO": "/"}
    made = propagator.extract_environ(environ)
    wanted = propagator.extract(headers)
    assert span_context(made) == span_context(wanted)
    assert baggage.get_all(made) == baggage.get_all(wanted) == {"some-key": "v"}
    assert forwarded_headers(made) == forwarded_headers(wanted)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_counts_from_zero():
    """What the parent refused is the parent's; a lock that was held at the fork does not matter."""
    counters = Counters(lambda: 0.0)
    counters.conflict("jaeger", "b3")
    held = threading.Thread(target=counters._now().lock.acquire)
    held.start()
    held.join()
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            counters.conflict("b3", "w3c")
            code = int(counters.conflicts != {("b3", "w3c"): 1})
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert counters.conflicts == {("jaeger", "b3"): 1}


NAMED = {"b3": "x-b3-traceid", "b3single": "b3", "w3c": "traceparent", "jaeger": "uber-trace-id"}


@pytest.mark.parametrize("format_name", sorted(NAMED))
@pytest.mark.parametrize("way_in", ["dict", "pairs", "metadata", "environ"])
def test_an_ignored_trace_is_told_once(format_name, way_in, caplog):
    """Header and variable that would read it are named, however it came; each time is counted."""
    read = "b3" if format_name == "jaeger" else "jaeger"
    propagator = Propagator((read,), alone=True)
    headers = encode(format_name, Remote(T, S, sampled=True))
    for _ in range(3):
        if way_in == "dict":
            propagator.extract(headers)
        elif way_in == "pairs":
            propagator.extract_pairs(headers.items())
        elif way_in == "metadata":
            propagator.read_metadata(tuple(headers.items()))
        else:
            as_keys = {"HTTP_" + n.upper().replace("-", "_"): v for n, v in headers.items()}
            propagator.extract_environ(as_keys)
    assert propagator.counters.ignored == {(format_name,): 3}
    (said,) = [each.getMessage() for each in caplog.records]
    assert NAMED[format_name] in said
    assert f"JAEGER_PROPAGATION={read},{format_name}" in said


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-id": "1"},
        {"x-b3-sampled": "1"},
        encode("b3", Remote(T, S, sampled=True)) | encode("jaeger", Remote(T, S, sampled=True)),
    ],
    ids=["no trace", "no ids", "another format is read"],
)
def test_nothing_joinable_is_nothing_ignored(headers, caplog):
    """Headers without a trace, or beside one that is joined, are worth no word."""
    propagator = Propagator(("jaeger",), alone=True)
    propagator.extract(headers)
    assert propagator.counters.ignored == {}
    assert caplog.records == []


def test_beside_others_nothing_is_ignored(caplog):
    """As a part of somebody's composite, another part may read what this one does not."""
    jaeger_propagator().extract(encode("w3c", Remote(T, S, sampled=True)))
    assert caplog.records == []


def test_a_handle_tells_of_an_ignored_trace(caplog):
    """``init`` with defaults, a request with B3: one warning, and a figure among the metrics."""
    tracing = tracekit.testing.tracing()
    try:
        tracing.propagator.extract(encode("b3", Remote(T, S, sampled=True)))
        points = {family.instrument.name: family.points for family in tracing.metrics()}
        assert points["tracekit.propagation.ignored"] == {("b3",): 1}
        assert "JAEGER_PROPAGATION=jaeger,b3" in caplog.text
    finally:
        tracing.shutdown()
