"""Every way into a context says the same: dict, pairs, WSGI environ, foreign getters."""

from __future__ import annotations

import logging
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from tracekit._context import forwarded_headers, marks_of, root_hint
from tracekit.propagation import Propagator
from tracekit.propagation._counters import Counters
from tracekit.propagation._extracted import enter

T, S = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
VALUES = {
    "uber-trace-id": (f"{T}:{S}:0:1", "1:2:3:3", "1%3A2%3A0%3A0", "x:1:0:1", "1:2:0:9"),
    "uberctx-some-key": ("v", "a%20b", "x+y", ""),
    "jaeger-baggage": ("k1=v1, k2=v2", "k%3Dv", "broken"),
    "jaeger-debug-id": ("look", "a%20b", " "),
    "x-b3-traceid": (T, T[16:], "0" * 16, "short"),
    "x-b3-spanid": (S, "0" * 16, f"{S},{S}"),
    "x-b3-parentspanid": (S, "0", "", "x"),
    "x-b3-sampled": ("1", "0", "true", "d", "yakka", "1,0"),
    "x-b3-flags": ("1", "0", "1,1"),
    "b3": (f"{T}-{S}-1", f"{T}-{S}", f"{T}-{S}-d-{S}", "0", "d", "broken"),
    "traceparent": (f"00-{T}-{S}-01", f"cc-{T}-{S}-03-later", f"00-{T}-{'0' * 16}-01", "00"),
    "tracestate": ("a=1,b=2", "a=1,,b=2", "A=1"),
    "baggage": ("a=1,b=2;p=3", "broken", "a=x%20y"),
    "x-request-id": ("7d4b", ""),
    "user-agent": ("curl",),
}
headers = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(texts) for name, texts in VALUES.items()}
)
propagators = {
    (formats, order): Propagator(formats, order=order, counters=Counters(lambda: 0.0))
    for formats in (("jaeger",), ("b3",), ("w3c",), ("jaeger", "b3", "w3c"))
    for order in ("first", "last")
}


class Metadatum(NamedTuple):
    """What gRPC makes of a pair that it received."""

    key: str
    value: str | bytes


def received(pairs):
    return tuple(Metadatum(*pair) for pair in pairs)


class ByName(Getter):
    """Answers in any letter case, with lists, as the getters of frameworks do."""

    def get(self, carrier, key):
        return next((texts for name, texts in carrier if name.lower() == key.lower()), None)

    def keys(self, carrier):
        return [name for name, _ in carrier]


def view(context):
    held = trace.get_current_span(context).get_span_context()
    return (
        (held.trace_id, held.span_id, held.trace_flags, dict(held.trace_state), marks_of(held)),
        baggage.get_all(context),
        root_hint(context),
        sorted(forwarded_headers(context)),
    )


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("propagator", propagators.values(), ids=map(str, propagators))
@given(given_headers=headers)
@example(given_headers={"x-b3-traceid": T, "x-b3-spanid": S})  # nothing decided
@example(given_headers={"x-b3-flags": "1"})
@example(given_headers={"uberctx-some-key": "v"})
def test_every_way_in_says_the_same(propagator, given_headers):
    """Names in any letter case, values as text, bytes or lists: the context is the same."""
    pairs = list(given_headers.items())
    environ = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in pairs}
    ways = [
        propagator.extract(given_headers, Context()),
        propagator.extract({name: [text] for name, text in pairs}, Context()),
        propagator.extract({name.title(): text for name, text in pairs}, Context()),
        propagator.extract([(name, [text]) for name, text in pairs], Context(), ByName()),
        propagator.extract_pairs(pairs, Context()),
        propagator.extract_pairs(
            [(name.upper().encode(), text.encode()) for name, text in pairs], Context()
        ),
        enter(propagator.read_metadata(received((("te", "trailers"), *pairs))), Context()),
        enter(propagator.read_metadata((("te", "trailers"), *pairs)), Context()),
        enter(propagator.read_metadata(received((n, t.encode()) for n, t in pairs)), Context()),
        enter(propagator.read_metadata([(name, text.encode()) for name, text in pairs]), Context()),
        propagator.extract_environ({"wsgi.version": (1, 0), **environ}, Context()),
    ]
    for context in ways[1:]:
        assert view(context) == view(ways[0])


class Marked(str):
    """Text of a template's or a framework's own class."""

    __slots__ = ()


@pytest.mark.parametrize("name", ["b3", "uber-trace-id"])
def test_text_of_another_class_is_read(name):
    """A header whose value is of a subclass of ``str`` says what plain text does, on every way."""
    propagator = Propagator(("b3",), counters=Counters(lambda: 0.0))
    marked = [(name, Marked(VALUES[name][0]))]
    plain = propagator.extract({name: VALUES[name][0]}, Context())
    for context in (
        propagator.extract(dict(marked), Context()),
        propagator.extract_pairs(marked, Context()),
        enter(propagator.read_metadata(tuple(marked)), Context()),
        enter(propagator.read_metadata(received(marked)), Context()),
    ):
        assert view(context) == view(plain)
        assert all(type(value) is str for _, value in forwarded_headers(context))
    assert propagator.counters.decode_errors == {}
