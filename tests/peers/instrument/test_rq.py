"""RQ on a real Redis: the work horse leaves by ``os._exit``, and its spans arrive."""

from __future__ import annotations

import pytest

pytest.importorskip("rq")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_jobs_are_in_the_enqueuers_trace(write, run, agent, redis):
    """A worker that was started without a line of tracing, and a job that fails."""
    write(
        jobs="""
            def job(number):
                return 1 // number
        """,
        send="""
            import sys
            from redis import Redis
            from rq import Queue
            import tracekit
            from jobs import job
            with tracekit.get_tracer("shop").start_as_current_span("order"):
                queue = Queue(connection=Redis(port=int(sys.argv[1])))
                for number in range(3):
                    queue.enqueue(job, number)
        """,
    )
    run("python", "send.py", str(redis), TRACEKIT_INSTRUMENT="rq")
    run("rq", "worker", "--burst", "--url", f"redis://127.0.0.1:{redis}")
    agent.wait(7)
    spans = agent.spans()
    assert len({span.trace_id for span in spans}) == 1
    by_id = {span.span_id: span for span in spans}
    runs = [span for span in spans if span.operation == "process jobs.job"]
    assert len(runs) == 3
    for run_ in runs:
        sent = by_id[run_.parent_id]
        assert (sent.operation, sent.kind, run_.kind) == ("send jobs.job", "producer", "consumer")
        assert by_id[sent.parent_id].operation == "order"
    assert [span.tags["error.type"] for span in runs if span.error] == ["ZeroDivisionError"]
