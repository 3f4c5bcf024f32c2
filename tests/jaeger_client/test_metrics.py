"""A program's metrics factory hears of the pipeline's figures, as increments."""

from __future__ import annotations

import contextlib
import logging
import os
import threading

import pytest
from prometheus_client import REGISTRY
from waiting import eventually

from tracekit.jaeger_client import Config, utils
from tracekit.jaeger_client._figures import Figures
from tracekit.jaeger_client.metrics import LegacyMetricsFactory, Metrics, MetricsFactory
from tracekit.jaeger_client.metrics.prometheus import PrometheusMetricsFactory
from tracekit.testing import tracing


class Factory(MetricsFactory):
    """Adds up what it hears."""

    def __init__(self):
        self.heard = {}

    def create_counter(self, name, tags=None):
        return lambda value: self.heard.__setitem__(
            self.key(name, tags), self.of(name, tags) + value
        )

    def create_gauge(self, name, tags=None):
        key = self.key(name, tags)
        return lambda value: self.heard.__setitem__(key, value)

    def key(self, name, tags):
        return name, *sorted((tags or {}).items())

    def of(self, name, tags=None):
        return self.heard.get(self.key(name, tags), 0)


def test_a_factory_hears_of_every_span(agent, to_agent):
    """Those of edges too, by the names that jaeger_client had; all of it when the tracer ends."""
    factory = Factory()
    config = Config(to_agent, service_name="shop", metrics_factory=factory)
    tracer = config.new_tracer()
    with tracer.start_active_span("root"):
        tracer.start_span("child").finish()
        tracer.tracing.tracer("edge").start_span("edge").end()
    tracer.start_span("dropped", tags={"sampling.priority": 0}).finish()
    agent.wait(3)
    tracer.close().result(5)
    assert factory.of("jaeger:started_spans", {"sampled": "y"}) == 3
    assert factory.of("jaeger:started_spans", {"sampled": "n"}) == 1
    assert factory.of("jaeger:finished_spans") == 3
    assert factory.of("jaeger:traces", {"state": "started", "sampled": "y"}) == 1
    assert factory.of("jaeger:reporter_spans", {"result": "ok"}) == 3
    assert factory.of("jaeger:reporter_queue_length") == 0


def test_every_series_starts_at_zero():
    """At 0, before there is any span: what is missing cannot be told from what is fine."""
    made = set()

    class Named(Factory):
        def create_counter(self, name, tags=None):
            made.add(self.key(name, tags))
            return super().create_counter(name, tags)

    handle = tracing()
    figures = Figures(Named(), handle, interval_s=60)
    assert made == {
        ("jaeger:finished_spans",),
        ("jaeger:span_context_decoding_errors",),
        *(("jaeger:started_spans", ("sampled", it)) for it in "yn"),
        *(
            ("jaeger:traces", ("sampled", it), ("state", state))
            for it in "yn"
            for state in ("started", "joined")
        ),
        *(("jaeger:reporter_spans", ("result", it)) for it in ("ok", "err", "dropped")),
        *(
            (f"jaeger:sampler_{what}", ("result", it))
            for what in ("queries", "updates")
            for it in ("ok", "err")
        ),
    }
    figures.stop()
    handle.shutdown()


def test_it_hears_within_its_interval():
    """Edges alone, and nothing after them; what was told is not told again."""
    heard = threading.Event()

    class Waiting(Factory):
        def create_counter(self, name, tags=None):
            take = super().create_counter(name, tags)

            def telling(value):
                take(value)
                if self.of("jaeger:finished_spans") == 2:
                    heard.set()

            return telling

    factory, handle = Waiting(), tracing()
    figures = Figures(factory, handle, interval_s=0.01)
    for _ in range(2):
        handle.tracer("edge").start_span("op").end()
    assert heard.wait(30)
    figures.stop()
    assert factory.of("jaeger:finished_spans") == 2
    handle.shutdown()


def test_a_factory_that_raises_is_one_line(caplog):
    """However often it is told something."""

    class Broken(Factory):
        def create_counter(self, name, tags=None):
            raise RuntimeError("broken")

    handle = tracing()
    broken = Figures(Broken(), handle, interval_s=60)
    broken.tell()
    broken.stop()
    assert caplog.text.count("A metrics factory raised") == 1
    handle.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_its_own_figures():
    """From 0, by a thread of its own: a worker's factory goes on where the master's stood."""
    factory, handle = Factory(), tracing()
    figures = Figures(factory, handle, interval_s=0.01)
    handle.tracer("x").start_span("master").end()
    figures.tell()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        handle.tracer("x").start_span("worker").end()
        with contextlib.suppress(AssertionError):  # what the parent reads says it
            eventually(lambda: factory.of("jaeger:finished_spans") >= 2)
        os.write(writing, b"%d" % factory.of("jaeger:finished_spans"))
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"2"
    os.waitpid(child, 0)
    os.close(reading)
    figures.stop()
    handle.shutdown()


def test_a_factory_may_be_old_or_not_wanted(to_agent):
    """``metrics=`` takes plain functions; with ``metrics: False`` nobody hears anything."""
    heard = {}
    metrics = Metrics(count=lambda key, value: heard.update({key: value}), gauge="no function")
    tracer = Config(to_agent, metrics=metrics, service_name="shop").new_tracer()
    tracer.start_span("op").finish()
    tracer.close().result(5)
    assert heard["jaeger:started_spans.sampled_y"] == 1
    factory = Factory()
    config = {**to_agent, "metrics": False}
    tracer = Config(config, service_name="shop", metrics_factory=factory).new_tracer()
    tracer.start_span("op").finish()
    tracer.close().result(5)
    assert factory.heard == {}


def test_functions_of_every_kind_are_made():
    """Labels are part of the key, in their order; durations are in milliseconds for old ones."""
    heard = []
    take = lambda *told: heard.append(told)  # noqa: E731 (of three kinds at once)
    factory = LegacyMetricsFactory(Metrics(take, take, take))
    factory.create_counter("a", {"z": "1", "b": "2"})(3)
    factory.create_gauge("a")(4)
    factory.create_timer("a")(5)
    assert heard == [("a.b_2.z_1", 3), ("a", 4), ("a", 0.005)]
    for make in (MetricsFactory(), LegacyMetricsFactory(Metrics())):
        for kind in (make.create_counter, make.create_gauge, make.create_timer):
            assert kind("a", {"b": "c"})(1) is None


def test_prometheus_has_its_former_series():
    """One per name and labels, with the service as a label if wanted."""
    factory = PrometheusMetricsFactory(namespace="old", service_name_label="shop")
    for _ in range(2):
        factory.create_counter("jaeger:t", {"result": "ok"})(1)
    PrometheusMetricsFactory(namespace="bare").create_gauge("jaeger:length")(7)
    sample = REGISTRY.get_sample_value
    assert sample("old_jaeger:t_total", {"result": "ok", "service": "shop"}) == 2
    assert sample("bare_jaeger:length") == 7


def test_the_error_reporter_keeps_quiet(caplog):
    """Of a configuration that logs; else for ever."""
    reporter = utils.ErrorReporter(None, logging.getLogger("test"), log_interval_minutes=0)
    reporter.error("%s failed", "it")
    assert caplog.messages == ["it failed"]
    Config({"logging": True}, service_name="x").error_reporter.error("too early")
    Config({}, service_name="x").error_reporter.error("not wanted")
    assert caplog.messages == ["it failed"]


@pytest.mark.parametrize(
    ("value", "meaning"),
    [("true", True), ("1", True), (1, True), ("False", False), (None, False), ("odd", "default")],
)
def test_texts_mean_what_they_meant(value, meaning):
    """In dictionaries that were YAML once."""
    assert utils.get_boolean(value, "default") == meaning
    assert utils.local_ip().count(".") == 3
