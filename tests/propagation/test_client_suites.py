"""What the test suites of other projects expect of headers, as tables.

The Jaeger clients for Go, Java, Node and Python, Brave (Zipkin), and OpenTelemetry for Python and
Java. Where they contradict each other the row follows the majority of the Jaeger clients; where
tracekit differs from them on purpose is in docs/reference/propagation.md.
"""

from __future__ import annotations

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context

import tracekit.testing
from tracekit.propagation import Propagator, Remote, decode, encode
from tracekit.propagation._binary import decode_binary, encode_binary

T, P, S = "0000000000000001", "0000000000000002", "0000000000000003"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abcd",
        "x:1:1:1",
        "1:x:1:1",
        "1:1:x:1",
        "1:1:1:x",
        "x.x.x.x",
        "ff:ff:ff",
        ":ff:ff:ff",
        "ff:ff:ff:",
        "aa:bb:cc:dd:ee",
        "01234567890123456789012345678901234:1:1:1",
        "123456789012345678901234567890123:ff:ff:ff",
        "01234_67890123456789012345678901:1:1:1",
        "0123456789012345678901_345678901:1:1:1",
        "1:01234567890123456:1:1",
        "1:1:1:10220",
        "1:1:1:abcdefr",
        "0:1:1:1",
        "1:0:1:1",
        "1:1:-1:1",
        "1:1:1:-1",
    ],
)
def test_uber_trace_id_that_is_refused(value):
    """A malformed header names no parent, is counted once and leaves the context as it was."""
    propagator = Propagator(("jaeger",))
    context = Context({"other": 1})
    assert propagator.extract({"uber-trace-id": value}, context) is context
    assert sum(propagator.counters.decode_errors.values()) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1:1:1:0", (1, 1, 1, False, False, 0)),
        ("1:1:1:1", (1, 1, 1, True, False, 1)),
        ("1:1:1:3", (1, 1, 1, True, True, 1)),
        ("1:1:1:8", (1, 1, 1, False, False, 8)),
        ("1:1:1:9", (1, 1, 1, True, False, 9)),
        ("1:0123456789012345:1:1", (1, 0x0123456789012345, 1, True, False, 1)),
        ("10000000000000001:1:1:1", ((1 << 64) | 1, 1, 1, True, False, 1)),
        ("ff:dd:cc:4", (0xFF, 0xDD, 0xCC, False, False, 4)),
        ("100000000000000ff:dd:cc:4", ((1 << 64) | 0xFF, 0xDD, 0xCC, False, False, 4)),
        ("F:F:F:1", (15, 15, 15, True, False, 1)),
        ("1:1:1:00001", (1, 1, 1, True, False, 1)),
        ("1:1:1:ff", (1, 1, 1, True, True, 13)),
        (
            "4d0000000000000016%3A17c29%3A0%3A5",
            ((0x4D << 64) | 0x16, 0x17C29, None, True, False, 5),
        ),
    ],
)
def test_uber_trace_id_that_is_read(value, expected):
    """Short, long, upper-case and URL-encoded ids are read, and the flags as one hex byte."""
    remote = decode("jaeger", {"uber-trace-id": value})
    assert (*remote[:5], remote.trace_flags) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("hobbit=Bilbo Baggins", {"hobbit": "Bilbo Baggins"}),
        ("kevin spacey=actor", {"kevin spacey": "actor"}),
        ("kevin%20spacey=se7en%3Aactor", {"kevin spacey": "se7en:actor"}),
        ("key1=value1, key 2=value two", {"key1": "value1", "key 2": "value two"}),
        ("k1%3Dv1%2C%20k2%3Dv2", {"k1": "v1", "k2": "v2"}),
        ("k1=50%25,k2=1%2B1,k3=a+b", {"k1": "50%", "k2": "1+1", "k3": "a b"}),
        ("key1=, key2=", {"key1": "", "key2": ""}),
        ("k1=v1, k2 = v2, k3=v3=d3", {"k1": "v1", "k2": "v2"}),
        (
            "nometa = nometa-value , meta = meta-value",
            {"nometa": "nometa-value", "meta": "meta-value"},
        ),
        (
            "kiff=Amy, hermes=LaBarbara, bender=Bender",
            {"kiff": "Amy", "hermes": "LaBarbara", "bender": "Bender"},
        ),
        ("malformed", {}),
        ("malformed, string", {}),
        ("nometa+novalue", {}),
    ],
)
def test_jaeger_baggage(header, expected):
    """The list in ``jaeger-baggage`` is URL-decoded, then split; one ``=`` each, bad items left."""
    assert baggage.get_all(Propagator(("jaeger",)).extract({"jaeger-baggage": header})) == expected


def test_baggage_prefix_alone_is_no_key():
    """A header that is nothing but the prefix carries nothing."""
    assert decode("jaeger", {"uberctx-": "value"}) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Coraline", "Coraline"), ("a%20b", "a b"), ("a+b", "a+b"), ("%C3%A9", "é")],
)
def test_debug_id_is_url_decoded(header, expected):
    """The tag has the decoded id, the root is sampled for debug; unused, it goes on encoded."""
    tracing = tracekit.testing.tracing(sampler_type="const", sampler_param=0)
    context = tracing.propagator.extract({"jaeger-debug-id": header})
    span = tracing.tracer("t").start_span("root", context)
    span.end()
    assert tracing.sink.spans[0].attributes["jaeger-debug-id"] == expected
    made = {}
    tracing.propagator.inject(made, context)
    assert decode("jaeger", made).debug_id == expected
    assert made["jaeger-debug-id"].isascii()


ACCEPT, DENY, DEBUG, DEFER = (True, False), (False, False), (True, True), (None, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{T}-{S}", (1, 3, None, *DEFER)),
        (f"{T}{T}-{S}", ((1 << 64) | 1, 3, None, *DEFER)),
        (f"{T}-{S}-0", (1, 3, None, *DENY)),
        (f"{T}-{S}-1", (1, 3, None, *ACCEPT)),
        (f"{T}-{S}-d", (1, 3, None, *DEBUG)),
        (f"{T}-{S}-0-{P}", (1, 3, 2, *DENY)),
        (f"{T}-{S}-d-{P}", (1, 3, 2, *DEBUG)),
        (f"{T}-{S}-1-{'0' * 16}", (1, 3, None, *ACCEPT)),
        ("0", (0, 0, None, *DENY)),
        ("1", (0, 0, None, *ACCEPT)),
        ("d", (0, 0, None, *DEBUG)),
    ],
)
def test_b3_single_that_is_read(text, expected):
    """Each of the forms, with and without ids, state and parent."""
    assert decode("b3single", {"b3": text})[:5] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "-1",
        "1-",
        "1-?",
        "1-0",
        "2",
        "D",
        "not-a-tumor",
        "0-1-2-3-4-5-6-7",
        "b970dafd-0d95-40aa-95d8-1d8725aebe40",
        T[1:],
        T,
        f"{T}-",
        f"{T[1:]}-{S}",
        f"{T[1:]}?-{S}",
        f"{T}-{S[1:]}",
        f"{T}-{S[1:]}?",
        f"{T}-{S}-",
        f"{T}-{S}-1-",
        f"{T}-{S}-0-?",
        f"{T}-{S}-{P}",
        f"{T}-{S}-2",
        f"{T}-{S}-1-{P[1:]}",
        f"{T}-{S}-1-{P}-1",
        f"{T}-{S}-{T}{T}",
        f"{T}{T}{T}-{S}-{T}",
        f"{'0' * 16}-{S}-1",
        f"{T}-{'0' * 16}-1",
    ],
)
def test_b3_single_that_is_refused(text):
    """Cut, swapped, too long, not hex: nothing is read."""
    assert decode("b3single", {"b3": text}) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceid": T, "spanid": S}, (1, 3, None, *DEFER)),
        ({"traceid": T, "spanid": S, "sampled": "1"}, (1, 3, None, *ACCEPT)),
        ({"traceid": T, "spanid": S, "sampled": "true"}, (1, 3, None, *ACCEPT)),
        ({"traceid": T, "spanid": S, "sampled": "0"}, (1, 3, None, *DENY)),
        ({"traceid": T, "spanid": S, "sampled": "false"}, (1, 3, None, *DENY)),
        ({"traceid": T, "spanid": S, "flags": "1"}, (1, 3, None, *DEBUG)),
        ({"traceid": T, "spanid": S, "flags": "0"}, (1, 3, None, *DEFER)),
        ({"traceid": T, "spanid": S, "sampled": "1", "flags": "1"}, (1, 3, None, *DEBUG)),
        ({"traceid": "0" * 16 + T, "spanid": S}, (1, 3, None, *DEFER)),
        ({"traceid": T[:15] + "9" + "0" * 16, "spanid": S}, (9 << 64, 3, None, *DEFER)),
        ({"traceid": T, "spanid": S, "parentspanid": P, "sampled": "1"}, (1, 3, 2, *ACCEPT)),
        ({"traceid": T, "spanid": S, "parentspanid": "0", "sampled": "1"}, (1, 3, None, *ACCEPT)),
        ({"traceid": T, "spanid": S, "parentspanid": "2", "sampled": "1"}, (1, 3, 2, *ACCEPT)),
        ({"traceid": T, "spanid": S, "parentspanid": "", "sampled": "1"}, (1, 3, None, *ACCEPT)),
        ({"sampled": "1"}, (0, 0, None, *ACCEPT)),
        ({"flags": "1"}, (0, 0, None, *DEBUG)),
    ],
)
def test_b3_multi_that_is_read(headers, expected):
    """Each state with and without ids; the parent also as older senders write it, unpadded."""
    assert decode("b3", {f"X-B3-{name}": value for name, value in headers.items()})[:5] == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"traceid": "0" * 16, "spanid": S},
        {"traceid": "0" * 32, "spanid": S},
        {"traceid": T, "spanid": "0" * 16},
        {"traceid": "g" + T[1:], "spanid": S},
        {"traceid": T, "spanid": "g" + S[1:]},
        {"traceid": T + "00", "spanid": S},
        {"traceid": T, "spanid": S[2:]},
        {"traceid": T, "spanid": S, "parentspanid": "hiagggdf"},
        {"traceid": T, "spanid": S, "parentspanid": P + "0"},
        {"traceid": T, "spanid": S, "parentspanid": "-2"},
        {"traceid": T},
        {"spanid": S},
    ],
)
def test_b3_multi_that_is_refused(headers):
    """Ids that are zero, cut, too long or not hex name no span."""
    assert decode("b3", {f"x-b3-{name}": value for name, value in headers.items()}) is None


@pytest.mark.parametrize(
    ("remote", "text"),
    [
        (Remote(1, 3), f"{T}-{S}"),
        (Remote(1, 3, 2), f"{T}-{S}"),
        (Remote(1, 3, sampled=False), f"{T}-{S}-0"),
        (Remote(1, 3, sampled=True), f"{T}-{S}-1"),
        (Remote(1, 3, sampled=True, debug=True), f"{T}-{S}-d"),
        (Remote(1, 3, 2, sampled=True), f"{T}-{S}-1-{P}"),
    ],
)
def test_b3_single_as_brave_writes_it(remote, text):
    """One header, the parent only behind a state."""
    assert encode("b3single", remote) == {"b3": text}


HEAD = bytes.fromhex("615d85e0e006d55b366b9d86aabc5c8f236306806a56df82366b9d86aabc5c8f01")


@pytest.mark.parametrize(
    ("data", "entries"),
    [
        (HEAD + b"\0\0\0\0", {}),
        (HEAD + b"\0\0\0\1\0\0\0\7key_one\0\0\0\tvalue_one", {"key_one": "value_one"}),
    ],
)
def test_binary_carrier_of_the_go_client(data, entries):
    """The binary carriers that the Python client keeps as Go's: read, and written byte for byte."""
    remote = decode_binary(bytearray(data))
    assert remote[:4] == (
        0x615D85E0E006D55B366B9D86AABC5C8F,
        0x236306806A56DF82,
        0x366B9D86AABC5C8F,
        True,
    )
    assert remote.baggage == entries
    assert encode_binary(remote) == data


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("key1=val1,key2=val2", {"key1": "val1", "key2": "val2"}),
        ("key1 =   val1,  key2 =val2   ", {"key1": "val1", "key2": "val2"}),
        ("key1\t=\tval1", {"key1": "val1"}),
        (
            "key1 = val1 ; prop1 = 1 ; prop2 ;prop3= 2",
            {"key1": "val1 ; prop1 = 1 ; prop2 ;prop3= 2"},
        ),
        (
            "key1=val1,key2=val2%3Aval3,key3=val4%40%23%24val5",
            {"key1": "val1", "key2": "val2:val3", "key3": "val4@#$val5"},
        ),
        ("key1=val1=2", {"key1": "val1=2"}),
        ("key1=,key2=val2", {"key1": "", "key2": "val2"}),
        ("key%23key=value%23value", {"key#key": "value#value"}),
        ("key=value1,key=value2", {"key": "value2"}),
        ("key1=val1,key2=val2,a,val3", {"key1": "val1", "key2": "val2"}),
        ("key1=val1,key2=test\u00e9", {"key1": "val1"}),
        ("ke<y=value1, ;sss,key=value,ke(y=value;meta=val ", {"key": "value"}),
        ("key 1=val1", {}),
        ("key1=val 1", {}),
        ("key=val\\ue1,key1=val", {"key1": "val"}),
        ('key="val"', {}),
        (" = ", {}),
        ("   =value1", {}),
        ("header1", {}),
        ("", {}),
    ],
)
def test_w3c_baggage(header, expected):
    """A bad member is left out, the others count; a value keeps its properties as text."""
    for carrier in ({"baggage": header}, {"baggage": [header]}):
        assert baggage.get_all(Propagator(("baggage",)).extract(carrier)) == expected


@pytest.mark.parametrize("name", ["baggage", "jaeger"])
def test_a_value_without_text_costs_itself(name):
    """An entry whose ``str`` raises is left out and counted; the others go."""

    class Bad:
        def __str__(self):
            raise RuntimeError("no text")

    propagator = Propagator((name,))
    context = baggage.set_baggage("bad", Bad(), Context())
    context = baggage.set_baggage("number", 123.5, baggage.set_baggage("good", True, context))
    made = {}
    propagator.inject(made, context)
    assert baggage.get_all(propagator.extract(made)) == {"good": "True", "number": "123.5"}
    assert propagator.counters.unsendable == {(name, "baggage"): 1}


def test_fields_are_what_inject_sets():
    """``fields`` names what a setter gets, in every format (OpenTelemetry's rule)."""

    class Recorder:
        def __init__(self):
            self.names = set()

        def set(self, carrier, key, value):
            self.names.add(key)

    span_context = trace.SpanContext(
        1, 2, False, trace.TraceFlags(1), trace.TraceState([("a", "b")])
    )
    context = trace.set_span_in_context(trace.NonRecordingSpan(span_context), Context())
    context = baggage.set_baggage("k", "v", context)
    for name, beside in (
        ("jaeger", {"uberctx-k"}),
        ("b3", {"x-b3-parentspanid", "x-b3-flags"}),  # of a child, of a debug trace
        ("b3single", set()),
        ("w3c", set()),
        ("tracecontext", set()),
        ("baggage", set()),
    ):
        recorder = Recorder()
        propagator = Propagator((name,))
        propagator.inject({}, context, recorder)
        assert propagator.fields ^ recorder.names == beside
