"""The one handle: init, shutdown, the globals that follow it, and what it does when disabled."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan

import tracekit
from tracekit._assembly import handle as _handle
from tracekit.testing import MemoryTransport, tracing

ENVIRON = {
    "JAEGER_SERVICE_NAME": "shop",
    "JAEGER_SAMPLER_TYPE": "const",
    "JAEGER_SAMPLER_PARAM": "1",
}


@pytest.fixture
def handle():
    running = tracekit.init(environ=ENVIRON, transport=MemoryTransport())
    yield running
    running.shutdown()


def run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PATH": "", **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_init_twice_returns_one_handle(handle):
    """A second init is free and silent when it asks for what runs already."""
    assert tracekit.init(environ=ENVIRON) is handle


def test_init_twice_otherwise_warns(handle, caplog):
    """Two parts of a program that disagree get one warning and one pipeline."""
    with caplog.at_level(logging.WARNING, "tracekit"):
        assert tracekit.init("other", environ=ENVIRON) is handle
    assert "called again with other settings" in caplog.text


def test_an_early_tracer_follows_the_handle():
    """OpenTelemetry's global tracers are re-pointed at init and at shutdown."""
    tracekit.init(environ=ENVIRON, transport=MemoryTransport()).shutdown()
    early = trace.get_tracer("library")
    assert isinstance(early.start_span("idle"), NonRecordingSpan)
    running = tracekit.init(environ=ENVIRON, transport=MemoryTransport())
    try:
        with early.start_as_current_span("busy") as span:
            assert span.get_span_context().trace_flags.sampled
            assert trace.get_current_span() is span
        assert running.stats().finished == 1
    finally:
        running.shutdown()
    assert isinstance(early.start_span("idle again"), NonRecordingSpan)


def test_the_fronts_tracer_follows_too():
    """A module takes its tracer at import, which may be before ``init`` or between two."""
    early = tracekit.get_tracer("shop.stock")
    assert tracekit.get_tracer("shop.stock") is early

    @early.start_as_current_span("count", attributes={"shelf": 7})
    def count() -> trace.Span:
        return trace.get_current_span()

    assert isinstance(early.start_span("idle"), NonRecordingSpan)
    assert not count().get_span_context().is_valid
    for _ in range(2):
        transport = MemoryTransport()
        running = tracekit.init(environ=ENVIRON, transport=transport)
        try:
            with early.start_as_current_span("busy") as span:
                assert trace.get_current_span() is span
            counted = count()
            assert counted.is_recording() is False  # it has ended
            assert counted.attributes["shelf"] == 7
            assert running.stats().finished == 2
        finally:
            running.shutdown()
        assert isinstance(early.start_span("idle again"), NonRecordingSpan)
        assert not count().get_span_context().is_valid


def test_a_decorator_stays_with_its_handle(handle):
    """Only tracers of the process' handle follow it; who asked one handle has that one."""
    apart = tracekit.init(environ=ENVIRON, set_global=False, transport=MemoryTransport())

    @apart.tracer("x").start_as_current_span("work")
    def work() -> None:
        """Do nothing."""

    work()
    assert (apart.stats().finished, handle.stats().finished) == (1, 0)
    apart.shutdown()


def test_the_fronts_tracer_costs_no_more(handle):
    """Following the handle is done when the handle changes and costs a span nothing."""
    front, own = tracekit.get_tracer("road"), handle.tracer("road")
    assert front.start_span.__func__ is type(own).start_span
    assert front.start_as_current_span.__func__ is type(own).start_as_current_span


def test_a_local_handle_is_independent(handle):
    """``set_global=False`` makes an independent pipeline."""
    other = tracekit.init(environ=ENVIRON, set_global=False, transport=MemoryTransport())
    assert other is not handle
    assert _handle.current() is handle
    other.shutdown()
    assert _handle.current() is handle


def test_shutdown_is_idempotent(handle):
    """Calling shutdown twice, or flush after it, is as harmless as calling them once."""
    handle.tracer("t").start_span("s").end()
    handle.shutdown()
    handle.shutdown()
    assert handle.flush()
    assert handle.stats().sent == 1


def test_settings_exclude_single_fields():
    """Two sources for one value are an error of the caller, said at once."""
    settings = tracekit.Settings.resolve(environ=ENVIRON)
    with pytest.raises(TypeError, match="cannot be given together"):
        tracekit.init("shop", settings=settings)


def test_strict_lists_every_bad_variable():
    """``strict=True`` raises one error that names all of them."""
    environ = {**ENVIRON, "JAEGER_SAMPLER_PARAM": "often", "JAEGER_AGENT_PORT": "seven"}
    with pytest.raises(tracekit.ConfigError) as caught:
        tracekit.init(environ=environ, strict=True, set_global=False)
    assert {problem.name for problem in caught.value.problems} == {
        "JAEGER_SAMPLER_PARAM",
        "JAEGER_AGENT_PORT",
    }


def test_init_starts_no_thread():
    """Threads come with the first sampled span."""
    before = set(threading.enumerate())
    other = tracekit.init(environ=ENVIRON, set_global=False, transport=MemoryTransport())
    assert set(threading.enumerate()) <= before  # one of another test may just be ending
    other.shutdown()


def test_a_disabled_handle_makes_no_spans():
    """JAEGER_DISABLED costs nothing: no-op spans, nothing counted, truthy flush."""
    off = tracekit.init(environ={"JAEGER_DISABLED": "true"}, set_global=False)
    with off.tracer("t").start_as_current_span("s") as span:
        assert not span.is_recording()
    assert off.flush()
    assert off.stats().started == 0
    off.shutdown()


@pytest.mark.parametrize(
    ("environ", "level"), [({}, "WARNING"), ({"JAEGER_SAMPLER_TYPE": "remote"}, "INFO")]
)
def test_the_start_up_line_helps_newcomers(caplog, environ, level):
    """Whoever chose no sampler reads how to change it, even where INFO is not shown."""
    with caplog.at_level(logging.INFO, "tracekit"):
        tracekit.init("shop", environ=environ, set_global=False).shutdown()
    (line,) = caplog.records
    assert line.levelname == level
    assert "JAEGER_SAMPLER_TYPE=const" in line.getMessage()


def test_what_is_noted_is_logged_once(caplog):
    """A misspelt variable is named with the one that is read."""
    environ = {**ENVIRON, "JAEGER_AGENT_HOSTT": "agent"}
    tracekit.init(environ=environ, set_global=False).shutdown()
    (line,) = caplog.messages
    assert "JAEGER_AGENT_HOSTT" in line
    assert "JAEGER_AGENT_HOST?" in line


def test_resolve_takes_three_kinds(handle):
    """Edges accept the handle, a tracer of ours that holds one, or nothing."""

    class Bridge:
        tracing = handle

    assert _handle.resolve(None) is handle
    assert _handle.resolve(handle) is handle
    assert _handle.resolve(Bridge()) is handle
    with pytest.raises(TypeError, match="tracing= takes"):
        _handle.resolve("shop")


def test_a_foreign_global_provider_is_kept():
    """A program that configured OpenTelemetry keeps its provider and its headers."""
    result = run(
        """
        import logging
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry import propagate
        theirs = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(theirs)
        formats = propagate.get_global_textmap()
        import tracekit
        logging.basicConfig()
        for _ in range(2):
            tracekit.init("shop", environ={}).shutdown()
        assert trace.get_tracer_provider() is theirs
        assert propagate.get_global_textmap() is formats
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("is kept") == 1


def test_a_seed_gives_what_it_gave():
    """Nothing of ours draws from the shared generator: what a seed gave before, it gives traced."""
    result = run(
        """
        import random, socket
        import tracekit
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            port = gone.getsockname()[1]
        state = random.getstate()
        tracing = tracekit.init(
            "shop", environ={}, agent_host="127.0.0.1", agent_port=port, sampler_type="const",
            sampler_param=1,
        )
        while not tracing.stats().retries:
            with tracing.tracer("t").start_as_current_span("refused"):
                pass
            tracing.flush(0.1)
        tracing.shutdown(0.1)
        assert random.getstate() == state
        """
    )
    assert result.returncode == 0, result.stderr


def test_exit_sends_what_ended():
    """The interpreter's exit drains the queue: a short script loses nothing."""
    with tracekit.testing.FakeAgent() as agent:
        result = run(
            """
            import tracekit
            tracekit.init("script")
            with tracekit.get_tracer("t").start_as_current_span("only"):
                pass
            """,
            **agent.environ,
        )
        assert result.returncode == 0, result.stderr
        (span,) = agent.wait(1)
        assert (span.service, span.operation) == ("script", "only")


def test_a_test_handle_gives_each_span_once():
    """``testing.tracing`` is strict: what was not taken is said."""
    t = tracing()
    with t.tracer("t").start_as_current_span("a"):
        pass
    with pytest.raises(AssertionError, match="'a'"):
        t.sink.assert_empty()
    assert t.sink.take().name == "a"
    t.sink.assert_empty()
    t.shutdown()


def test_strict_wants_a_name_for_the_service():
    """As every Jaeger client: without one it does not start. Disabled beats that, too."""
    with pytest.raises(tracekit.ConfigError) as caught:
        tracekit.init(environ={}, strict=True, set_global=False)
    assert [problem.name for problem in caught.value.problems] == ["JAEGER_SERVICE_NAME"]
    with pytest.raises(tracekit.ConfigError):
        tracekit.init(settings=tracekit.Settings.resolve(environ={}), strict=True, set_global=False)
    tracekit.init(environ={"JAEGER_DISABLED": "1"}, strict=True, set_global=False).shutdown()


def test_a_handle_says_what_it_is():
    """Where spans go and how they are sampled, without secrets."""
    handle = tracekit.init("shop", environ={}, set_global=False, auth_token="hunter2")
    assert "shop" in repr(handle)
    assert "localhost:6831" in repr(handle)
    assert "hunter2" not in repr(handle)
    handle.shutdown()


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("", "tracekit: tracing shop"),
        ("import logging; logging.basicConfig(format='mine %(name)s %(message)s')",
         "mine tracekit tracing shop"),
        ("from logging import *; getLogger('tracekit').addHandler(StreamHandler())",
         "tracing shop"),
        ("import logging; logging.lastResort = None", ""),
    ],
    ids=["nothing", "basicConfig", "a handler of ours", "no last resort"],
)  # fmt: skip
def test_messages_name_us_without_logging(setup, said):
    """Python's last resort prints bare messages; a program's own handlers get them as they are."""
    done = subprocess.run(
        [sys.executable, "-c", f"{setup}\nimport tracekit\ntracekit.init('shop', environ={{}})"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.startswith(said)
    assert done.stderr.count("tracing shop") == (1 if said else 0)


def test_a_message_waits_for_no_lock():
    """A program that was interrupted in ``logging`` may hold its lock for good; it still ends."""
    program = """
import logging, threading, tracekit
tracekit.init('shop', environ={})
said = threading.Event()
log = logging.getLogger('tracekit')
log.isEnabledFor(logging.WARNING)  # asked once, with that lock
speaker = threading.Thread(target=lambda: (log.warning('said'), said.set()), daemon=True)
with logging._lock:
    speaker.start()
    assert said.wait(30)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tracekit: said" in done.stderr
