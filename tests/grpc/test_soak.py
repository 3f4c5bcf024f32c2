"""Many clients at once for a while: nothing of a call is left behind. ``SOAK_S`` sets how long."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import threading
import time

import grpc
import pytest
from opentelemetry import trace
from waiting import eventually

CLIENTS = 64
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
COMMANDS = ("ok", "abort", "raise", "set_code", "trailers", "bad_response")


@pytest.mark.integration
@pytest.mark.parametrize("flavour", ["blocking", "aio"])
def test_a_crowd_of_clients_leaves_nothing(pair_of, shared_tracing, flavour):
    """Every span ends, the sink's law holds, no context stays current and no thread is left."""
    seconds = float(os.environ.get("SOAK_S", "1.5"))
    pair = pair_of(flavour, traced=True)
    end = time.monotonic() + seconds
    calls = []

    def client(number):
        chance = random.Random(number)
        done = 0
        while time.monotonic() < end:
            kind, command = chance.choice(KINDS), chance.choice(COMMANDS)
            with contextlib.suppress(grpc.RpcError):
                pair.client.call(kind, command, pair.program, timeout=10)
            done += 1
            assert not trace.get_current_span().get_span_context().is_valid
        calls.append(done)

    before = threading.active_count()
    crowd = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(seconds + 30)
    spans = shared_tracing.sink.take_many(2 * sum(calls), timeout_s=20)
    assert len(calls) == CLIENTS
    assert shared_tracing.sink.open == 0
    assert len({span.context.span_id for span in spans}) == len(spans)
    stats = shared_tracing.stats()
    assert stats.open == 0
    assert stats.started == stats.finished
    gc.collect()
    eventually(
        lambda: threading.active_count() <= before + 12
    )  # the server's pool and our worker, no more
