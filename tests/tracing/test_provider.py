"""What a provider shares among tracers, and the parts of other people that attach to it."""

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult

from tracekit.sampling import Const, ParentRule, Probabilistic, RateLimiting, RemoteSampler
from tracekit.tracing import default_limits


class Diary(SpanProcessor):
    """Writes down what it is told, or raises at it."""

    def __init__(self, error=None):
        self.entries = []
        self._error = error

    def _note(self, what):
        self.entries.append(what)
        if self._error is not None:
            raise self._error

    def on_start(self, span, parent_context=None):
        span.set_attribute("seen", True)
        self._note(f"start {span.name}")

    def _on_ending(self, span):
        self._note(f"ending {span.name}")

    def on_end(self, span):
        self._note(f"end {span.name}")

    def force_flush(self, timeout_millis=30000):
        self._note("flush")
        return False

    def shutdown(self):
        self._note("shutdown")


def test_processors_are_told_in_order(provider_of):
    """A processor sees start, ending and end, and its attributes stay."""
    provider = provider_of()
    first, second = Diary(), Diary()
    provider.add_span_processor(first)
    provider.add_span_processor(second)
    span = provider.get_tracer("x").start_span("a")
    span.end()
    assert first.entries == second.entries == ["start a", "ending a", "end a"]
    assert dict(span.attributes) == {"seen": True}


def test_a_raising_processor_disturbs_nobody(provider_of, told, caplog):
    """What a processor raises is logged and counted; the program and the others go on."""
    provider = provider_of()
    broken, healthy = Diary(RuntimeError("broken")), Diary()
    provider.add_span_processor(broken)
    provider.add_span_processor(healthy)
    with provider.get_tracer("x").start_as_current_span("a"):
        pass
    assert len(healthy.entries) == 3
    assert len(told.ended) == 1
    assert provider.counts().failures == 3
    assert caplog.text.count("broken") >= 3


def test_processor_by_shape_only_will_do(provider_of):
    """A processor that knows ``on_start`` and ``on_end`` and inherits nothing is told."""

    class Shape:
        def __init__(self):
            self.names = []

        def on_start(self, span, parent_context=None):
            self.names.append(span.name)

        def on_end(self, span):
            self.names.append(span.name)

    provider = provider_of()
    shape = Shape()
    provider.add_span_processor(shape)
    provider.get_tracer("x").start_span("a").end()
    assert shape.names == ["a", "a"]


def test_record_only_spans_go_to_processors(provider_of, told):
    """RECORD_ONLY reaches the processors and counts as unsampled for the reporter."""

    class RecordOnly(Sampler):
        def should_sample(self, *args, **kwargs):
            return SamplingResult(Decision.RECORD_ONLY)

        def get_description(self):
            return "RecordOnly"

    provider = provider_of(RecordOnly())
    diary = Diary()
    provider.add_span_processor(diary)
    provider.get_tracer("x").start_span("a").end()
    assert diary.entries[-1] == "end a"
    assert (told.started, told.ended, provider.counts().unsampled) == ([], [], 1)


def test_the_reporter_is_flushed_first(provider_of, told):
    """Both go to the reporter with its time in seconds, then to the processors."""
    provider = provider_of()
    diary = Diary()
    provider.add_span_processor(diary)
    assert not provider.force_flush(1500)
    provider.shutdown(3.0)
    assert told.calls == [("flush", 1.5), ("shutdown", 3.0)]
    assert diary.entries == ["flush", "shutdown"]


def test_equal_scopes_share_a_tracer(provider_of):
    """One scope has one tracer; version, schema and attributes tell scopes apart."""
    provider = provider_of()
    tracer = provider.get_tracer("x", "1", "s", {"a": [1, 2]})
    assert provider.get_tracer("x", "1", "s", {"a": [1, 2]}) is tracer
    assert provider.get_tracer("x", "1", "s", {"a": [2]}) is not tracer
    assert tracer.scope.attributes["a"] == (1, 2)


def test_tracer_without_a_name_works(provider_of, caplog):
    """A missing name costs an error in the log, as in the SDK."""
    assert provider_of().get_tracer("").start_span("x").is_recording()
    assert "missing module name" in caplog.text


def test_limits_ignore_the_environment(monkeypatch):
    """The defaults are OpenTelemetry's, whatever the environment says: settings read that."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    limits = default_limits()
    assert limits.max_span_attributes == limits.max_events == limits.max_links == 128
    assert limits.max_span_attribute_length is None


def test_foreign_ids_are_used(provider_of):
    """An id generator of the user's makes every id."""

    class Fixed:
        def generate_span_id(self):
            return 7

        def generate_trace_id(self):
            return 9

    tracer = provider_of(ALWAYS_ON, id_generator=Fixed()).get_tracer("x")
    with tracer.start_as_current_span("x") as root:
        child = tracer.start_span("y")
    ids = [(span.context.trace_id, span.context.span_id) for span in (root, child)]
    assert ids == [(9, 7), (9, 7)]
    assert int(root.context.trace_flags) == 1


def test_instrumentation_info_is_there(tracer):
    """Old exporters find name, version and schema where they look for them."""
    with pytest.warns(DeprecationWarning, match="instrumentation_scope"):
        info = tracer.start_span("x").instrumentation_info
    assert (info.name, info.version) == ("test", "")


@pytest.mark.parametrize(
    ("sampler", "asks"),
    [
        (ParentRule(Const(True)), False),
        (ParentRule(Probabilistic(0.5)), False),
        (ParentRule(RateLimiting(1.0)), False),
        (ParentRule(RemoteSampler(Const(True))), True),
        (ParentRule(ALWAYS_ON), True),
        (ALWAYS_ON, True),
    ],
)
def test_a_sampler_says_if_the_name_matters(provider_of, sampler, asks):
    """Servers find the route first where it can change the answer; of others' samplers it may."""
    provider = provider_of(sampler)
    assert provider.samples_by_operation is asks
    provider.sampler = ALWAYS_ON
    assert provider.samples_by_operation
