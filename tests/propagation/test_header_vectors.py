"""The facts gathered from the specifications and from the clients' own test suites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracekit.mesh import forward_headers
from tracekit.propagation import Propagator, Remote, decode, encode

VECTORS = Path(__file__).parents[1] / "vectors"
# In the vectors' words ``b3multi`` is what JAEGER_PROPAGATION=b3 means.
FORMATS = {"jaeger": "jaeger", "b3multi": "b3", "b3": "b3single", "w3c": "w3c"}
FILES = ("uber_trace_id", "jaeger_baggage", "b3_multi", "b3_single", "w3c", "istio")


def cases(operation):
    return [
        pytest.param(case, id=case["id"])
        for name in FILES
        for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]
        if case["op"] == operation
    ]


@pytest.mark.parametrize("case", cases("extract"))
def test_extract(case):
    """A header means what the vector says, and nothing raises."""
    expect = case["expect"]
    remote = decode(FORMATS[case["format"]], [tuple(pair) for pair in case["headers"]])
    found = remote or Remote()
    assert found.has_ids is expect["valid"]
    if expect["valid"]:
        assert found.trace_id == int(expect["trace_id"], 16)
        assert found.span_id == int(expect["span_id"], 16)
    if "parent_id" in expect:
        assert found.parent_id == (expect["parent_id"] and int(expect["parent_id"], 16))
    for name in ("sampled", "debug", "trace_flags"):
        if name in expect:
            assert getattr(found, name) == expect[name]
    if "baggage" in expect:
        assert dict(found.baggage) == expect["baggage"]
    assert expect.get("baggage_has", {}).items() <= dict(found.baggage).items()
    members = [tuple(member.split("=", 1)) for member in found.tracestate.split(",") if member]
    if "tracestate" in expect:
        assert members == [tuple(member) for member in expect["tracestate"]]
    if "tracestate_len" in expect:
        assert len(members) == expect["tracestate_len"]


def remote_of(context):
    """Return the vector's context as a value; ``flags`` are Jaeger's, ``trace_flags`` W3C's."""
    flags = context.get("flags", 0)
    return Remote(
        int(context["trace_id"], 16),
        int(context["span_id"], 16),
        context["parent_id"] and int(context["parent_id"], 16),
        context.get("sampled", bool(flags & 1)),
        context.get("debug", flags & 3 == 3),
        None,
        context.get("baggage", {}),
        "",
        context.get("trace_flags", flags & 0xC),
    )


@pytest.mark.parametrize("case", cases("inject"))
def test_inject(case):
    """A context is written as the vector says."""
    made = encode(FORMATS[case["format"]], remote_of(case["context"]))
    for name, wanted in case["expect"]["headers"].items():
        if isinstance(wanted, dict) and "any" in wanted:
            assert made[name] in wanted["any"]
        elif isinstance(wanted, dict):
            parts = [int(part, 16) for part in made[name].split(":")]
            for part, legal in zip(parts, wanted["equals_ctx"], strict=True):
                assert part in [int(choice, 16) for choice in str(legal).split("|")]
        else:
            assert made.get(name) == wanted


@pytest.mark.parametrize("case", cases("forward"))
def test_forward(case):
    """What the mesh sent in goes on, by hand and automatically, and nothing is invented."""
    pairs = [tuple(pair) for pair in case["headers"]]
    by_hand = forward_headers(pairs)
    propagator = Propagator(("jaeger",))
    automatic = propagator.outgoing(propagator.extract_pairs(pairs)).forwarded
    for name, value in case["expect"].get("forward", {}).items():
        assert by_hand[name] == value
        assert automatic[name] == value
    if trace := case["expect"].get("forward_trace"):
        assert by_hand["b3"].startswith(trace)
    for name in case["expect"].get("absent", ()):
        assert name not in by_hand
        assert name not in automatic
    if other := case.get("other"):
        assert forward_headers([tuple(pair) for pair in other]) != by_hand
