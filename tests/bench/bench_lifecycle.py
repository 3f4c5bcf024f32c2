"""How programs end: how long after their exit or SIGTERM, and what arrives of their spans.

Run ``make bench-reliability``, or ``python tests/bench/bench_lifecycle.py NAME …`` for some rows.
Every row runs real processes against receivers of its own.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from tracekit.testing import FakeAgent

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from accounting import lawful
from faults import FAULTS, IDLE, end_of, started, wire

BUDGET_S = 2.0


def dead_collectors():
    """Exit and SIGTERM while the collector is refused, silent or black-holed; budget 2 s."""
    result = {}
    for kind in ("udp", "http", "otlp-http", "otlp-grpc"):
        for name in ("refused",) if kind == "udp" else ("refused", "silent", "black_holed"):
            for how in ("exit", "SIGTERM"):
                with FAULTS[name]() as port:
                    environ = {**wire(kind, port), "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms"}
                    then = "time.sleep(0.5); print(time.time(), flush=True); sys.exit(3)"
                    if how == "SIGTERM":
                        then = IDLE
                    with started(environ, spans=1_000, then=then) as child:
                        if how == "exit":
                            child.stdout.readline()
                            end = end_of(child)
                        else:
                            time.sleep(0.5)
                            end = end_of(child, signal.SIGTERM)
                assert end.code == (3 if how == "exit" else -signal.SIGTERM), end
                if end.stats is not None:
                    assert lawful(end.stats)
                    assert end.stats["dropped"]["shutdown"] + end.stats["in_flight"] == 1_000
                result[f"{kind}, {name}, {how}"] = round(end.took_s - BUDGET_S, 2)
    return {"s beyond the budget": result, "worst": max(result.values())}


def sigterm_queued(rounds=20, spans=1_000):
    """SIGTERM with 1000 spans queued."""
    received, took = 0, []
    for _ in range(rounds):
        with FakeAgent() as agent:
            environ = {**agent.environ, "JAEGER_REPORTER_FLUSH_INTERVAL": "1m"}
            with started(environ, spans=spans, then=IDLE) as child:
                end = end_of(child, signal.SIGTERM)
            assert end.code == -signal.SIGTERM, end
            took.append(end.took_s)
            received += len(agent.wait(spans))
    return {"finished": rounds * spans, "received": received, "slowest end s": round(max(took), 3)}


def sigterm_in_flow(rounds=20):
    """SIGTERM while four threads end spans as fast as a service at its limit does."""
    import test_signals  # noqa: PLC0415 (the program of the test; it needs pytest)

    finished = received = 0
    for number in range(rounds):
        with FakeAgent() as agent, tempfile.NamedTemporaryFile() as counts:
            counts.write(bytes(4096))
            counts.flush()
            environ = {
                **agent.environ,
                "COUNTS": counts.name,
                "JAEGER_REPORTER_FLUSH_INTERVAL": "1s",
            }
            with started(environ, spans=0, then=test_signals.FLOW) as child:
                time.sleep(0.4 + number / 100)
                end = end_of(child, signal.SIGTERM)
            assert end.code == -signal.SIGTERM, end
            counts.seek(0)
            ended = sum(memoryview(counts.read(32)).cast("q"))
            finished += ended
            until = time.monotonic() + 3.0
            while len(agent.spans()) < ended and time.monotonic() < until:
                time.sleep(0.01)
            received += min(ended, len(agent.spans()))
    return {"finished": finished, "received": received}


ROWS = {row.__name__: row for row in (dead_collectors, sigterm_queued, sigterm_in_flow)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="NAME", help=", ".join(ROWS))
    for name in parser.parse_args().rows or ROWS:
        print(name, json.dumps(ROWS[name](), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
