"""Minutes of 2,000 traces a second of which one in a hundred fails, and nobody samples any.

Run ``python tests/soak/keep.py --seconds 600``. Every failing trace has arrived at the receiver or
is counted by reason; memory stays flat; both laws hold at every look.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from pathlib import Path

from opentelemetry.trace import Status, StatusCode

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from accounting import laws
from memory import resident_bytes

import tracekit
from tracekit.transport import SendResult

RATE = 2_000
BURSTS = 50
SPANS = 3
FAILING = 0.01
REPORT_S = 10.0
WARM_UP = 0.3
"""The share of the run after which memory is taken as settled."""
ERROR = Status(StatusCode.ERROR)


def request(tracer, failing):
    with tracer.start_as_current_span("request") as root:
        for _ in range(SPANS - 1):
            with tracer.start_as_current_span("step") as span:
                span.set_attribute("http.request.method", "GET")
                span.set_attribute("cache.hit", True)
        if failing:
            root.set_status(ERROR)


class Receiver:
    """A wire that counts the spans of each payload, and keeps none."""

    max_bytes = 65_000
    max_retry_s = None

    def __init__(self):
        self.spans = 0

    def send(self, payload, deadline):
        self.spans += len(payload.frames)
        return SendResult.sent()

    def close(self):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    asked = parser.parse_args()
    chance = random.Random(1)
    failed = made = 0
    receiver = Receiver()
    tracing = tracekit.init(
        "soak",
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=0.0,
        keep="errors",
        transport=receiver,
    )
    tracer = tracing.tracer("soak")
    began = told = time.monotonic()
    settled = None
    while (now := time.monotonic()) < began + asked.seconds:
        for _ in range(RATE // BURSTS):
            failing = chance.random() < FAILING
            failed += failing
            made += 1
            request(tracer, failing)
        stats = laws(tracing.stats())
        if settled is None and now > began + WARM_UP * asked.seconds:
            gc.collect()
            settled = resident_bytes()
        if now > told + REPORT_S:
            told = now
            print(
                f"{now - began:5.0f} s  {made:,} traces, {failed:,} failed"
                f" promoted {stats.promoted // SPANS:,}, {resident_bytes() >> 20} MiB",
                flush=True,
            )
        time.sleep(max(0.0, began + made / RATE - time.monotonic()))
    assert tracing.flush(10.0)
    arrived = receiver.spans
    stats = laws(tracing.stats())
    gc.collect()
    grown = resident_bytes() - settled
    tracing.shutdown()
    limited = stats.discarded["rate_limited"]
    print(
        f"{made / asked.seconds:,.0f} traces/s; {failed:,} failed: {arrived // SPANS:,} arrived,"
        f" {limited // SPANS:,} rate limited; other reasons"
        f" {stats.discarded['buffer_full'] + stats.discarded['late']}; memory {grown:+,} bytes"
    )
    assert arrived == stats.promoted == stats.sent
    assert arrived + limited == failed * SPANS
    assert stats.discarded["unwanted"] == (made - failed) * SPANS
    assert stats.buffered == 0
    assert grown < 4 << 20


if __name__ == "__main__":
    main()
