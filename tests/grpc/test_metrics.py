"""RPC metrics of gRPC servers: what the bare program served, for every flavour, all unsampled."""

from __future__ import annotations

import time
from collections import Counter

import pytest

import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
COMMANDS = ("ok", "trailers", "set_code", "abort", "abort_internal", "raise", "bad_response")
SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"}


@pytest.fixture(scope="module")
def shared_tracing():
    """Return a handle that samples nothing and counts everything."""
    shared_tracing = tracekit.testing.tracing(sampler_param=0, rpc_metrics=True)
    yield shared_tracing
    shared_tracing.shutdown()


def served(shared_tracing):
    """Return calls by method and whether they failed."""
    (requests,) = [
        f.points for f in shared_tracing.metrics() if f.instrument.name == "jaeger.rpc.requests"
    ]
    return Counter({(method, error == "true"): n for (_, method, error), n in requests.items()})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", ["blocking", "aio", "aio_writer", "aio_threads"])
def test_calls_are_counted_with_final_codes(pair_of, shared_tracing, flavour, kind):
    """As many calls as a client of the bare program saw, failed where its code is the server's."""
    before, expected = served(shared_tracing), Counter()
    for command in COMMANDS:
        bare = pair_of(flavour, traced=False).call(kind, command)
        assert pair_of(flavour, traced=True).call(kind, command) == bare
        expected[f"shop.Orders/{kind}", bare.code.name in SERVER_FAULTS] += 1
    deadline = time.monotonic() + 5  # the client may hear of the end before the server is done
    while (counted := served(shared_tracing) - before) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counted == expected
    assert shared_tracing.stats().started == 0
