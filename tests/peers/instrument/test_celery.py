"""Celery on a real Redis: one trace from whoever sends to what each task does, in every pool."""

from __future__ import annotations

import itertools
import signal

import pytest

pytest.importorskip("celery")
pytest.importorskip("redis")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TASKS = """
    import os
    import celery
    url = os.environ["REDIS"]
    app = celery.Celery("shop", broker=url + "/0", backend=url + "/1")
    app.conf.worker_prefetch_multiplier = 1

    @app.task
    def add(a, b):
        return a + b

    @app.task(bind=True, max_retries=2, default_retry_delay=0)
    def flaky(self):
        if self.request.retries < 2:
            raise self.retry(exc=ValueError("again"), countdown=0)
        return "done"

    @app.task
    def broken():
        raise KeyError("lost")

    @app.task
    def total(numbers):
        return sum(numbers)

    @app.task(bind=True, max_retries=1)
    def slowly(self):
        if not self.request.retries:
            raise self.retry(countdown=1)
        return "done"

    @app.task(acks_late=True, reject_on_worker_lost=True)
    def late():
        return "done"

    @app.task
    def stuck():
        import time
        time.sleep(30)
"""
BEAT = """
    app.conf.beat_schedule = {
        "often": {"task": "tasks.add", "schedule": 0.5, "args": (1, 2)}
    }
"""
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
SEND = """
    import sys, celery
    from opentelemetry import trace
    import tracekit, tasks
    with tracekit.get_tracer("shop").start_as_current_span("order"):
        {body}
"""


@pytest.fixture
def traces(write, run, serve, agent, redis, wait_until):
    """A function that runs a sender beside a worker, and returns the spans of the trace."""

    def traces(body, count, *pool, own=QUIET):
        write(tasks=TASKS, send=SEND.format(body=body))
        url = f"redis://127.0.0.1:{redis}"
        worker = serve(
            "celery", "-A", "tasks", "worker", "--pool", *pool, "-l", "WARNING", *own, REDIS=url,
        )  # fmt: skip
        run("python", "send.py", REDIS=url, TRACEKIT_INSTRUMENT="celery")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(40) == 0
        # What a run has Redis keep is in the trace as well; what else a worker says to it in none.
        ours = ("producer", "consumer", "internal")
        wait_until(lambda: sum(span.kind in ours for span in agent.spans()) >= count, agent.spans)
        assert len({span.trace_id for span in agent.spans()}) == 1
        spans = [span for span in agent.spans() if span.kind in ours]
        assert len(spans) == count
        return spans

    return traces


def parent(spans, span):
    return next((each for each in spans if each.span_id == span.parent_id), None)


def named(spans, name):
    return [span for span in spans if span.operation == name]


@pytest.mark.parametrize(
    "pool",
    [
        ("prefork", "-c", "2"),
        ("prefork", "-c", "1", "--max-tasks-per-child", "1"),
        ("threads", "-c", "2"),
        ("gevent", "-c", "2"),
        ("eventlet", "-c", "2"),
        ("solo",),
    ],
    ids=" ".join,
)
def test_each_pool_joins_the_senders_trace(traces, pool):
    """Producer and consumer spans, in pairs; a recycled child sends what it has."""
    spans = traces("print([t.get(timeout=60) for t in [tasks.add.delay(n, 1) for n in range(5)]])",
                   11, *pool)  # fmt: skip
    assert len(named(spans, "send tasks.add")) == len(named(spans, "process tasks.add")) == 5
    for span in named(spans, "process tasks.add"):
        sent = parent(spans, span)
        assert (sent.operation, sent.kind, span.kind) == ("send tasks.add", "producer", "consumer")
        assert sent.tags["messaging.message.id"] == span.tags["messaging.message.id"]
        assert span.tags["messaging.destination.name"] == "celery"
        assert span.tags["celery.state"] == "SUCCESS"
        assert parent(spans, sent).operation == "order"


def test_each_retry_is_a_run_below_the_last(traces):
    """No retry is an error; the last run is told by its number."""
    spans = traces("print(tasks.flaky.delay().get(timeout=60))", 7, "prefork", "-c", "1")
    runs = sorted(named(spans, "process tasks.flaky"), key=lambda span: span.start_us)
    assert [run.tags["celery.state"] for run in runs] == ["RETRY", "RETRY", "SUCCESS"]
    assert not any(span.error for span in spans)
    for earlier, later in itertools.pairwise(runs):
        assert parent(spans, parent(spans, later)) == earlier


def test_a_failed_task_is_an_error(traces):
    """ETA and failure; the exception is the task's own."""
    spans = traces(
        "tasks.broken.apply_async(countdown=1).get(timeout=60, propagate=False)", 3, "solo"
    )
    (run,) = named(spans, "process tasks.broken")
    assert (run.error, run.tags["error.type"]) == (True, "KeyError")


def test_a_chord_is_one_trace(traces):
    """The callback is sent by whichever worker ran the last of the header."""
    spans = traces(
        "header = [tasks.add.s(n, n) for n in range(3)];"
        " print(celery.chord(header)(tasks.total.s()).get(timeout=60))",
        9, "prefork", "-c", "2",
    )  # fmt: skip
    (run,) = named(spans, "process tasks.total")
    assert parent(spans, parent(spans, run)).operation == "process tasks.add"


def test_a_task_sent_by_name_has_its_span(traces):
    """As by a program that does not have the task's code."""
    spans = traces("print(tasks.app.send_task('tasks.add', (1, 2)).get(timeout=60))", 3, "solo")
    assert parent(spans, named(spans, "process tasks.add")[0]).operation == "send tasks.add"


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "eventlet", "solo"])
def test_a_waiting_worker_makes_no_traces(traces, agent, pool):
    """Polling, gossip, heartbeats: nobody wants to see them. What a run stores is in its trace."""
    sent = "tasks.add.apply_async((1, 2), countdown=2.5)"  # the heart beats every two seconds
    traces(f"print({sent}.get(timeout=60))", 3, pool, "-c", "1", "-E", own=())
    assert "client" in {span.kind for span in agent.spans()}


@pytest.mark.parametrize("way", ["group", "chain"])
def test_tasks_put_together_are_one_trace(traces, way):
    """Of a chain, each link is sent by the run of the one before it."""
    if way == "group":
        body = "print(celery.group(tasks.add.s(n, 1) for n in range(3))().get(timeout=60))"
        spans = traces(body, 7, "solo")
        parents = ["order"] * 3
    else:
        links = "tasks.add.s(1, 1), tasks.add.s(2), tasks.add.s(3)"
        body = f"print(celery.chain({links})().get(timeout=60))"
        spans = traces(body, 7, "solo")
        parents = ["order", "process tasks.add", "process tasks.add"]
    sent = sorted(named(spans, "send tasks.add"), key=lambda span: span.start_us)
    assert [parent(spans, span).operation for span in sent] == parents


def test_a_retry_later_tells_when_it_is_due(traces):
    """The broker holds it as a message with an ETA, and it joins as each run does."""
    spans = traces("print(tasks.slowly.delay().get(timeout=60))", 5, "solo")
    first, second = sorted(named(spans, "process tasks.slowly"), key=lambda span: span.start_us)
    assert (first.tags["celery.state"], second.tags["celery.state"]) == ("RETRY", "SUCCESS")
    assert second.tags["celery.eta"]
    assert parent(spans, parent(spans, second)) == first


def test_a_late_acknowledgement_joins(traces):
    """Acknowledging is the worker's talk with its broker, and in no trace."""
    spans = traces("print(tasks.late.delay().get(timeout=60))", 3, "prefork", "-c", "1")
    assert parent(spans, named(spans, "process tasks.late")[0]).operation == "send tasks.late"


def test_a_soft_time_limit_fails_the_run(traces):
    """It is raised in the task, which may fail by it."""
    spans = traces(
        "print(tasks.stuck.apply_async(soft_time_limit=1).get(timeout=60, propagate=False))",
        3, "prefork", "-c", "1",
    )  # fmt: skip
    (run,) = named(spans, "process tasks.stuck")
    assert (run.error, run.tags["error.type"]) == (True, "SoftTimeLimitExceeded")


@pytest.mark.parametrize("end", ["time_limit", "revoke"])
def test_a_killed_child_loses_nothing(traces, end):
    """By a hard time limit or by a revocation that terminates; bare, it ends with the task."""
    last = {
        "time_limit": "tasks.stuck.apply_async(time_limit=1).get(timeout=60, propagate=False)",
        "revoke": "stuck = tasks.stuck.delay(); import time; time.sleep(1.5);"
        " stuck.revoke(terminate=True)",
    }[end]  # fmt: skip
    spans = traces(
        f"print([tasks.add.delay(n, 1).get(timeout=60) for n in range(3)]); {last}",
        9, "prefork", "-c", "1",
    )  # fmt: skip
    assert len(named(spans, "process tasks.add")) == 3
    assert parent(spans, named(spans, "process tasks.stuck")[0]).operation == "send tasks.stuck"


def test_a_revoked_task_is_never_run(traces):
    """Only what sent it is in the trace."""
    spans = traces(
        "tasks.add.delay(1, 1).get(timeout=60);"
        " tasks.total.apply_async(([1],), countdown=3, task_id='gone');"
        " tasks.app.control.revoke('gone'); import time; time.sleep(4)",
        4, "solo",
    )  # fmt: skip
    assert named(spans, "send tasks.total")
    assert not named(spans, "process tasks.total")


@pytest.mark.parametrize("way", ["apply", "always eager"])
def test_an_eager_task_is_below_the_current(write, run, agent, redis, way):
    """Without a worker or a message."""
    eager = "tasks.app.conf.task_always_eager = True; tasks.total.delay([1, 2]).get()"
    body = eager if way == "always eager" else "tasks.total.apply(args=([1, 2],)).get()"
    write(tasks=TASKS, send=SEND.format(body=body))
    run("python", "send.py", REDIS=f"redis://127.0.0.1:{redis}", TRACEKIT_INSTRUMENT="celery")
    spans = agent.wait(2)
    (ran,) = named(spans, "process tasks.total")
    assert parent(spans, ran).operation == "order"
    assert len(spans) == 2


def test_each_task_of_beat_is_a_trace(write, serve, agent, redis, wait_until):
    """The clock that sends them makes no other traces."""
    write(tasks=TASKS + BEAT)
    url = f"redis://127.0.0.1:{redis}"
    processes = [
        serve(
            "celery", "-A", "tasks", "worker", "--pool", "solo", "-l", "WARNING", *QUIET, REDIS=url
        ),
        serve("celery", "-A", "tasks", "beat", "-l", "WARNING", REDIS=url),
    ]
    wait_until(lambda: len(named(agent.spans(), "process tasks.add")) >= 2, agent.spans)
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    spans = agent.spans()
    runs = named(spans, "process tasks.add")
    assert len({run.trace_id for run in runs}) == len(runs)
    assert {parent(spans, run).operation for run in runs} == {"send tasks.add"}
    sent = {span.trace_id for span in named(spans, "send tasks.add")}
    assert not [(span.operation, span.tags) for span in spans if span.trace_id not in sent]
