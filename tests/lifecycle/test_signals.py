"""Signals: what was finished is sent, and the program ends, or goes on, as it would have."""

from __future__ import annotations

import importlib.util
import mmap
import random
import signal
import socket
import struct
import subprocess
import textwrap
import time

import pytest
from accounting import lawful
from faults import IDLE, end_of, slow, started, wire
from ports import free_port

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


def test_sigterm_without_a_handler_sends_all(agent):
    """The exit status is still *killed by SIGTERM*, and every span was sent."""
    with started(agent.environ, then=IDLE) as child:
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
        agent.wait(100)


def test_sigterm_ends_a_newly_forked_child(agent):
    """As without a handler: a pool that is terminated at once would wait for ever otherwise."""
    then = """
        import os
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # the parent goes on first
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                while True: time.sleep(0.1)
            os.kill(pid, signal.SIGTERM)
            assert os.waitpid(pid, 0)[1] == signal.SIGTERM
        os._exit(5)
    """
    with started(agent.environ, before="import signal", then=then) as child:
        assert end_of(child).code == 5


def test_a_programs_own_handler_is_kept(agent):
    """Its SIGTERM handler alone runs; leaving through ``sys.exit`` sends the spans."""
    mine = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    with started(agent.environ, before=mine, then=IDLE) as child:
        child.terminate()
        assert child.wait(10) == 7
        agent.wait(100)


def test_drain_on_runs_before_other_handlers(agent):
    """``drain_on`` chains: the spans are out even if the handler ends the process at once."""
    with started(
        agent.environ,
        before="signal.signal(signal.SIGTERM, lambda *_: os._exit(9))",
        after="tracekit.drain_on(signal.SIGTERM); tracekit.drain_on(signal.SIGTERM)",
        then=IDLE,
    ) as child:
        child.terminate()
        assert child.wait(10) == 9
        agent.wait(100)


def test_an_ignored_signal_stays_ignored(agent):
    """SIG_IGN is a handler of the program's own: nothing is installed over it."""
    mine = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with started(agent.environ, before=mine, then=IDLE) as child:
        child.terminate()
        time.sleep(0.2)
        assert child.poll() is None
        child.kill()
        child.wait(10)


def test_a_harmless_signal_drains_every_time(agent):
    """SIGWINCH does nothing by default: after draining the handler is ready for the next."""
    with started(agent.environ, after="tracekit.drain_on(signal.SIGWINCH)", then=IDLE) as child:
        child.send_signal(signal.SIGWINCH)
        agent.wait(100)
        assert child.poll() is None
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM


def test_sigterm_sends_a_thousand_spans(agent):
    """Every one arrives."""
    with started(agent.environ, spans=1_000, then=IDLE) as child:
        assert end_of(child, signal.SIGTERM).code == -signal.SIGTERM
    assert len(agent.wait(1_000)) == 1_000


FLOW = """
    import mmap, struct
    page = mmap.mmap(os.open(os.environ["COUNTS"], os.O_RDWR), 4096)

    def work(mine):
        for number in range(1, 1_000_000):
            tracer.start_span("span").end()
            struct.pack_into("q", page, mine * 8, number)
            if number % 100 == 0:
                time.sleep(0.02)

    for mine in range(1, 4):
        threading.Thread(target=work, args=(mine,), daemon=True).start()
    work(0)
"""


def test_sigterm_in_full_flow(agent, tmp_path):
    """What four threads have finished until they die has arrived, span by span."""
    counts = tmp_path / "counts"
    counts.write_bytes(bytes(4096))
    environ = {
        **agent.environ,
        "JAEGER_REPORTER_FLUSH_INTERVAL": "200ms",
        "COUNTS": str(counts),
    }
    with started(environ, spans=0, then=FLOW) as child:
        time.sleep(0.5 + random.random() / 4)
        assert end_of(child, signal.SIGTERM).code == -signal.SIGTERM
    with counts.open("rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as page:
        finished = sum(struct.unpack_from("4q", page))
    assert finished > 1_000
    assert len(agent.wait(finished)) <= finished + 4  # sent, and killed before it was noted


def test_sigterm_twice_is_served_once(agent):
    """A supervisor that signals the process and its group does not cut the drain short."""
    with started(agent.environ, spans=5_000, then=IDLE) as child:
        child.terminate()
        assert end_of(child, signal.SIGTERM).code == -signal.SIGTERM
    assert len(agent.wait(5_000)) == 5_000


def test_sigterm_in_an_exit_loses_nothing(agent):
    """It comes while the program is leaving by itself: everything is sent all the same."""
    with started(agent.environ, spans=3_000, then="sys.exit(3)") as child:
        assert end_of(child, signal.SIGTERM).code in (3, -signal.SIGTERM)
    assert len(agent.wait(3_000)) == 3_000


UNSHARE = ("unshare", "--pid", "--fork", "--kill-child")


def test_pid_1_goes_on_after_sigterm(agent):
    """In a container the first process is not killed by a signal that nobody handles."""
    allowed = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("this system does not let us make a PID namespace")
    then = """
        assert os.getpid() == 1
        for number in range(2):
            os.kill(1, signal.SIGTERM)  # kill from inside: the kernel spares PID 1
            time.sleep(0.05)
            tracer.start_span(f"after {number}").end()
        os.kill(1, signal.SIGTERM)
        assert tracing.stats().sent == 102, tracing.stats()
        sys.exit(5)
    """
    with started(agent.environ, then=then, prefix=UNSHARE) as child:
        end = end_of(child)
    assert end.code == 5, end.stderr
    assert len(agent.wait(102)) == 102
    assert lawful(end.stats)


def test_init_in_a_thread_sets_no_handlers(agent):
    """Python sets handlers in the main thread only; nothing is raised, exit still drains."""
    before = """
        real = tracekit.init

        def elsewhere(name):
            made = []
            thread = threading.Thread(target=lambda: made.append(real(name)))
            thread.start()
            thread.join()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            return made[0]

        tracekit.init = elsewhere
    """
    with started(agent.environ, before=before, then="sys.exit(3)") as child:
        assert end_of(child).code == 3
    assert len(agent.wait(100)) == 100


def test_asyncio_handlers_go_on_working(agent):
    """``loop.add_signal_handler`` goes on working; ``drain_on`` comes before it."""
    then = """
        import asyncio

        async def main():
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            tracekit.drain_on(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            sent = tracing.stats().sent
            await asyncio.wait_for(ended.wait(), 10)
            return sent

        assert asyncio.run(main()) == 100
        sys.exit(6)
    """
    with started(agent.environ, then=then) as child:
        end = end_of(child)
    assert end.code == 6, end.stderr
    assert len(agent.wait(100)) == 100


def test_a_locked_log_handler_is_no_trap(agent):
    """The main thread holds the lock of a queue of log records: the signal gives way in time."""
    then = """
        import logging, logging.handlers, queue
        records = queue.Queue()
        logging.getLogger().addHandler(logging.handlers.QueueHandler(records))
        with records.mutex:
            print("held", flush=True)
            while True:
                time.sleep(0.1)
    """
    environ = {"TRACEKIT_EXIT_BUDGET": "0.3s", "JAEGER_REPORTER_LOG_SPANS": "true"}
    for port in (agent.port, free_port()):
        ours = {**agent.environ, **environ, "JAEGER_AGENT_PORT": str(port)}
        with started(ours, then=then) as child:
            assert child.stdout.readline() == "held\n"
            end = end_of(child, signal.SIGTERM)
        assert end.code == -signal.SIGTERM
        assert end.took_s < 15.0  # or never


INTERRUPTED = """
    import itertools, random
    tracing.flush(10.0)
    began, verdicts = itertools.count(), []

    def law(stats):
        lost = sum(stats.dropped.values())
        return (stats.started == stats.open + stats.finished
            and stats.finished == stats.sent + stats.queued + stats.in_flight + lost)

    def handler(signum, frame):
        do = next(began) % 4
        if do == 0:
            tracing.flush(random.choice((0.0, 0.001, 0.05)))
        elif do == 1:
            tracer.start_span("handler").end()
        elif do == 2:
            with tracer.start_as_current_span("handler"):
                tracing.flush(0.01)
        verdicts.append(law(tracing.stats()))

    signal.signal(signal.SIGALRM, handler)
    signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    done = threading.Event()

    def needle():
        while not done.is_set():
            time.sleep(random.random() / 500)
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=needle)
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.0013, 0.0011)
    while len(verdicts) < 1_000:
        for number in range(7):
            with tracer.start_as_current_span("outer"):
                tracer.start_span("inner").end()
        {what}
    signal.setitimer(signal.ITIMER_REAL, 0)
    done.set()
    thread.join()
    assert all(verdicts), verdicts.count(False)
    assert tracing.flush(20.0)
    stats = tracing.stats()
    assert law(stats) and stats.open == 0 and stats.sent == stats.finished, stats
"""
INTERRUPTED_AT = {
    "end": "",
    "flush": "tracing.flush(0.01)",
    "stats": "tracing.stats()",
    "a handle that comes and goes": """
        other = tracekit.testing.tracing()
        other.tracer("t").start_span("span").end()
        other.shutdown(1.0)
    """,
}


@pytest.mark.parametrize("at", INTERRUPTED_AT)
def test_a_thousand_interruptions_anywhere(at):
    """Handlers that trace, flush and read figures never deadlock and never break the law."""
    what = textwrap.indent(textwrap.dedent(INTERRUPTED_AT[at]), " " * 8).strip()
    then = INTERRUPTED.format(what=what)
    # What it sends by the ten thousand is taken and not read: nobody looks at it.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        environ = wire("udp", agent.getsockname()[1])
        with started(environ, before="import tracekit.testing", then=then) as child:
            end = end_of(child, timeout_s=50)
    assert end.code == 0, end.stderr
    assert lawful(end.stats)


GREEN = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": """
        import warnings; warnings.simplefilter("ignore")
        import eventlet; eventlet.monkey_patch()
    """,
}


def skip_without(library):
    # Not ``importorskip``: eventlet, once imported, warns of every fork in this process.
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize("library", GREEN)
@pytest.mark.parametrize("how", ["exit", "SIGTERM"])
def test_programs_of_green_threads(agent, library, how):
    """The worker is a green thread; in the loop, where nothing may wait, one serves the signal."""
    skip_without(library)
    listen = """
        import socket
        listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen()
        listening.accept()
    """
    then = "sys.exit(0)" if how == "exit" else listen
    with started(agent.environ, first=GREEN[library], spans=2_000, then=then) as child:
        time.sleep(0.3)  # until it sits in its loop
        end = end_of(child, signal.SIGTERM if how == "SIGTERM" else None)
    assert end.code == (-signal.SIGTERM if how == "SIGTERM" else 0), end.stderr
    assert len(agent.wait(2_000)) == 2_000
    assert "Error" not in end.stderr


@pytest.mark.parametrize("library", GREEN)
def test_a_green_worker_sends_and_rests(agent, library):
    """Spans go out at the interval while the program sleeps, for next to no CPU time."""
    skip_without(library)
    environ = {**agent.environ, "JAEGER_REPORTER_FLUSH_INTERVAL": "50ms"}
    then = """
        time.sleep(0.3)
        used = time.process_time()
        time.sleep(1.0)
        sys.exit(0 if tracing.stats().sent == 100 and time.process_time() - used < 0.3 else 1)
    """
    with started(environ, first=GREEN[library], then=then) as child:
        assert end_of(child).code == 0
    assert len(agent.wait(100)) == 100


STORM = """
    import itertools
    parent = os.getpid()
    if os.fork() == 0:
        for gap in itertools.chain([0.0, 0.005, 0.1], itertools.repeat(0.02, 20)):
            time.sleep(gap)
            try:
                os.kill(parent, signal.{name})
            except ProcessLookupError:
                break
        os._exit(0)
    while True: time.sleep(0.1)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("there", [True, False], ids=["collector", "nobody"])
def test_a_storm_of_signals_may_raise(agent, name, there):
    """Each makes the handler raise SystemExit, also in the exit that the first one began."""
    mine = f"signal.signal(signal.{name}, lambda *_: sys.exit(0))"
    environ = {**agent.environ, "TRACEKIT_EXIT_BUDGET": "1s"}
    if not there:
        environ["JAEGER_ENDPOINT"] = f"http://127.0.0.1:{free_port()}/x"
    before = f"""
        {mine}
        told = tell

        def tell():  # the last, and not to be disturbed
            signal.signal(signal.{name}, signal.SIG_IGN)
            told()
    """
    with started(
        environ,
        before=before,
        spans=2000,
        then=STORM.format(name=name),
    ) as child:
        end = end_of(child)
    assert end.took_s < 5
    assert lawful(end.stats), end.stderr
    assert end.stats["finished"] == 2000
    if there:
        assert end.stats["sent"] == 2000
        assert len(agent.wait(2000)) == 2000
    else:
        assert sum(end.stats["dropped"].values()) == 2000
        assert "spans dropped" in end.stderr


def test_an_interrupted_shutdown_is_told():
    """A time limit that ends an explicit ``shutdown``: what is left is counted and told."""
    then = """
        def limit(*_):
            raise TimeoutError
        signal.signal(signal.SIGALRM, limit)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            tracing.shutdown(20)
        except TimeoutError:
            sys.exit(4)
    """
    with started(wire("http", free_port()), spans=300, then=then) as child:
        end = end_of(child)
    assert end.code == 4, end.stderr
    assert end.took_s < 10
    assert lawful(end.stats)
    assert sum(end.stats["dropped"].values()) == 300
    assert "300 spans dropped" in end.stderr


@pytest.mark.parametrize("gap_s", [0.0, 0.2])
def test_an_interrupted_drain_is_told(gap_s):
    """Ctrl-C after a SIGTERM that nobody handles: it ends by one of them, and says what is lost."""
    with slow(20) as port, started(wire("http", port), spans=300, then=IDLE) as child:
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        time.sleep(gap_s)
        end = end_of(child, signal.SIGINT)
    assert end.code in (-signal.SIGTERM, -signal.SIGINT)  # the lower one first, of two at once
    assert "300 spans" in end.stderr


def test_sigterm_can_be_left_alone(agent):
    """By a setting, for a program whose main thread is long in C code: it dies at once, as bare."""
    then = """
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        import hashlib
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000_000)
    """
    environ = {**agent.environ, "TRACEKIT_DRAIN_ON_SIGTERM": "false"}
    with started(environ, before="import signal", then=then) as child:
        time.sleep(0.3)
        end = end_of(child, signal.SIGTERM)
    assert end.code == -signal.SIGTERM
    assert end.took_s < 3
