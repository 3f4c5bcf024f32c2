"""Laws of every codec: total, bounded, and what goes out comes back."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracekit._context import Decision
from tracekit.propagation import Remote, decode, encode
from tracekit.propagation._binary import decode_binary, encode_binary
from tracekit.propagation._formats import FORMATS

IDS = ("jaeger", "b3", "b3single", "w3c", "tracecontext")
CAN_SAY = {
    "jaeger": {Decision.DENY, Decision.ACCEPT, Decision.DEBUG},
    "b3": set(Decision),
    "b3single": set(Decision),
    "w3c": {Decision.DENY, Decision.ACCEPT},
    "tracecontext": {Decision.DENY, Decision.ACCEPT},
}
# What a format says instead of what it cannot say: DEBUG implies sampled, DEFER must not force.
INSTEAD = {Decision.DEBUG: Decision.ACCEPT, Decision.DEFER: Decision.DENY}

ids_128 = st.integers(1, (1 << 128) - 1)
ids_64 = st.integers(1, (1 << 64) - 1)
# A surrogate is no Unicode: it goes out as "?".
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=10)
remotes = st.builds(
    Remote,
    trace_id=st.one_of(ids_64, ids_128),
    span_id=ids_64,
    parent_id=st.one_of(st.none(), ids_64),
    sampled=st.sampled_from([None, True, False]),
).flatmap(
    lambda remote: st.builds(
        lambda debug, baggage: remote._replace(
            debug=debug, sampled=True if debug else remote.sampled, baggage=baggage
        ),
        st.booleans(),
        st.dictionaries(keys, texts, max_size=4),
    )
)


@pytest.mark.parametrize("name", IDS)
@given(remote=remotes)
def test_round_trip(name, remote):
    """Ids of 64 and 128 bits and each decision that a format can say come back as they went."""
    back = decode(name, encode(name, remote))
    assert (back.trace_id, back.span_id) == (remote.trace_id, remote.span_id)
    decision = remote.decision
    assert back.decision is (decision if decision in CAN_SAY[name] else INSTEAD[decision])
    if name in {"jaeger", "b3"} or (name == "b3single" and decision is not Decision.DEFER):
        assert back.parent_id == remote.parent_id
    if name in {"jaeger", "w3c"}:
        assert back.baggage == remote.baggage


@given(remote=remotes)
def test_binary_round_trip(remote):
    """OpenTracing's binary carrier gives back ids, parent, decision and baggage."""
    back = decode_binary(encode_binary(remote))
    assert back[:3] == remote[:3]
    assert back.baggage == remote.baggage
    assert back.debug is remote.debug
    assert back.sampled is bool(remote.sampled)


@pytest.mark.parametrize("decision", [Remote(sampled=False), Remote(sampled=True, debug=True)])
@pytest.mark.parametrize("name", ["b3", "b3single"])
def test_decision_alone_round_trip(name, decision):
    """B3 says deny and debug without ids."""
    assert decode(name, encode(name, decision)) == decision


weird = st.one_of(st.text(), st.binary(), st.none(), st.integers(), st.lists(st.text(), max_size=3))
names = st.one_of(
    st.sampled_from(sorted({name for format_ in FORMATS.values() for name in format_.reads})),
    st.text(max_size=12).map("uberctx-".__add__),
    st.text(max_size=8),
    st.binary(max_size=8),
)


@pytest.mark.parametrize("name", FORMATS)
@given(carrier=st.one_of(st.dictionaries(names, weird), st.lists(st.tuples(names, weird))))
@example(carrier=None)
@example(carrier=7)
@example(carrier=[("b3",)])
@example(carrier=["x"])
def test_decoders_are_total(name, carrier):
    """Whatever a carrier holds, or is, decoding gives a value or None."""
    assert isinstance(decode(name, carrier), (Remote, type(None)))


@given(data=st.binary(max_size=120))
def test_binary_decoder_is_total(data):
    """Any bytes give a value or None."""
    assert isinstance(decode_binary(data), (Remote, type(None)))


@pytest.mark.parametrize("name", FORMATS)
def test_value_over_8_kib_is_refused(name):
    """A header longer than 8 KiB says nothing, however it begins."""
    long = "0" * 8200
    headers = dict.fromkeys(FORMATS[name].reads, long)
    headers |= {"traceparent": f"cc-{'1' * 32}-{'2' * 16}-01-{long}", "jaeger-baggage": f"k={long}"}
    assert decode(name, headers) is None
    assert decode(name, list(headers.items())) is None


def test_baggage_is_bounded_both_ways():
    """At most 64 entries and 8192 bytes come in, and go out."""
    many = {f"k{number}": "v" for number in range(100)}
    wide = {f"k{number}": "v" * 1000 for number in range(20)}
    for name in ("jaeger", "w3c"):
        assert len(decode(name, encode(name, Remote(1, 2, baggage=many))).baggage) == 64
        sent = encode(name, Remote(1, 2, baggage=wide))
        kept = decode(name, sent).baggage
        assert len(kept) == 8
        assert kept.items() <= wide.items()
    flood = {f"uberctx-k{number}": "v" for number in range(100)}
    assert len(decode("jaeger", flood).baggage) == 64


def test_unknown_format_is_named():
    """An unknown format is the caller's mistake, and the error lists the known ones."""
    with pytest.raises(ValueError, match="unknown format 'zipkin'; known: jaeger, b3,"):
        decode("zipkin", {})
    with pytest.raises(ValueError, match="zipkin"):
        encode("zipkin", Remote())


def test_firehose_survives():
    """Jaeger's flag 8 goes through decode and encode, and is not W3C's random flag."""
    remote = decode("jaeger", {"uber-trace-id": "1:2:0:9"})
    assert remote.sampled
    assert not remote.debug
    assert encode("jaeger", remote)["uber-trace-id"].endswith(":9")
    assert encode("w3c", remote)["traceparent"].endswith("-01")


def test_random_flag_is_not_debug():
    """W3C's 0x02 (random id) and Jaeger's 0x02 (debug) never turn into one another."""
    random_id = decode("w3c", {"traceparent": f"00-{'1' * 32}-{'2' * 16}-03"})
    assert encode("jaeger", random_id)["uber-trace-id"].endswith(":0:1")
    debug = decode("jaeger", {"uber-trace-id": "1:2:0:3"})
    assert encode("w3c", debug)["traceparent"].endswith("-01")
    assert encode("w3c", random_id)["traceparent"].endswith("-03")
