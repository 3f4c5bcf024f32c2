"""The contract of all flavours: the program sees what it would see bare, the span what happened.

Every case runs against the bare program and against the traced one and compares all that a client
can see; then it looks at the spans. The expected values are the same for every flavour.
"""

from __future__ import annotations

import gc
import time

import grpc
import pytest
from collector import no_collector
from opentelemetry.trace import SpanKind, StatusCode

FLAVOURS = ("blocking", "aio", "aio_writer", "aio_threads")
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
STREAMS = ("unary_stream", "stream_stream")
SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"}

# command -> exception events on the server's span
COMMANDS = {
    "ok": 0,
    "context": 0,
    "trailers": 0,
    "set_code": 0,
    "abort": 0,
    "abort_internal": 0,
    "raise": 1,
    "set_code_raise": 1,
    "bad_response": 1,
    "unreadable": 1,
}


@pytest.fixture(autouse=True)
def _every_span_is_taken(shared_tracing):
    yield
    left = shared_tracing.sink.take_many(len(shared_tracing.sink.spans))
    assert not left
    assert shared_tracing.sink.open == 0


def take_pair(shared_tracing):
    """Take the client's and the server's span of one call, whichever ended first."""
    spans = {span.kind: span for span in shared_tracing.sink.take_many(2)}
    client, server = spans[SpanKind.CLIENT], spans[SpanKind.SERVER]
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id
    return client, server


def settled(shared_tracing):
    """Take all spans of a call of which the server may never have heard."""
    end = time.monotonic() + 5
    quiet_since = None
    while time.monotonic() < end:
        if shared_tracing.sink.open:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > 0.1:
            break
        time.sleep(0.01)
    return shared_tracing.sink.take_many(len(shared_tracing.sink.spans))


def code_of(span):
    return span.attributes["rpc.response.status_code"]


def failed(span):
    return span.status.status_code is StatusCode.ERROR


def exceptions(span):
    return [event.name for event in span.events].count("exception")


def both(pair_of, shared_tracing, flavour, kind, command, *, sampled=True, **how):
    """Call bare and traced; the client must not be able to tell them apart."""
    for _ in range(5):
        bare = pair_of(flavour, traced=False).call(kind, command, **how)
        traced = pair_of(flavour, traced=True, sampled=sampled).call(kind, command, **how)
        # A write that meets the end of the call is INTERNAL on asyncio, now and then, with or
        # without tracing.
        if "Internal error from Core" not in (bare.details, traced.details):
            break
        settled(shared_tracing)
    assert traced == bare
    return traced


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("command", COMMANDS)
def test_both_spans_tell_the_bare_outcome(pair_of, shared_tracing, flavour, kind, command):
    """Result, code, details and metadata are those of the bare program; both spans agree."""
    seen = both(pair_of, shared_tracing, flavour, kind, command)
    client, server = take_pair(shared_tracing)
    assert client.name == server.name == f"shop.Orders/{kind}"
    assert code_of(client) == code_of(server) == seen.code.name
    assert failed(client) == (seen.code is not grpc.StatusCode.OK)
    assert failed(server) == (seen.code.name in SERVER_FAULTS)
    assert exceptions(server) == COMMANDS[command]
    assert exceptions(client) == 0
    if seen.code is grpc.StatusCode.OK:  # a response may come with a code that hides it
        assert server.attributes["rpc.response.message_count"] == len(seen.messages)
        # The status may overtake the last message on the client.
        late = len(seen.messages) - client.attributes["rpc.response.message_count"]
        assert late in (0, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("command", "how"),
    [(command, {}) for command in COMMANDS]
    + [("wait", {"timeout": 0.15}), ("wait", {"end": "cancel"})],
    ids=[*COMMANDS, "deadline", "cancel"],
)
def test_an_unsampled_call_is_the_bare_one(pair_of, shared_tracing, flavour, kind, command, how):
    """So it is where nobody is to hear of the call, which takes shorter ways; no span is made."""
    both(pair_of, shared_tracing, flavour, kind, command, sampled=False, **how)


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("command", ["raise", "abort", "set_code", "bad_response"])
def test_a_late_failure_keeps_first_messages(pair_of, shared_tracing, flavour, kind, command):
    """What came before the failure arrives and is counted, and the code is the true one."""
    if (flavour, command) == ("aio_threads", "abort"):
        pytest.skip("grpc.aio leaves the client waiting for the status, bare as well")
    seen = both(pair_of, shared_tracing, flavour, kind, f"late_{command}")
    client, server = take_pair(shared_tracing)
    assert seen.messages[0] == "first"
    assert code_of(client) == code_of(server) == seen.code.name
    assert server.attributes["rpc.response.message_count"] == len(seen.messages)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", ["blocking", "aio", "aio_writer"])
def test_a_rich_status_keeps_its_trailers(pair_of, shared_tracing, flavour, kind):
    """``abort_with_status`` keeps code, details and trailing metadata."""
    seen = both(pair_of, shared_tracing, flavour, kind, "abort_with_status")
    client, server = take_pair(shared_tracing)
    assert seen.trailing == (("why", "sold"),)
    assert code_of(client) == code_of(server) == "NOT_FOUND"
    assert not failed(server)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_deadline_is_told_on_both_sides(pair_of, shared_tracing, flavour, kind):
    """A handler that outlives the deadline ends DEADLINE_EXCEEDED, cancelled, on both sides."""
    seen = both(pair_of, shared_tracing, flavour, kind, "wait", timeout=0.15)
    client, server = take_pair(shared_tracing)
    assert seen.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert code_of(client) == code_of(server) == "DEADLINE_EXCEEDED"
    assert server.attributes["rpc.cancelled"]
    assert failed(client)
    assert failed(server)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_cancel_is_told_on_both_sides(pair_of, shared_tracing, flavour, kind):
    """Cancelling a call or a future ends it CANCELLED on both sides."""
    late = "late_wait" if kind in STREAMS else "wait"
    seen = both(pair_of, shared_tracing, flavour, kind, late, end="cancel")
    client, server = take_pair(shared_tracing)
    assert seen.code is grpc.StatusCode.CANCELLED
    assert code_of(client) == code_of(server) == "CANCELLED"
    assert server.attributes["rpc.cancelled"]
    assert failed(client)
    assert not failed(server)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_dropped_stream_is_cancelled(pair_of, shared_tracing, kind):
    """When the last reference to a call goes, the handler stops as soon as bare; both spans end."""
    for traced in (False, True):
        pair = pair_of("blocking", traced=traced)
        pair.call(kind, "late_wait", end="drop")
        assert pair.program.closed.wait(1.5), f"traced={traced}: the handler would wait 3 s"
    client, server = take_pair(shared_tracing)
    assert code_of(client) == code_of(server) == "CANCELLED"


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_failing_iterator_is_recorded_once(pair_of, shared_tracing, flavour, kind):
    """The code is gRPC's own, and the exception is on the client's span."""
    bare = pair_of(flavour, traced=False).call(kind, "requests_fail")
    traced = pair_of(flavour, traced=True).call(kind, "requests_fail")
    # How far the handler got before the cancel reached it differs from run to run.
    assert (traced.code, traced.details, traced.error) == (bare.code, bare.details, bare.error)
    spans = {span.kind: span for span in settled(shared_tracing)}
    assert code_of(spans[SpanKind.CLIENT]) == traced.code.name
    assert exceptions(spans[SpanKind.CLIENT]) == 1


def circles(pair, kind, calls=6):
    """Make some calls; count what only the garbage collector could free."""
    pair.call(kind, "ok")
    time.sleep(0.05)
    gc.collect()
    with no_collector():
        for _ in range(calls):
            pair.call(kind, "ok")
        time.sleep(0.05)
        return gc.collect() / calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_call_leaves_no_circle_behind(pair_of, shared_tracing, flavour, kind):
    """What gRPC knows of a call is freed when it is over, as it is bare."""
    bare = circles(pair_of(flavour, traced=False), kind)
    traced = circles(pair_of(flavour, traced=True), kind)
    settled(shared_tracing)
    assert traced <= bare + 1  # on asyncio gRPC's own circle has one of ours in it
