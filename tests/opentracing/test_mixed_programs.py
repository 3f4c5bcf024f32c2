"""Random programs in both APIs: the span that was made current last is current for both."""

from __future__ import annotations

import random

import pytest
from opentelemetry import trace
from opentracing.scope_managers import ThreadLocalScopeManager
from opentracing.scope_managers.gevent import GeventScopeManager
from worlds import context_variables

import tracekit.opentracing
import tracekit.testing

MANAGERS = {
    "ours": lambda: None,
    "thread-local": ThreadLocalScopeManager,
    "contextvars": context_variables,
    "gevent": GeventScopeManager,
}
STEPS = ("start", "start_otel", "activate", "use", "leave", "leave", "baggage", "decide", "child")


class Program:
    """Makes spans current in either API, knows which one should be, and looks after each step."""

    def __init__(self, tracing, manager, seed):
        self.choose = random.Random(seed)
        self.tracer = tracekit.opentracing.tracer(tracing, manager)
        self.otel = tracing.tracer("otel")
        self.entered = []
        self.spans = []

    def run(self):
        for _ in range(self.choose.randrange(3, 25)):
            step = self.choose.choice(STEPS)
            if self.spans or step.startswith("start"):
                getattr(self, step)()
            self.look()
        while self.entered:
            self.leave()
            self.look()

    def current(self):
        return self.entered[-1][1] if self.entered else 0

    def look(self):
        active, current = self.tracer.active_span, trace.get_current_span().get_span_context()
        assert (0 if active is None else active.span_id) == self.current()
        assert current.span_id == self.current()

    def enter(self, manager, span):
        self.entered.append((manager.__exit__, span.span_id))
        self.spans.append(span)

    def start(self):
        above = self.current()
        scope = self.tracer.start_active_span("ot", finish_on_close=False)
        assert (scope.span.parent_id or 0) == above
        self.enter(scope, scope.span)

    def start_otel(self):
        manager = self.otel.start_as_current_span("otel", end_on_exit=False)
        self.enter(manager, self.tracer.span_of(manager.__enter__()))

    def activate(self):
        span = self.choose.choice(self.spans)
        self.enter(self.tracer.scope_manager.activate(span, False), span)

    def use(self):
        span = self.choose.choice(self.spans)
        manager = trace.use_span(span.otel)
        manager.__enter__()
        self.enter(manager, span)

    def leave(self):
        if self.entered:
            leave, _ = self.entered.pop()
            leave(None, None, None)

    def baggage(self):
        self.choose.choice(self.spans).set_baggage_item("k", "v")

    def decide(self):
        self.choose.choice(self.spans).set_tag("sampling.priority", self.choose.randrange(2))

    def child(self):
        assert (self.tracer.start_span("child").parent_id or 0) == self.current()


@pytest.mark.parametrize("sampled", [0, 1])
@pytest.mark.parametrize("manager", MANAGERS.values(), ids=MANAGERS)
def test_the_last_made_current_is_so_in_both(manager, sampled):
    """After each step, whatever scope manager is in charge, sampled or not."""
    tracing = tracekit.testing.tracing(sampler_type="const", sampler_param=sampled)
    for seed in range(300):
        Program(tracing, manager(), seed).run()
    tracing.shutdown()
