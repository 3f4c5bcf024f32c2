"""The compatibility suites that come with the opentracing package, whole."""

from __future__ import annotations

import asyncio

import gevent
import pytest
from opentelemetry import context as otel_context
from opentracing.harness.api_check import APICompatibilityCheckMixin
from opentracing.harness.scope_check import ScopeCompatibilityCheckMixin
from opentracing.scope_managers import ThreadLocalScopeManager
from opentracing.scope_managers.gevent import GeventScopeManager
from worlds import by_task, context_variables

import tracekit.testing
from tracekit.opentracing import ContextScopeManager, MirroredScopeManager, tracer


@pytest.fixture(autouse=True)
def _nothing_active():
    """Let no test find the scopes that some cases of the suites leave open."""
    otel_context.attach(otel_context.Context())
    yield
    otel_context.attach(otel_context.Context())


class TestAPI(APICompatibilityCheckMixin):
    """What any tracer must do."""

    scope_manager = staticmethod(lambda: None)

    @pytest.fixture(autouse=True)
    def _handle(self):
        self.tracing = tracekit.testing.tracing()
        yield
        self.tracing.shutdown()

    def tracer(self):
        return tracer(self.tracing, self.scope_manager())

    def is_parent(self, parent, span):
        return span.parent_id == (None if parent is None else parent.span_id)


class TestAPIOverThreads(TestAPI):
    """The same when a thread-local scope manager is in charge."""

    scope_manager = staticmethod(ThreadLocalScopeManager)


class TestAPIOverContextVariables(TestAPI):
    """The same when opentracing's own context variable is in charge."""

    scope_manager = staticmethod(context_variables)


class TestScopes(ScopeCompatibilityCheckMixin):
    """What any scope manager must do; ours, on OpenTelemetry's context."""

    def scope_manager(self):
        return ContextScopeManager()


class TestScopesInATask(TestScopes):
    """The same within an asyncio task."""

    def run_test(self, test_fn):
        async def task():
            test_fn()

        asyncio.run(task())


class TestScopesOverThreads(ScopeCompatibilityCheckMixin):
    """The same for a thread-local one, with OpenTelemetry kept in step."""

    def scope_manager(self):
        return MirroredScopeManager(ThreadLocalScopeManager())


class TestScopesOverAsyncio(TestScopesInATask):
    """The same for asyncio's."""

    # opentracing asks for the loop in a way that warns where there is none, since Python 3.12.
    pytestmark = pytest.mark.filterwarnings("ignore:There is no current event loop")

    def scope_manager(self):
        return MirroredScopeManager(by_task())


class TestScopesOverGreenlets(ScopeCompatibilityCheckMixin):
    """The same for gevent's, within a greenlet."""

    def scope_manager(self):
        return MirroredScopeManager(GeventScopeManager())

    def run_test(self, test_fn):
        gevent.spawn(test_fn).get(timeout=10)
