"""What we lean on in other people's code that they do not promise: told before a user notices.

``docs/explanation/compatibility.md`` says what each is used for.
"""

from __future__ import annotations

import inspect
import itertools

import requests
import urllib3
from grpc import _server
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.sdk.util import BoundedList


def test_a_count_shows_its_number():
    """``repr`` of ``itertools.count`` reads it without moving it."""
    count = itertools.count()
    for number in (0, 1, 2):
        assert repr(count) == f"count({number})"
        next(count)


def test_opentelemetrys_runtime_context():
    """Its variable can be read, set and reset without its functions."""
    runtime = otel_context._RUNTIME_CONTEXT
    assert type(runtime) is ContextVarsRuntimeContext
    assert {"get", "set", "reset"} <= set(dir(runtime._current_context))


def test_an_idle_span_holds_its_context():
    """Under the name by which we read and write it."""
    held = trace.INVALID_SPAN_CONTEXT
    assert trace.NonRecordingSpan(held)._context is held
    assert set(vars(trace.NonRecordingSpan(held))) == {"_context"}


def test_the_sdks_bounded_list():
    """Its deque is there; nothing else of it is used."""
    assert list(BoundedList.from_seq(3, [1, 2])._dq) == [1, 2]


def test_the_fields_of_the_sdks_span():
    """One that is new has to be in ours, too."""
    known = {
        *("name", "context", "parent", "sampler", "trace_config", "resource", "attributes"),
        *("events", "links", "kind", "status", "start_time", "end_time", "span_processor"),
        *("instrumentation_info", "instrumentation_scope", "record_exception"),
        *("set_status_on_exception", "limits", "self"),
    }
    named = set(inspect.signature(Span.__init__).parameters)
    named |= set(inspect.signature(ReadableSpan.__init__).parameters)
    # Taken by the SDK's tracer for its own metrics and configuration; no part of a span.
    assert {name for name in named - known if not name.startswith(("_", "record_end"))} == set()


def test_grpcs_state_of_an_rpc():
    """How it says that the client's side is over, and what is sent at the end."""
    state = _server._RPCState()
    assert _server._CANCELLED == "cancelled"
    assert state.client != "cancelled"
    assert state.trailing_metadata is None


def test_requests_asks_for_an_adapter():
    """Once for each request that is sent."""
    assert inspect.getsource(requests.Session.send).count("self.get_adapter(") == 1


def test_urllib3_gives_a_connection_back():
    """That tells the end of a body that nobody reads to its end."""
    assert callable(urllib3.HTTPResponse.release_conn)
