"""Flask's bodies: one of bytes runs no code, any other runs the application's under its span."""

from __future__ import annotations

import gc
import weakref

import flask
import pytest
from collector import no_collector
from opentelemetry import trace
from werkzeug.test import create_environ

import tracekit.flask
import tracekit.testing
from tracekit.testing import MemoryTransport


class Loud(str):
    """Text that has ideas of its own of how it is encoded."""

    __slots__ = ()

    def encode(self, *args):
        note()
        return super().encode(*args)


class Counting(flask.Response):
    def iter_encoded(self):
        for piece in super().iter_encoded():
            note()
            yield piece


class Closing(flask.Response):
    def close(self):
        note()
        super().close()


def note():
    seen.append(trace.get_current_span().get_span_context().trace_id)


seen: list[int] = []


def plain():
    return flask.Response("text")


def with_callback():
    response = flask.Response("text")
    response.call_on_close(note)
    return response


def with_late_callback():
    @flask.after_this_request
    def later(response):
        response.call_on_close(note)
        return response

    return "text"


def with_own_close():
    response = flask.Response("text")
    response.close = note
    return response


def streamed():
    def pieces():
        note()
        yield "te"
        note()
        yield "xt"

    return pieces()


ACTIVE = {
    "callback": with_callback,
    "late": with_late_callback,
    "own close": with_own_close,
    "closing": lambda: Closing("text"),
    "counting": lambda: Counting("text"),
    "loud": lambda: flask.Response([Loud("text")]),
    "streamed": streamed,
}


@pytest.fixture(params=[True, False], ids=["sampled", "unsampled"])
def tracing(request):
    handle = tracekit.init(
        "bodies",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=float(request.param),
    )
    handle.sampled = request.param
    yield handle
    handle.shutdown()


def make_app(view, tracing=None):
    app = flask.Flask("bodies")

    def around():
        seen[:] = [trace.get_current_span().get_span_context().trace_id]
        return view()

    app.add_url_rule("/", view_func=around, endpoint="view")
    if tracing is not None:
        tracekit.flask.init_app(app, tracing)
    return app


def serve(app, *, pieces=9, close=True, **more):
    """Return what a server gets that takes so many pieces."""
    got = []
    result = app({**create_environ("/"), **more}, lambda *answer: got.append(answer[:2]))
    for _, piece in zip(range(pieces), result, strict=False):
        got.append(piece)
    if close:
        result.close()
    return got


@pytest.mark.parametrize("view", ACTIVE.values(), ids=ACTIVE)
def test_own_code_runs_under_the_span(tracing, view):
    """Pieces, encoders, callbacks: all of it finds the span that the view has."""
    bare = serve(make_app(view))
    times = len(seen)
    assert serve(make_app(view, tracing)) == bare
    assert len(seen) == times > 1
    assert len(set(seen)) == 1
    assert seen[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("pieces", [0, 1, 9])
@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("length", [True, False])
def test_a_plain_body_ends_its_span_once(tracing, method, pieces, close, length):
    """However a server takes it, also one that never does, or does not close it."""

    def view():
        response = plain()
        response.automatically_set_content_length = length
        if not length:
            del response.headers["Content-Length"]
        return response

    take = {"pieces": pieces, "close": close, "REQUEST_METHOD": method}
    assert serve(make_app(view, tracing), **take) == serve(make_app(view), **take)
    gc.collect()
    tracing.flush()
    stats = tracing.stats()
    assert (stats.started, stats.open) == (tracing.sampled, 0)


def test_a_plain_body_left_is_aborted():
    """A client that left before the first piece is told from one that has it."""
    tracing = tracekit.testing.tracing()
    serve(make_app(plain, tracing), pieces=0)
    assert tracing.sink.take().attributes["response.aborted"] is True
    serve(make_app(plain, tracing), pieces=1)
    assert "response.aborted" not in tracing.sink.take().attributes
    tracing.shutdown()


@pytest.mark.parametrize("pieces", [0, 1, 9])
@pytest.mark.parametrize("close", [True, False])
def test_a_plain_body_is_freed_at_once(tracing, pieces, close):
    """Also one that its client left: its response and bytes wait for no garbage collector."""
    made = []

    def view():
        response = plain()
        made.append(weakref.ref(response))
        return response

    app = make_app(view, tracing)
    with no_collector():
        serve(app, pieces=pieces, close=close)
        assert [each() for each in made] == [None]


def test_unsampled_plain_is_werkzeugs_own(tracing):
    """There is nothing to be noticed of it."""
    bare = make_app(plain)(create_environ("/"), lambda *_: None)
    traced = make_app(plain, tracing)(create_environ("/"), lambda *_: None)
    assert (type(traced) is type(bare)) is not tracing.sampled
    traced.close()
