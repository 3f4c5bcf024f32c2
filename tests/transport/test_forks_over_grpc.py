"""Forks while a call over OTLP/gRPC is on its way: every process reports, and nobody waits long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(170)]

FAMILY = """
    import json, os, signal, sys, threading, time
    import tracekit

    rounds, leave = int(sys.argv[1]), sys.argv[2]
    tracing = tracekit.init("family", flush_s=0.005)
    tracer = tracekit.get_tracer("t")
    ended = threading.Event()

    def work():
        while not ended.is_set():
            for _ in range(20):
                tracer.start_span("parent").end()
            time.sleep(0.002)

    worker = threading.Thread(target=work)
    worker.start()
    while not tracekit.stats().sent:
        time.sleep(0.001)
    for number in range(rounds):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # one that stands still is ended, and told of by its silence
            for each in range(5):
                tracer.start_span(f"child {number}.{each}").end()
            done = tracekit.flush(50.0)
            os.write(writing, json.dumps([bool(done), tracekit.stats().as_dict()]).encode())
            if leave == "sys.exit":
                ended.set()  # (threading waits for no thread of the parent's)
                sys.exit(0)
            os._exit(0)
        os.close(writing)
        with open(reading) as pipe:
            print(pipe.read(), flush=True)
        assert os.waitpid(pid, 0)[1] == 0
    ended.set()
    worker.join()
    print(json.dumps([bool(tracekit.flush(50.0)), tracekit.stats().as_dict()]))
"""


def run(source, environ, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(source), *arguments],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("leave", ["sys.exit", "os._exit"])
@pytest.mark.parametrize("answers_after_s", [0.0, 0.01])
def test_children_send_everything_once(grpc_receiver, answers_after_s, leave):
    """A child's flush ends with its spans sent; the parent's connection is not touched."""
    grpc_receiver.after_s = answers_after_s
    told, _ = run(FAMILY, grpc_receiver.environ, "40", leave)
    *children, (done, parent) = told
    assert len(children) == 40
    for flushed, stats in children:
        assert (flushed, stats["started"], stats["sent"]) == (True, 5, 5)
    assert done
    # (A fork that waited in vain for a loaded machine breaks a call off: those are sent again.)
    assert parent["sent"] == parent["finished"] > 0
    assert parent["retries"] <= parent["payloads"] / 2
    names = Counter(span.name for span in grpc_receiver.spans)
    assert parent["sent"] <= names.pop("parent") <= parent["sent"] + parent["resent"]
    assert names == Counter(f"child {n}.{each}" for n in range(40) for each in range(5))


def test_a_slow_collector_deafens_no_child(grpc_receiver):
    """The call is broken off for the fork, counted in doubt, and made again; nobody is warned."""
    grpc_receiver.after_s = 0.8
    environ = grpc_receiver.environ | {"JAEGER_REPORTER_MAX_QUEUE_SIZE": "500"}
    told, said = run(FAMILY, environ, "3", "os._exit")
    *children, (done, parent) = told
    for flushed, stats in children:
        assert (flushed, stats["started"], stats["sent"]) == (True, 5, 5)
    assert done
    assert parent["resent"] > 0
    assert parent["sent"] + parent["dropped"]["queue_full"] == parent["finished"]
    assert "cannot be sent" not in said
    names = Counter(span.name for span in grpc_receiver.spans)
    assert parent["sent"] <= names.pop("parent") <= parent["sent"] + parent["resent"]
    assert names == Counter(f"child {n}.{each}" for n in range(3) for each in range(5))


AWAY = """
    import os, random, signal, sys, time
    import tracekit

    dice = random.Random(1)
    tracing = tracekit.init("away", flush_s=0.005, exit_budget_s=0.1)
    tracer = tracekit.get_tracer("t")
    for _ in range(60):
        for _ in range(5):
            tracer.start_span("parent").end()
        tracekit.flush(dice.random() / 50)
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            tracer.start_span("child").end()
            tracekit.flush(0.05)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    tracekit.shutdown(0.1)
"""


def test_no_child_hangs_while_nobody_listens(grpc_receiver):
    """Each failure closes a channel, but gRPC does not end with it, on a thread of its own."""
    grpc_receiver.stop()
    run(AWAY, grpc_receiver.environ)


CUT = """
    import json, os, signal, threading
    import tracekit
    from tracekit.transport._grpc_line import Line

    class Deaf:
        '''A channel whose call does not end when it is cancelled.'''
        def unary_stream(self, method):
            return lambda request, **options: self
        def __next__(self):
            calling.set()
            free.wait()
            raise StopIteration
        def cancel(self):
            cancelled.append(True)

    def call():
        line.call(b"", timeout_s=1.0, metadata=(), compression=None)

    calling, free, cancelled = threading.Event(), threading.Event(), []
    line = Line("/a/b", Deaf)
    tracing = tracekit.init("cut")
    caller = threading.Thread(target=call)
    caller.start()
    calling.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        tracekit.get_tracer("t").start_span("child").end()
        flushed = tracekit.flush(50.0)
        pid = os.fork()
        if pid == 0:
            tracekit.get_tracer("t").start_span("grandchild").end()
            tracekit.flush(50.0)
            os._exit(tracekit.stats().dropped["send_failed"] != 1)
        ended = os.waitpid(pid, 0)[1]
        stats = tracekit.stats()
        print(json.dumps([bool(flushed), stats.as_dict(), stats.last_problem, ended]), flush=True)
        os._exit(0)
    free.set()
    caller.join()
    tracekit.get_tracer("t").start_span("parent").end()
    done = tracekit.flush(50.0)
    assert os.waitpid(pid, 0)[1] == 0
    print(json.dumps([bool(done), tracekit.stats().as_dict(), cancelled]))
"""


def test_a_child_of_a_call_leaves_grpc_alone(grpc_receiver):
    """In such a child gRPC would hang or abort: its spans are lost, told and counted instead."""
    told, said = run(CUT, grpc_receiver.environ)
    (flushed, child, problem, grandchild), (done, parent, cancelled) = told
    assert (flushed, child["dropped"]["send_failed"], child["sent"]) == (True, 1, 0)
    assert "forked in the midst of a call" in problem
    assert "http/protobuf" in said
    assert grandchild == 0
    assert (done, parent["sent"]) == (True, 1)
    assert cancelled
    assert [span.name for span in grpc_receiver.spans] == ["parent"]
