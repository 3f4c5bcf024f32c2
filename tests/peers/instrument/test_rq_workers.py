"""RQ on a real Redis: each kind of worker and scheduler, with the spans of every process."""

from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("rq")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

JOBS = """
    def job(number):
        return 1 // number

    def told(job, connection, *ended):
        connection.set("told", job.id)
"""
SEND = """
    import os
    from datetime import timedelta
    from redis import Redis
    from rq import Queue
    import jobs, tracekit
    with tracekit.get_tracer("shop").start_as_current_span("order"):
        queue = Queue(connection=Redis.from_url(os.environ["RQ_REDIS_URL"]))
        {body}
"""
ORDER = "[queue.enqueue(jobs.job, number) for number in range(3)]"


@pytest.fixture
def url(redis):
    return f"redis://127.0.0.1:{redis}"


@pytest.fixture
def send(write, run, url):
    """A function that enqueues as its text says."""

    def send(body):
        write(jobs=JOBS, send=SEND.format(body=body))
        run("python", "send.py", RQ_REDIS_URL=url, TRACEKIT_INSTRUMENT="rq")

    return send


def of(spans, *kinds):
    return [span for span in spans if span.kind in kinds]


def joined(agent, wait_until, runs):
    """Return the consumer spans, when there are so many, each below what sent it."""
    wait_until(lambda: len(of(agent.spans(), "consumer")) >= runs, agent.spans)
    spans = agent.spans()
    by_id = {span.span_id: span for span in spans}
    consumers = of(spans, "consumer")
    assert len(consumers) == runs
    for run in consumers:
        sent = by_id[run.parent_id]
        assert (sent.operation, sent.kind) == ("send jobs.job", "producer")
        assert sent.trace_id == run.trace_id
    return consumers


@pytest.mark.parametrize("kind", ["Worker", "SimpleWorker", "SpawnWorker", "pool"])
def test_each_kind_of_worker_joins_the_trace(send, serve, url, agent, wait_until, kind):
    """A job that fails is among them, and what a worker says to Redis by itself is in no trace."""
    rq = pytest.importorskip("rq")
    if kind != "pool" and not hasattr(rq, kind):
        pytest.skip(f"this RQ has no {kind}")
    send(ORDER)
    command = ["worker-pool", "-n", "2"] if kind == "pool" else ["worker", "-w", f"rq.{kind}"]
    ended = []
    for traced in (True, False):
        worker = serve("rq", *command, "--burst", "--url", url, traced=traced)
        ended.append(worker.wait(60))
    assert ended[0] == ended[1]
    runs = joined(agent, wait_until, 3)
    assert [span.tags["error.type"] for span in runs if span.error] == ["ZeroDivisionError"]
    assert len({span.trace_id for span in agent.spans()}) == 1


@pytest.mark.parametrize("kind", ["worker", "worker-pool"])
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_stopped_worker_ends_as_bare(send, serve, url, agent, wait_until, kind, by):
    """A warm shutdown, with nothing lost."""
    send(ORDER)
    ended = []
    for traced in (True, False):
        worker = serve("rq", kind, "--url", url, traced=traced)
        if traced:
            joined(agent, wait_until, 3)
        else:
            wait_until(lambda: workers(url), "no worker")
        os.kill(worker.pid, by)
        ended.append(worker.wait(60))
        wait_until(lambda: not workers(url), "a worker is left")
    assert ended[0] == ended[1]


def workers(url):
    from redis import Redis
    from rq import Worker

    with Redis.from_url(url) as connection:
        return Worker.all(connection=connection)


def test_a_job_for_later_joins_the_trace(send, serve, url, agent, wait_until):
    """The worker's own scheduler, a process of multiprocessing, moves it into the queue."""
    send("queue.enqueue_in(timedelta(seconds=1), jobs.job, 1)")
    worker = serve("rq", "worker", "--with-scheduler", "--url", url)
    joined(agent, wait_until, 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert len({span.trace_id for span in agent.spans()}) == 1


def test_a_lone_scheduler_makes_no_traces(send, serve, run, write, url, agent, wait_until):
    """A program that runs nothing but ``RQScheduler``."""
    send("queue.enqueue_in(timedelta(seconds=1), jobs.job, 1)")
    write(
        schedule="""
            import os
            from redis import Redis
            from rq.scheduler import RQScheduler
            connection = Redis.from_url(os.environ["RQ_REDIS_URL"])
            scheduler = RQScheduler(["default"], connection=connection, interval=1)
            assert scheduler.acquire_locks()
            scheduler.work()
        """
    )
    scheduler = serve("python", "schedule.py", RQ_REDIS_URL=url)
    worker = serve("rq", "worker", "--url", url)
    joined(agent, wait_until, 1)
    for process in (worker, scheduler):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert len({span.trace_id for span in agent.spans()}) == 1


def test_each_job_of_cron_is_a_trace(write, serve, url, agent, wait_until):
    """What the scheduler says to Redis by itself is in none."""
    pytest.importorskip("rq.cron")
    write(
        jobs=JOBS,
        cron="""
            import jobs
            from rq import cron
            cron.register(jobs.job, queue_name="default", args=(1,), interval=1)
        """,
    )
    scheduler = serve("rq", "cron", "cron.py", "--path", ".", "--url", url)
    worker = serve("rq", "worker", "--url", url)
    wait_until(lambda: len(of(agent.spans(), "consumer")) >= 2, agent.spans)
    for process in (scheduler, worker):
        process.send_signal(signal.SIGINT)
        process.wait(60)
    runs = of(agent.spans(), "consumer")
    assert len({run.trace_id for run in runs}) == len(runs)
    producers = {span.span_id for span in of(agent.spans(), "producer")}
    assert {run.parent_id for run in runs} <= producers
    assert {span.trace_id for span in agent.spans()} == {
        span.trace_id for span in of(agent.spans(), "producer")
    }


def test_a_callback_is_below_its_jobs_run(send, serve, url, agent, wait_until):
    """What it asks Redis for is in the job's trace; all else of the worker is in none."""
    send(
        "queue.enqueue(jobs.job, 1, on_success=jobs.told);"
        " queue.enqueue(jobs.job, 0, on_failure=jobs.told)"
    )
    worker = serve("rq", "worker", "--burst", "--url", url)
    assert worker.wait(60) == 0
    runs = joined(agent, wait_until, 2)
    wait_until(lambda: len(of(agent.spans(), "client")) >= 2, agent.spans)
    asked = of(agent.spans(), "client")
    assert {span.operation for span in asked} == {"SET"}
    assert {span.parent_id for span in asked} == {run.span_id for run in runs}
