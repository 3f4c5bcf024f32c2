"""The poller: when it starts, how often it asks, what failures cost, how it stops and forks."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import eventually

from tracekit.errors import StrategyError
from tracekit.sampling import (
    ParentRule,
    RemoteSampler,
    Strategy,
    from_type,
    parse_strategy,
    state_of,
)
from tracekit.sampling._fetch import following_file, following_server, source_for
from tracekit.sampling._poller import Poller
from tracekit.testing import FakeClock


class MemorySource:
    """Answers from a list of answers; the last one again and again. Exceptions are raised."""

    name = "memory"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.fetched = threading.Semaphore(0)
        self.at = []

    def fetch(self):
        self.at.append(time.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.fetched.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def parse(self, answer):
        if isinstance(answer, Strategy):
            return answer
        raise StrategyError("no strategy")

    def abort(self):
        pass


class HangingSource(MemorySource):
    """Never answers until it is aborted."""

    def __init__(self):
        super().__init__(b"")
        self.aborted = threading.Event()

    def fetch(self):
        self.fetched.release()
        self.aborted.wait(60)
        raise OSError("aborted")

    def abort(self):
        self.aborted.set()


def polling_threads():
    return [each for each in threading.enumerate() if each.name == "tracekit-sampling"]


@pytest.fixture
def made():
    """Return a function that builds a sampler and its poller, closed at the end."""
    samplers = []

    def make(source, **arguments):
        sampler = RemoteSampler()
        Poller(sampler, source, **arguments)
        samplers.append(sampler)
        return sampler

    yield make
    for sampler in samplers:
        sampler.close()
    assert not polling_threads()


def test_the_first_root_starts_the_thread(made):
    """Building, describing and asking for the state starts nothing."""
    sampler = made(MemorySource(Strategy("probabilistic", 1.0)))
    state_of(ParentRule(sampler))
    sampler.get_description()
    assert not polling_threads()
    sampler.should_sample(None, 1, "operation")
    sampler.should_sample(None, 1, "operation")
    assert len(polling_threads()) == 1


@pytest.mark.parametrize(("interval_s", "within_s"), [(60.0, 1.0), (0.2, 0.2)])
def test_the_first_poll_comes_soon(made, interval_s, within_s):
    """Even the latest moment that jitter picks lies within ``min(1 s, interval)``."""
    waits = []

    def latest(low, high):
        waits.append((low, high))
        return high

    source = MemorySource(Strategy("probabilistic", 1.0))
    sampler = made(source, interval_s=interval_s, uniform=latest)
    start = time.monotonic()
    sampler.decide(1, "operation")
    assert source.fetched.acquire(timeout=10)
    assert waits[0][0] == 0.0
    assert waits[0][1] * min(1.0, interval_s) <= source.at[0] - start
    assert waits[0][1] < 1.0
    assert waits[0][1] * min(1.0, interval_s) < within_s


def test_polls_keep_to_the_interval(made):
    """Jitter shortens a wait and never lengthens it."""
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return low

    source = MemorySource(Strategy("probabilistic", 1.0))
    made(source, interval_s=0.05, uniform=uniform).decide(1, "operation")
    for _ in range(4):
        assert source.fetched.acquire(timeout=10)
    assert all(0.0 < low < high < 1.0 for low, high in drawn[1:])


def test_a_failure_keeps_the_last_strategy():
    """A failed query and a bad answer have a counter each, and the next good answer heals."""
    sampler = RemoteSampler()
    good = Strategy("ratelimiting", 5.0)
    poller = Poller(sampler, MemorySource(good, OSError("refused"), b"no", good))
    assert [poller.poll() for _ in range(3)] == [True, False, False]
    state = sampler.state()
    assert state["strategy"] == {"type": "ratelimiting", "param": 5.0}
    counted = [state[key] for key in ("queries_ok", "queries_err", "updates_ok", "updates_err")]
    assert counted == [2, 1, 1, 1]
    assert state["last_error"] == "cannot use the answer: no strategy"
    assert poller.poll()
    assert sampler.state()["last_error"] is None


class BytesSource(MemorySource):
    """Holds what a sampling server sent, to be read as the HTTP source reads it."""

    def parse(self, answer):
        return parse_strategy(answer)


@given(st.binary() | st.text().map(lambda text: f'{{"operationSampling": {text}'.encode()))
def test_any_answer_is_applied_or_counted(answer):
    """One poll moves exactly one of the two update counters, whatever came."""
    good = b'{"rateLimitingSampling": {"maxTracesPerSecond": 5}}'
    sampler = RemoteSampler()
    poller = Poller(sampler, BytesSource(good, answer))
    assert poller.poll()
    applied = poller.poll()
    state = sampler.state()
    assert (state["updates_ok"], state["updates_err"]) == ((2, 0) if applied else (1, 1))
    assert applied or state["strategy"] == {"type": "ratelimiting", "param": 5.0}


def test_a_strategy_ages_since_it_applies():
    """Before the first answer there is none."""
    clock = FakeClock()
    sampler = RemoteSampler(clock=clock)
    assert sampler.state()["age_s"] is None
    sampler.apply(Strategy("probabilistic", 1.0))
    clock.advance(7.0)
    assert sampler.state()["age_s"] == 7.0


def test_errors_are_logged_once_a_minute(caplog):
    """A server that is down for a day fills no disk."""
    clock = FakeClock()
    poller = Poller(RemoteSampler(), MemorySource(OSError("refused")), clock=clock)
    with caplog.at_level(logging.WARNING, "tracekit"):
        for _ in range(120):
            poller.poll()
            clock.advance(1.0)
    assert len(caplog.records) == 2
    assert "refused" in caplog.text


def test_close_is_prompt_during_a_fetch(made):
    """A hanging server delays nobody's shutdown, and the thread ends."""
    source = HangingSource()
    sampler = made(source)
    sampler.decide(1, "operation")
    assert source.fetched.acquire(timeout=10)
    (thread,) = polling_threads()
    sampler.close()
    thread.join(10)
    assert not thread.is_alive()
    assert sampler.state()["queries_err"] == 0


def test_a_closed_poller_stays_closed(made):
    """Later roots go on with the last strategy and start nothing."""
    sampler = made(MemorySource(Strategy("probabilistic", 1.0)))
    sampler.close()
    assert not sampler.should_sample(None, (1 << 64) - 1, "operation").decision.is_sampled()
    assert not polling_threads()


def test_a_request_never_waits_for_a_poll(made):
    """While a fetch hangs, roots are decided by what is in force."""
    source = HangingSource()
    sampler = made(source)
    sampler.decide(1, "operation")
    assert source.fetched.acquire(timeout=10)
    assert sampler.should_sample(None, 1, "operation").decision.is_sampled()


def test_racing_first_roots_start_one_thread(made):
    """Eight threads make the first decision at once."""
    sampler = made(MemorySource(Strategy("probabilistic", 1.0)))
    barrier = threading.Barrier(8)

    def first():
        barrier.wait(10)
        sampler.decide(1, "operation")

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(polling_threads()) == 1


def test_an_interval_must_be_positive():
    """Zero, negative and NaN are refused when the poller is built."""
    for interval_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError):
            Poller(RemoteSampler(), MemorySource(b""), interval_s=interval_s)


def _in_child(fork, work):
    """Run ``work`` in a forked child and return what it returned, as JSON over a pipe."""
    read_end, write_end = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.write(write_end, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    try:
        ready, _, _ = select.select([read_end], [], [], 30)
        assert ready, "the child hangs"
        return json.loads(os.read(read_end, 65_536))
    finally:
        os.close(read_end)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


FORKS = [
    pytest.param(os.fork, id="os.fork"),
    # As uWSGI forks: Python's hooks do not run in the child.
    pytest.param(lambda: ctypes.PyDLL(None).fork(), id="libc fork"),
]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("fork", FORKS)
def test_a_forked_child_polls_for_itself(made, fork):
    """The parent's strategy is inherited; its thread, its counters and its fetch are not."""
    source = MemorySource(Strategy("probabilistic", 0.5))
    # The first poll comes at once and the next one in a minute: at the fork the thread sleeps,
    # because CPython itself does not survive a fork without hooks while a thread wants the GIL.
    sampler = made(source, interval_s=60.0, uniform=lambda low, high: low)
    sampler.decide(1, "operation")
    eventually(lambda: sampler.current.rate == 0.5)
    time.sleep(0.05)

    def child():
        before = sampler.state()
        source.answers = [Strategy("probabilistic", 0.25)]
        sampler.decide(1, "operation")
        eventually(lambda: sampler.current.rate == 0.25)
        sampler.close()
        return [before["queries_ok"], before["strategy"]["param"], sampler.current.rate]

    assert _in_child(fork, child) == [0, 0.5, 0.25]
    assert sampler.current.rate == 0.5
    assert sampler.state()["queries_ok"] == 1


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_forked_during_a_take():
    """No lock can be left behind: forks hit a limiter that is being used all the time."""
    sampler = from_type("ratelimiting", 1e6)
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            sampler.decide(1, "operation")

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert _in_child(os.fork, lambda: bool(sampler.decide(1, "operation")))
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def test_a_file_is_in_force_and_followed(tmp_path):
    """The first root already sees it; a change, a mistake and a repair are followed."""
    path = tmp_path / "strategies.json"
    path.write_text('{"default_strategy": {"type": "probabilistic", "param": 1}}')
    sampler = following_file(str(path), "service", interval_s=0.02)
    assert sampler.should_sample(None, 1, "operation").attributes["sampler.param"] == 1.0
    try:
        path.write_text('{"default_strategy": {"type": "ratelimiting", "param": 7}}')
        eventually(lambda: sampler.state()["strategy"] == {"type": "ratelimiting", "param": 7.0})
        path.write_text('{"default_strategy": {"type": "ratelimiting", ')
        eventually(lambda: sampler.state()["updates_err"] == 1)
        assert sampler.state()["strategy"] == {"type": "ratelimiting", "param": 7.0}
        path.unlink()
        eventually(lambda: sampler.state()["queries_err"] > 0)
        path.write_text('{"default_strategy": {"type": "probabilistic", "param": 0.5}}')
        eventually(lambda: sampler.state()["strategy"] == {"type": "probabilistic", "param": 0.5})
        assert sampler.state()["last_error"] is None
    finally:
        sampler.close()


def test_a_missing_file_keeps_the_first_rate(tmp_path, caplog):
    """One warning at the start, and the state shows it."""
    sampler = following_file(str(tmp_path / "none.json"), "service", initial_rate=0.25)
    assert sampler.state()["strategy"] == {"type": "probabilistic", "param": 0.25}
    assert "none.json" in sampler.state()["last_error"]
    assert len(caplog.records) == 1
    assert not polling_threads()


@pytest.mark.parametrize(
    "endpoint", ["", "ftp://host/", "http://", "http://host:99999/", "grpc://:1", "host:5778"]
)
def test_an_impossible_endpoint_is_refused(endpoint):
    """Only http, https, grpc and grpcs URLs with a host name a server."""
    with pytest.raises(ValueError):
        source_for(endpoint, "service")


def test_a_password_is_never_shown():
    """Neither the state nor the log names it."""
    sampler = following_server("http://user:secret@127.0.0.1:1/sampling", "service")
    assert "secret" not in str(sampler.state())
    with pytest.raises(ValueError, match=r"^(?!.*secret)"):
        source_for("ftp://user:secret@127.0.0.1:1/sampling", "service")
