"""RQ with a real Redis: each job runs in a fork that leaves by ``os._exit``."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from tracekit.testing import FakeAgent

pytestmark = pytest.mark.timeout(120)

JOBS = """
    import tracekit
    {init}

    def job(number):
        with tracekit.get_tracer("jobs").start_as_current_span(f"job {{number}}"):
            return number
"""
WORK = """
    import sys
    from redis import Redis
    from rq import Queue, Worker
    connection = Redis(port={port})
    queue = Queue(connection=connection)
    made = [queue.enqueue("jobs.job", number) for number in range(4)]
    Worker([queue], connection=connection).work(burst=True, logging_level="WARNING")
    print(sorted(job.latest_result().return_value for job in made))
"""


@pytest.fixture
def redis_port(tmp_path):
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield port
        running.terminate()


@pytest.mark.parametrize("where", ["of the jobs", "of the worker"])
def test_every_jobs_span_arrives(redis_port, tmp_path, where):
    """Nothing in a job says so, wherever tracing is set up."""
    pytest.importorskip("rq")
    init = 'tracekit.init("jobs")'
    jobs = JOBS.format(init=init if where == "of the jobs" else "")
    (tmp_path / "jobs.py").write_text(textwrap.dedent(jobs))
    work = textwrap.dedent(WORK).format(port=redis_port)
    if where == "of the worker":
        work = f"import tracekit\n{init}\n{work}"
    with FakeAgent() as agent:
        done = subprocess.run(
            [sys.executable, "-c", work],
            cwd=tmp_path,
            env={"PATH": "/usr/bin", "JAEGER_REPORTER_FLUSH_INTERVAL": "1m", **agent.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.strip() == "[0, 1, 2, 3]", done.stderr
        spans = agent.spans()
    assert sorted(span.operation for span in spans) == [f"job {n}" for n in range(4)]
