"""What nobody sampled and a rule wants is promoted as a whole; the law of the buffer holds."""

import asyncio
import os
import random
import signal
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from accounting import laws
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

import tracekit
import tracekit.asgi
import tracekit.flask
import tracekit.grpc
import tracekit.grpc.aio
from tracekit import testing
from tracekit._context import Decision

OFF = {"sampler_type": "probabilistic", "sampler_param": 0.0}
REMOTE_NO = {"uber-trace-id": "abc:def:0:0"}
REMOTE_YES = {"uber-trace-id": "abc:def:0:1"}


@pytest.fixture
def keeping():
    """Return a function that makes a handle whose head sampler takes nothing."""
    made = []

    def make(keep="errors", **fields):
        tracing = testing.tracing(**{**OFF, **fields, "keep": keep})
        made.append(tracing)
        return tracing

    yield make
    for tracing in made:
        tracing.shutdown()


def total(stats):
    return stats.buffered + stats.promoted + sum(stats.discarded.values())


def arrived(tracing):
    tracing.flush()
    return tracing.sink.spans


def sent(tracing):
    return {span.name: span for span in arrived(tracing)}


def discarded(tracing):
    return {why: number for why, number in laws(tracing.stats()).discarded.items() if number}


def fail(span):
    span.set_status(Status(StatusCode.ERROR))


def test_a_failing_trace_arrives_whole(keeping):
    """Every span of it is sent, joined as it was; the local root says why and how rare it was."""
    tracing = keeping(sampler_param=0.001, sampler_type="ratelimiting")
    tracer = tracing.tracer("t")
    tracer.start_span("takes the token").end()
    with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("middle"):
        with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("leaf"):
            1 / 0  # noqa: B018 - raises
        assert not root.get_span_context().trace_flags.sampled
        assert not sent(tracing).get("leaf")
    spans = sent(tracing)
    assert {"root", "middle", "leaf"} <= set(spans)
    assert spans["leaf"].parent.span_id == spans["middle"].context.span_id
    assert spans["middle"].parent.span_id == spans["root"].context.span_id
    tags = spans["root"].attributes
    assert tags["sampler.type"] == "promoted"
    assert tags["sampler.rule"] == "errors"
    assert (tags["sampler.head"], tags["sampler.param"]) == ("ratelimiting", 0.001)
    stats = laws(tracing.stats())
    assert (stats.recorded, stats.promoted, stats.buffered) == (3, 3, 0)
    assert (stats.started, stats.finished, stats.unsampled) == (4, 4, 3)


def test_a_good_trace_leaves_only_a_count(keeping):
    """Nothing is queued, encoded or sent for a trace that no rule wants."""
    tracing = keeping()
    with tracing.tracer("t").start_as_current_span("root"):
        assert laws(tracing.stats()).buffered == 1
    assert not sent(tracing)
    stats = laws(tracing.stats())
    assert (stats.started, stats.unsampled, stats.payloads) == (0, 1, 0)
    assert discarded(tracing) == {"unwanted": 1}


def test_a_slow_root_is_kept(keeping):
    """``slow:`` compares the time between start and end of the local root."""
    tracing = keeping("slow:500ms")
    tracer = tracing.tracer("t")
    for name, took_ns in (("quick", 499_999_999), ("slow", 500_000_000)):
        tracer.start_span(name, start_time=10**18).end(10**18 + took_ns)
    assert set(sent(tracing)) == {"slow"}


@pytest.mark.parametrize(
    ("rule", "attributes", "kept"),
    [
        ("status:5xx", {"http.response.status_code": 503}, True),
        ("status:5xx", {"http.status_code": 500}, True),
        ("status:5xx", {"http.response.status_code": 404}, False),
        ("status:404", {"http.response.status_code": 404}, True),
        ("status:UNAVAILABLE", {"rpc.response.status_code": "UNAVAILABLE"}, True),
        ("status:14", {"rpc.grpc.status_code": 14}, True),
        ("status:5xx", {}, False),
    ],
)
def test_a_status_is_kept(keeping, rule, attributes, kept):
    """``status:`` reads how a served call ended, under the old names and today's."""
    tracing = keeping(rule)
    tracing.tracer("t").start_span("call", attributes=attributes).end()
    assert bool(sent(tracing)) == kept


def test_a_predicate_sees_the_local_trace(keeping):
    """It is given the root and all ended spans; the trace names it as its rule."""
    seen = []

    def big(root, spans):
        seen.append((root.name, sorted(span.name for span in spans), root.end_time))
        return len(spans) > 1

    tracing = keeping(["slow:1h".replace("1h", "60m"), big])
    with tracing.tracer("t").start_as_current_span("root"):
        tracing.tracer("t").start_span("child").end()
    assert sent(tracing)["root"].attributes["sampler.rule"] == "big"
    assert seen == [("root", ["child", "root"], seen[0][2])]
    assert tracing.settings.flat()["keep"] == ["slow:60m", "<big>"]


def test_a_raising_predicate_harms_nobody(keeping):
    """The program does not notice, the trace is not kept, the failure is counted."""

    def broken(root, spans):
        raise RuntimeError("no")

    tracing = keeping(broken)
    tracing.tracer("t").start_span("root").end()
    assert discarded(tracing) == {"unwanted": 1}
    assert tracing.provider.counts().failures == 1


def test_a_callers_no_may_be_overridden(keeping):
    """With ``override`` the part of this process is kept, marked as partial."""
    for keep, arrives in (("errors", False), ("errors,override", True)):
        tracing = keeping(keep)
        context = tracing.propagator.extract(REMOTE_NO)
        with tracing.tracer("t").start_as_current_span("served", context) as span:
            fail(span)
        assert bool(sent(tracing)) is arrives
    tags = sent(tracing)["served"].attributes
    assert tags["sampler.partial"] is True
    assert tags["sampler.head"] == "parent"
    assert sent(tracing)["served"].parent.span_id == 0xDEF


def test_b3_0_and_priority_0_always_hold(keeping):
    """A lone ``b3: 0`` and ``sampling.priority`` 0 forbid; nobody could look for the trace."""
    tracing = keeping("errors,override", propagation="b3")
    context = tracing.propagator.extract({"x-b3-sampled": "0"})
    for arguments in ({"context": context}, {"attributes": {"sampling.priority": 0}}):
        span = tracing.tracer("t").start_span("no", **arguments)
        fail(span)
        span.end()
    assert laws(tracing.stats()).recorded == 0


def test_head_sampled_spans_are_not_touched(keeping):
    """Sampled spans, of a caller too, take the road they took before."""
    tracing = keeping(sampler_param=1.0)
    tracer = tracing.tracer("t")
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("child"):
        pass
    tracer.start_span("joined", tracing.propagator.extract(REMOTE_YES)).end()
    assert set(sent(tracing)) == {"root", "child", "joined"}
    assert laws(tracing.stats()).recorded == 0
    assert sent(tracing)["root"].attributes["sampler.type"] == "probabilistic"


def test_headers_before_the_verdict(keeping):
    """They say "not sampled"; B3 can say that it is undecided, and does with ``defer``."""
    for keep, b3 in (("errors", "0"), ("errors,defer", None)):
        tracing = keeping(keep, propagation="b3,w3c")
        tracer, carrier = tracing.tracer("t"), {}
        with tracer.start_as_current_span("root"), tracer.start_as_current_span("child"):
            tracing.propagator.inject(carrier)
        assert carrier.get("x-b3-sampled") == b3
        assert not int(carrier["traceparent"][-2:], 16) & 1


def test_a_kept_deferred_trace_is_sampled(keeping):
    """The open decision is no flag of what is sent."""
    tracing = keeping("errors,defer")
    with tracing.tracer("t").start_as_current_span("root") as span:
        fail(span)
    assert sent(tracing)["root"].context.trace_flags.sampled
    assert sent(tracing)["root"].context.decision is Decision.ACCEPT


def test_late_children(keeping):
    """Below a kept root they are sampled from the verdict on; else they are counted as late."""
    tracing = keeping()
    tracer = tracing.tracer("t")
    for name in ("kept", "dropped"):
        root = tracer.start_span(name)
        inside = trace.set_span_in_context(root)
        child = tracer.start_span(f"late below {name}", inside)
        if name == "kept":
            fail(root)
        root.end()
        assert child.get_span_context().trace_flags.sampled is (name == "kept")
        assert laws(tracing.stats()).open == (name == "kept")
        grandchild = tracer.start_span(f"later below {name}", trace.set_span_in_context(child))
        fail(grandchild)
        grandchild.end()
        child.end()
    assert set(sent(tracing)) == {"kept", "late below kept", "later below kept"}
    assert discarded(tracing) == {"unwanted": 1, "late": 1}
    assert laws(tracing.stats()).open == 0


def test_the_buffer_drops_the_oldest_root(keeping):
    """Open spans count; the trace whose root began first goes, and later failures arrive."""
    tracing = keeping(keep_spans=3)
    tracer = tracing.tracer("t")
    roots = [tracer.start_span(f"root {number}") for number in range(4)]
    assert laws(tracing.stats()).buffered == 3
    for root in roots:
        fail(root)
        root.end()
    assert set(sent(tracing)) == {"root 1", "root 2", "root 3"}
    assert discarded(tracing) == {"buffer_full": 1}


def test_the_buffer_is_bounded_in_bytes(keeping):
    """Attributes and those of events are counted when a span ends."""
    tracing = keeping(keep_bytes=5000)
    tracer = tracing.tracer("t")
    first, second = tracer.start_span("first"), tracer.start_span("second")
    child = tracer.start_span("child", trace.set_span_in_context(second))
    child.add_event("big", {"text": "x" * 6000})
    child.end()
    fail(first)
    fail(second)
    first.end()
    second.end()
    assert discarded(tracing) == {"buffer_full": 3}
    tracer.start_span("after").end()
    assert tracing.provider.store().bytes == 0


def set_one_by_one(span):
    span.set_attribute("text", "x" * 300)
    span.set_attribute("number", 1)


def set_at_once(span):
    span.set_attributes({"text": "x" * 300, "number": 1})


def set_anew(span):
    set_one_by_one(span)
    span.set_attribute("text", "y" * 300)


def set_both_ways(span):
    span.set_attribute("number", 1)
    span.set_attributes({"text": "x" * 300})


@pytest.mark.parametrize("fill", [set_one_by_one, set_at_once, set_anew, set_both_ways])
def test_bytes_count_alike_however_they_came(keeping, fill):
    """So much of the room as at the start; a text that was set anew is counted once."""
    tracing = keeping()
    tracer = tracing.tracer("t")
    taken = []
    attributes = {"text": "x" * 300, "number": 1}
    with tracer.start_as_current_span("root"):
        for given in (attributes, None):
            before = tracing.provider.store().bytes
            span = tracer.start_span("child", attributes=given)
            if given is None:
                fill(span)
            span.end()
            taken.append(tracing.provider.store().bytes - before)
    assert taken[0] == taken[1] >= 300
    assert tracing.provider.store().bytes == 0


def test_an_outage_floods_no_back_end(keeping):
    """So many traces a second are promoted; the rest is counted."""
    tracing = keeping(keep_per_second=2)
    for _ in range(50):
        span = tracing.tracer("t").start_span("failed")
        fail(span)
        span.end()
    stats = laws(tracing.stats())
    assert 2 <= stats.promoted <= 10
    assert stats.discarded["rate_limited"] == 50 - stats.promoted


def test_shutdown_counts_what_is_undecided(keeping):
    """Then spans are unsampled ones, as after any shutdown."""
    tracing = keeping()
    span = tracing.tracer("t").start_span("open")
    tracing.shutdown()
    span.end()
    tracing.tracer("t").start_span("after").end()
    stats = laws(tracing.stats())
    assert (stats.recorded, stats.discarded["shutdown"]) == (1, 1)


def test_processors_see_recorded_spans(keeping):
    """The start as it comes, the end with the verdict: an exporter behind one gets what is kept."""
    told = []

    class Told(SpanProcessor):
        def on_start(self, span, parent_context=None):
            told.append(("start", span.name))

        def on_end(self, span):
            told.append(("end", span.name, span.context.trace_flags & 1))

    tracing = keeping()
    tracing.provider.add_span_processor(Told())
    with tracing.tracer("t").start_as_current_span("root") as span:
        tracing.tracer("t").start_span("child").end()
        fail(span)
        assert told == [("start", "root"), ("start", "child")]
    assert told[2:] == [("end", "child", 1), ("end", "root", 1)]
    del told[:]
    tracing.tracer("t").start_span("well").end()
    assert told == [("start", "well"), ("end", "well", 0)]


def test_a_decorator_and_a_second_end(keeping):
    """A decorated function's spans are kept as well; a second end is counted and nothing else."""
    tracing = keeping()
    tracer = tracing.tracer("t")

    @tracer.start_as_current_span("decorated")
    def failing():
        trace.get_current_span().end()
        raise ValueError("why")

    for _ in range(2):
        with pytest.raises(ValueError, match="why"):
            failing()
    assert laws(tracing.stats()).recorded == 2
    assert tracing.provider.counts().ended_twice == 2


def test_a_strategies_file_rules_operations(tmp_path):
    """An operation's ``keep`` goes before its service's, and that before the default's.

    ``none`` keeps nothing.
    """
    file = tmp_path / "strategies.json"
    file.write_text(
        """{"default_strategy": {"type": "probabilistic", "param": 0, "keep": "errors",
              "operation_strategies": [
                {"operation": "GET /health", "type": "probabilistic", "param": 0, "keep": "none"}]},
            "service_strategies": [{"service": "shop", "type": "probabilistic", "param": 0,
              "operation_strategies": [
                {"operation": "POST /pay", "type": "probabilistic", "param": 0,
                 "keep": ["errors", "slow:1ms"]}]}]}"""
    )
    tracing = testing.tracing(service_name="shop", sampler_type="file", sampler_file=str(file))
    tracer = tracing.tracer("t")
    for name in ("GET /health", "POST /pay", "GET /cart"):
        tracer.start_span(name).end()  # an operation's first trace is its lower bound's
        tracer.start_span(f"{name}", start_time=10**18).end(10**18 + 5_000_000)
        bad = tracer.start_span(name, start_time=10**18)
        fail(bad)
        bad.end(10**18 + 1)
    spans = [span for span in arrived(tracing) if "sampler.rule" in span.attributes]
    found = [(span.name, span.attributes["sampler.rule"]) for span in spans]
    assert found == [("POST /pay", "slow:1ms"), ("POST /pay", "errors"), ("GET /cart", "errors")]
    assert spans[0].attributes["sampler.head"] == "probabilistic"
    tracing.shutdown()


@pytest.mark.parametrize(
    "keep", ["override", "slow", "slow:5", "status:9xx", "error", "none,errors"]
)
def test_a_rule_that_says_nothing_is_told(keep):
    """It is a problem of the settings, with the forms that are known."""
    with pytest.raises(tracekit.ConfigError, match="KEEP"):
        tracekit.Settings.from_env({"TRACEKIT_KEEP": keep, "JAEGER_SERVICE_NAME": "x"}, strict=True)


def tree(tracer, shape, failing, pool, late):
    """Start the tree ``shape`` (lists of lists), some of it on other threads; fail by chance."""
    with tracer.start_as_current_span("node") as span:
        if failing.random() < 0.15:
            fail(span)
        for inner in shape:
            if failing.random() < 0.3:
                run = tracekit.wrap(tree)
                future = pool.submit(run, tracer, inner, failing, pool, late)
                late.append(future)
            else:
                tree(tracer, inner, failing, pool, late)


SHAPES = st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=12)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(SHAPES, min_size=1, max_size=12),
    st.integers(0, 2**32),
    st.sampled_from([2, 7, 10_000]),
    st.sampled_from([0, 1, 1_000_000]),
    st.sampled_from([0.0, 0.3]),
)
def test_the_law_holds_for_random_trees(shapes, seed, room, rate, head):
    """At any moment; at the end nothing is buffered, and all that was promoted was sent."""
    tracing = testing.tracing(
        sampler_type="probabilistic",
        sampler_param=head,
        keep="errors",
        keep_spans=room,
        keep_per_second=rate,
    )
    tracer = tracing.tracer("t")
    failing = random.Random(seed)
    stop = threading.Event()
    broken = []

    def watch():
        while not stop.is_set():
            seen = tracing.stats()
            broken.extend([seen] if seen.recorded != total(seen) else [])

    watcher = threading.Thread(target=watch)
    watcher.start()
    # (Threads that a span waits for and threads that outlive it: the pool is emptied at the end.)
    with ThreadPoolExecutor(8) as pool, ThreadPoolExecutor(3) as outer:
        late = []
        for each in [outer.submit(tree, tracer, shape, failing, pool, late) for shape in shapes]:
            each.result()
        while late:
            late.pop().result()
    stop.set()
    watcher.join()
    tracing.flush()
    stats = laws(tracing.stats())
    assert not broken
    assert (stats.buffered, stats.open) == (0, 0)
    assert stats.sent == stats.finished
    assert tracing.provider.store().bytes == 0
    assert not tracing.provider.store()._traces
    tracing.shutdown()


def in_a_child(work):
    """Fork, do ``work`` in the child, and return whether it went well. Never returns there."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(30)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()  # pytest shows it with the failure of its parent
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def forking_tree(tracer, tracing, shape, chance, forks):
    """Start the tree ``shape``; at some nodes a child goes on with it, and starts trees anew."""

    def in_child():
        assert laws(tracing.stats()).recorded == 0
        for again in (shape, [[]], [[], []]):
            forking_tree(tracer, tracing, again, chance, [])
        own = laws(tracing.stats())
        assert (own.recorded > 0, own.buffered) == (True, 0)
        foreign = own.foreign + span.is_recording()
        span.end()
        ours = laws(tracing.stats())
        assert (ours.recorded, ours.foreign) == (own.recorded, foreign)

    with tracer.start_as_current_span("node") as span:
        if chance.random() < 0.2:
            fail(span)
        for inner in shape:
            forking_tree(tracer, tracing, inner, chance, forks)
        if forks and chance.random() < 0.5:
            forks.pop()
            token = attach(Context())
            try:
                assert in_a_child(in_child)
            finally:
                detach(token)
            laws(tracing.stats())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@settings(max_examples=12, deadline=None)
@given(
    st.lists(SHAPES, min_size=1, max_size=6),
    st.integers(0, 2**32),
    st.sampled_from([2, 10_000]),
    st.sampled_from([0, 1_000_000]),
)
def test_both_laws_hold_in_threads_that_fork(shapes, seed, room, rate):
    """In the parent and in each child for itself, whatever other threads do at that moment."""
    tracing = tracekit.init(  # (a sink of a test has a lock of its own)
        "svc",
        environ={},
        set_global=False,
        transport=testing.MemoryTransport(),
        keep="errors",
        keep_spans=room,
        keep_per_second=rate,
        **OFF,
    )
    chance, forks = random.Random(seed), [None] * 3
    with ThreadPoolExecutor(3) as pool:
        for done in [
            pool.submit(forking_tree, tracing.tracer("t"), tracing, shape, chance, forks)
            for shape in shapes
        ]:
            done.result()
    stats = laws(tracing.stats())
    assert (stats.buffered, stats.open) == (0, 0)
    assert tracing.provider.store().bytes == 0
    tracing.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_starts_with_an_empty_buffer(keeping):
    """What the parent has buffered is the parent's; a child has a root of its own."""
    tracing = keeping()
    tracer = tracing.tracer("t")
    with tracer.start_as_current_span("parent's") as span:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                signal.alarm(20)
                first = laws(tracing.stats())
                with tracer.start_as_current_span("child's") as own:
                    fail(own)
                span.end()
                second = laws(tracing.stats())
                os.write(writing, repr((first.recorded, second.recorded, second.promoted)).encode())
                code = 0 if second.foreign == 1 else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert os.read(reading, 100) == b"(0, 1, 1)"
        os.close(reading)
        os.close(writing)
        fail(span)
    assert set(sent(tracing)) == {"parent's"}
    assert laws(tracing.stats()).promoted == 1


def test_both_laws_hold_when_forked_midway():
    """The lock of the buffer may be held at the moment of the fork; the child does not wait."""
    tracing = tracekit.init(  # (a sink of a test has a lock of its own)
        "svc",
        environ={},
        set_global=False,
        transport=testing.MemoryTransport(),
        keep="errors",
        keep_per_second=1000,
        **OFF,
    )
    tracer = tracing.tracer("t")
    stop = threading.Event()

    def work():
        while not stop.is_set():
            with tracer.start_as_current_span("a"), tracer.start_as_current_span("b") as span:
                fail(span)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            pid = os.fork()
            if not pid:
                code = 1
                try:
                    signal.alarm(20)
                    with tracer.start_as_current_span("in the child") as span:
                        fail(span)
                    stats = laws(tracing.stats())
                    code = 0 if (stats.recorded, stats.promoted) == (1, 1) else 2
                finally:
                    os._exit(code)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            laws(tracing.stats())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    laws(tracing.stats())
    tracing.shutdown()


def test_a_forced_span_takes_its_trace_along(keeping):
    """``sampling.priority`` in the middle of an undecided trace, as OpenTracing has it."""
    ot = pytest.importorskip("opentracing")
    from tracekit import opentracing as bridge  # noqa: PLC0415 - optional

    tracing = keeping()
    tracer = bridge.tracer(tracing)
    with tracer.start_active_span("root") as scope:
        tracer.start_span("child").finish()
        scope.span.set_tag(ot.tags.SAMPLING_PRIORITY, 1)
    assert set(sent(tracing)) == {"root", "child"}
    laws(tracing.stats())


def test_what_is_below_a_forced_span_is_sent(keeping):
    """A span in the middle that is forced leaves the buffer: it and what follows below it go out.

    The rest of its trace stays undecided.
    """
    tracing = keeping()
    tracer = tracing.tracer("t")
    with tracer.start_as_current_span("root"):
        with tracer.start_as_current_span("forced") as span:
            span._force(Decision.ACCEPT)
            with tracer.start_as_current_span("below"):
                assert laws(tracing.stats()).open == 2
        with tracer.start_as_current_span("beside"):
            pass
    assert set(sent(tracing)) == {"forced", "below"}
    assert discarded(tracing) == {"unwanted": 2}


def test_an_edge_joins_into_the_buffer(keeping):
    """``join`` of what a caller left open, and of no caller at all, records; of a no does not."""
    tracing = keeping("errors")
    tracer = tracing.tracer("t")
    for headers, recorded in (({}, 1), (REMOTE_NO, 0), (REMOTE_YES, 0)):
        before = tracing.stats().recorded
        arrival = tracing.propagator.read_environ(
            {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        )
        span, context = tracer.join(arrival, "GET", SpanKind.SERVER, lambda: {"a": "b"})
        assert trace.get_current_span(context) is span
        assert laws(tracing.stats()).recorded - before == recorded
        span.end()


def test_nothing_of_a_decided_trace_is_held(keeping):
    """A verdict lets go of its spans at once, whatever of them is still current somewhere."""
    tracing = keeping()
    with tracing.tracer("t").start_as_current_span("root") as span:
        tracing.tracer("t").start_span("child").end()
    assert span._local.spans == []
    assert span._local.root is None


def flask_call(tracing, path):
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    tracekit.flask.init_app(app, tracing)

    @app.get("/ok")
    def ok():
        tracing.tracer("inner").start_span("query").end()
        return "ok"

    @app.get("/bad")
    def bad():
        tracing.tracer("inner").start_span("query").end()
        return "bad", 503

    app.test_client().get(path)


@pytest.mark.parametrize(("path", "kept"), [("/ok", set()), ("/bad", {"GET /bad", "query"})])
@pytest.mark.parametrize("keep", ["errors", "status:5xx"])
def test_flask(keeping, path, kept, keep):
    """A request that is answered by a server error is kept with what was done below it."""
    tracing = keeping(keep)
    flask_call(tracing, path)
    assert set(sent(tracing)) == kept


def asgi_request(tracing, app):
    """Ask an application behind the edge once; what leaves it goes to its server."""

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        pass

    scope = {"type": "http", "method": "GET", "path": "/pay", "headers": [], "query_string": b""}
    asyncio.run(tracekit.asgi.middleware(app, tracing)(scope, receive, send))


@pytest.mark.parametrize(("status", "kept"), [(200, []), (503, ["GET", "mail", "query"])])
@pytest.mark.parametrize("keep", ["errors", "status:5xx"])
def test_asgi(keeping, status, kept, keep):
    """A failing request is kept, a good one is not; so is what a task does after the answer."""
    tracing = keeping(keep)
    tracer = tracing.tracer("inner")

    async def app(scope, receive, send):
        tracer.start_span("query").end()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        tracer.start_span("mail").end()

    asgi_request(tracing, app)
    assert sorted(sent(tracing)) == kept
    assert laws(tracing.stats()).buffered == 0


def test_asgi_application_that_raises(keeping):
    """Its request is kept, and the error goes on to the server."""
    tracing = keeping()

    async def app(scope, receive, send):
        tracing.tracer("inner").start_span("query").end()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asgi_request(tracing, app)
    assert set(sent(tracing)) == {"GET", "query"}


@pytest.mark.parametrize(("fails", "kept"), [(False, 0), (True, 2)])
@pytest.mark.parametrize("keep", ["errors", "status:INTERNAL"])
def test_grpc(keeping, fails, kept, keep):
    """A blocking server's rule sees the final code, after the handler has returned."""
    grpc = pytest.importorskip("grpc")
    tracing = keeping(keep)

    def handler(request, context):
        tracing.tracer("inner").start_span("query").end()
        if fails:
            context.abort(grpc.StatusCode.INTERNAL, "no")
        return b""

    handlers = grpc.method_handlers_generic_handler(
        "shop.Pay", {"Charge": grpc.unary_unary_rpc_method_handler(handler)}
    )
    interceptors = [tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(1), [handlers], interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/shop.Pay/Charge")
        try:
            call(b"", timeout=10)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INTERNAL  # noqa: PT017 - beside a return
    server.stop(5).wait()
    assert len(sent(tracing)) == kept
    assert laws(tracing.stats()).recorded == 2


@pytest.mark.parametrize(("fails", "kept"), [(False, 0), (True, 2)])
def test_grpc_aio(keeping, fails, kept):
    """So does an asyncio server's."""
    grpc = pytest.importorskip("grpc")
    from grpc import aio  # noqa: PLC0415 - optional

    tracing = keeping("errors")

    async def handler(request, context):
        tracing.tracer("inner").start_span("query").end()
        if fails:
            await context.abort(grpc.StatusCode.INTERNAL, "no")
        return b""

    async def run():
        handlers = grpc.method_handlers_generic_handler(
            "shop.Pay", {"Charge": grpc.unary_unary_rpc_method_handler(handler)}
        )
        server = aio.server(interceptors=[tracekit.grpc.aio.server_interceptor(tracing)])
        server.add_generic_rpc_handlers((handlers,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/shop.Pay/Charge")(b"", timeout=10)
            code = await call.code()
        await server.stop(5)
        return code

    assert (asyncio.run(run()) is grpc.StatusCode.OK) is not fails
    assert len(sent(tracing)) == kept
    assert laws(tracing.stats()).recorded == 2
