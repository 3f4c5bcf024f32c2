"""A reporter that writes down what it is told, and providers on it."""

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.started, self.ended, self.withdrawn = [], [], []
        self.calls = []

    def on_start(self, span, parent_context=None):
        self.started.append(span)

    def on_end(self, span):
        self.ended.append(span)

    def withdraw(self, span):
        self.withdrawn.append(span)

    def flush(self, timeout_s):
        self.calls.append(("flush", timeout_s))
        return True

    def shutdown(self, timeout_s):
        self.calls.append(("shutdown", timeout_s))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def provider_of(told):
    """Return a function that makes a provider with ``told`` as its reporter."""

    def make(sampler=None, **options):
        sampler = ParentRule(ALWAYS_ON) if sampler is None else sampler
        return TracerProvider(sampler, told, Resource({"service.name": "test"}), **options)

    return make


@pytest.fixture
def tracer(provider_of):
    return provider_of().get_tracer("test")
