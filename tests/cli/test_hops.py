"""The verdict of the demo on hand-made traces: it must see what is wrong, and name it."""

from __future__ import annotations

import pytest

from tracekit._cli.demo.hops import DISPATCHED, Hop, Ingress, faults, forwarded
from tracekit.local import ReceivedSpan, Tags

INGRESS = Ingress(trace_id=0xA << 64 | 0xB, span_id=0xC, request_id="r-1")
NEAREST, TRACK, ROUTE = DISPATCHED[1:]


def _span(span_id, parent_id, service, kind, operation, **fields):
    values = {
        "process_tags": Tags([("shop", "rides"), ("client-uuid", service)]),
        "trace_id": INGRESS.trace_id,
        "flags": 1,
        "start_us": 0,
        "duration_us": 0,
        "tags": Tags(),
        "logs": (),
        "references": (),
    }
    return ReceivedSpan(
        span_id=span_id,
        parent_id=parent_id,
        service=service,
        kind=kind,
        operation=operation,
        **(values | fields),
    )


def _whole_trace():
    calls = [
        (10, "driver", "rides.Driver/Nearest"),
        (20, "driver", "rides.Driver/Track"),
        *((number, "route", "GET /route") for number in (30, 40, 50)),
    ]
    trace = [_span(1, INGRESS.span_id, "frontend", "server", "GET /dispatch")]
    for number, callee, operation in calls:
        trace.append(_span(number, 1, "frontend", "client", "call"))
        trace.append(_span(number + 1, number, callee, "server", operation))
    return trace


def _faults(trace):
    return {hop: fault for hop, fault in faults(DISPATCHED, INGRESS, trace).items() if fault}


def test_a_whole_trace_has_no_fault():
    """Every hop there, every parent right: nothing to say."""
    assert _faults(_whole_trace()) == {}


@pytest.mark.parametrize("lost", ["frontend", "driver", "route"])
def test_a_lost_services_spans_are_missed(lost):
    """Without one service's spans, exactly the hops that touch it are at fault."""
    found = _faults([span for span in _whole_trace() if span.service != lost])

    assert set(found) == {hop for hop in DISPATCHED if lost in (hop.caller, hop.callee)}


def test_no_spans_miss_every_hop():
    """No span at all is the most faulty trace, not an empty success."""
    assert set(_faults([])) == set(DISPATCHED)


def test_spans_of_another_trace_do_not_count():
    """A broken propagation starts a trace of its own: the hop is missing in this one."""
    trace = [
        span._replace(trace_id=99) if span.service == "driver" else span for span in _whole_trace()
    ]

    assert set(_faults(trace)) == {NEAREST, TRACK}


def test_too_few_calls_are_a_fault():
    """Two of three routes are not the whole fan-out."""
    assert _faults(_whole_trace()[:-1]) == {ROUTE: "2 of 3 server spans arrived from route"}


@pytest.mark.parametrize(
    ("change", "hop", "fault"),
    [
        (
            {"span_id": 11, "parent_id": 1},
            NEAREST,
            "the parent of rides.Driver/Nearest is no client span of frontend",
        ),
        (
            {"span_id": 21, "process_tags": Tags()},
            TRACK,
            "driver came without the process tags shop=rides and client-uuid",
        ),
        (
            {"span_id": 21, "process_tags": Tags([("shop", "rides"), ("client-uuid", "frontend")])},
            TRACK,
            "frontend and driver are one process",
        ),
        (
            {"span_id": 30, "parent_id": 77},
            ROUTE,
            "the client span of frontend does not lead back to the request",
        ),
        (
            {"span_id": 30, "parent_id": 30},
            ROUTE,
            "the client span of frontend does not lead back to the request",
        ),
    ],
)
def test_a_wrong_parent_or_process(change, hop, fault):
    """A span under the wrong parent, or from an unmarked process, is seen although it arrived."""
    trace = [
        span._replace(**change) if span.span_id == change["span_id"] else span
        for span in _whole_trace()
    ]

    assert _faults(trace) == {hop: fault}


def test_the_request_must_join_the_mesh():
    """The frontend's span has to be the child of the span that the B3 headers name."""
    first, *others = _whole_trace()

    found = _faults([first._replace(parent_id=None), *others])

    assert found[DISPATCHED[0]] == "the span is no child of the span in the B3 headers"


def test_a_hop_names_itself_for_the_reader():
    """Caller, callee, protocol, operation, and how often if more than once."""
    assert str(ROUTE) == "frontend → route  HTTP /route, 3 times"
    assert str(Hop("a", "b", "gRPC", "Go")) == "a → b  gRPC Go"


def test_the_request_id_must_come_through():
    """Only a span of this trace that saw this id proves that the header was forwarded."""
    seen = _span(1, None, "route", "internal", "compute", tags=Tags([("request-id", "r-1")]))

    assert forwarded(INGRESS, [seen])
    assert not forwarded(INGRESS, [seen._replace(trace_id=1)])
    assert not forwarded(INGRESS, [seen._replace(tags=Tags())])


def test_ingress_headers_are_those_of_istio():
    """The demo speaks as a gateway does: 32 and 16 digits, sampled, a request id."""
    assert INGRESS.headers() == {
        "x-request-id": "r-1",
        "x-b3-traceid": "000000000000000a000000000000000b",
        "x-b3-spanid": "000000000000000c",
        "x-b3-sampled": "1",
    }
