"""The scenarios of opentracing-python's testbed, in every world and with every scope manager."""

from __future__ import annotations

import sys
from pathlib import Path

import opentracing
import pytest
from opentracing.ext import tags

import tracekit.opentracing

sys.path.insert(0, str(Path(__file__).parent))

import itertools

from worlds import WORLDS, Asyncio, context_variables


class Case:
    """A world, a tracer in it, and what came out."""

    def __init__(self, tracing, world, manager, inherits):
        self.tracing = tracing
        self.world = world()
        self.inherits = inherits
        self.tracer = tracekit.opentracing.tracer(tracing, manager())
        self.spawn = self.world.spawn

    def run(self, function):
        return self.world.run(function)

    def finished(self, count):
        spans = self.tracing.sink.take_many(count)
        self.tracing.sink.assert_empty()
        return spans


@pytest.fixture(params=WORLDS)
def case(request, tracing):
    return Case(tracing, *WORLDS[request.param])


def is_child(span, parent):
    if span.parent is None:
        return False
    same_trace = span.context.trace_id == parent.context.trace_id
    return same_trace and span.parent.span_id == parent.context.span_id


def named(spans):
    return {span.name: span for span in spans}


def test_a_replaced_active_span_comes_back(case):
    """A task activates another trace's span, finishes it, and its own span is the parent again."""
    tracer = case.tracer
    initial = tracer.start_span("initial")

    def task():
        with tracer.start_active_span("task"):
            with tracer.scope_manager.activate(initial, True):
                pass
            with tracer.start_active_span("subtask"):
                pass

    def main():
        yield [case.spawn(task)]

    case.run(main)
    initial, subtask, outer = case.finished(3)
    assert [span.name for span in (initial, subtask, outer)] == ["initial", "subtask", "task"]
    assert is_child(subtask, outer)
    assert initial.parent is None
    assert initial.context.trace_id != outer.context.trace_id


@pytest.mark.parametrize("form", [opentracing.Format.TEXT_MAP, opentracing.Format.BINARY])
def test_a_server_continues_its_client(case, form):
    """Client and server run in tasks of their own; only the carrier connects them."""
    tracer = case.tracer

    def serve(message):
        context = tracer.extract(form, message)
        with tracer.start_active_span("receive", child_of=context) as scope:
            scope.span.set_tag(tags.SPAN_KIND, tags.SPAN_KIND_RPC_SERVER)

    def main():
        message = bytearray() if form == opentracing.Format.BINARY else {}
        with tracer.start_active_span("send") as scope:
            scope.span.set_tag(tags.SPAN_KIND, tags.SPAN_KIND_RPC_CLIENT)
            tracer.inject(scope.span.context, form, message)
        yield [case.spawn(serve, message)]

    case.run(main)
    send, receive = case.finished(2)
    assert is_child(receive, send)
    assert [span.kind.name for span in (send, receive)] == ["CLIENT", "SERVER"]


class Handler:
    """Hooks around a request, run in whatever task comes; one object for all requests."""

    def __init__(self, tracer, context=None, *, ignore=True):
        self.tracer, self.context, self.ignore = tracer, context, ignore

    def before(self, request):
        request["span"] = self.tracer.start_span(
            "send", child_of=self.context, ignore_active_span=self.ignore
        )

    def after(self, request):
        request["span"].finish()


def requests(case, handler, count=1):
    """Send requests at once, each hook in a task of its own."""

    def request():
        held = {}
        yield [case.spawn(handler.before, held)]
        yield [case.spawn(handler.after, held)]

    return [case.spawn(request) for _ in range(count)]


def test_hooks_of_two_requests_do_not_meet(case):
    """Spans started in the hooks of one handler are roots of traces of their own."""

    def main():
        yield requests(case, Handler(case.tracer), 2)

    case.run(main)
    first, second = case.finished(2)
    assert first.parent is None
    assert second.parent is None
    assert first.context.trace_id != second.context.trace_id


def test_a_hook_ignores_or_takes_a_span(case):
    """With ignore_active_span the caller's span is not the parent; as an argument it is."""
    tracer = case.tracer

    def main():
        with tracer.start_active_span("parent") as scope:
            yield requests(case, Handler(tracer))
            given = Handler(tracer, scope.span.context)
            yield requests(case, given)
        yield requests(case, given)

    case.run(main)
    ignoring, first, parent, second = case.finished(4)
    assert ignoring.parent is None
    assert is_child(first, parent)
    assert is_child(second, parent)


def test_a_hook_finds_the_inherited_span(case):
    """Which is what the scope manager in charge says of its tasks."""
    tracer = case.tracer

    def main():
        handler = Handler(tracer, ignore=False)
        with tracer.start_active_span("parent"):
            yield requests(case, handler)
        yield requests(case, handler)

    case.run(main)
    inside, parent, outside = case.finished(3)
    assert is_child(inside, parent) is case.inherits
    assert outside.parent is None


def test_a_span_may_outlive_its_scopes(case):
    """Tasks activate a span without finishing it; it is finished after them, by whoever made it."""
    tracer = case.tracer
    parent = tracer.start_span("parent")

    def task(name):
        with tracer.scope_manager.activate(parent, False), tracer.start_active_span(name):
            pass

    def main():
        yield [case.spawn(task, "task1"), case.spawn(task, "task2")]
        parent.finish()

    case.run(main)
    first, second, last = case.finished(3)
    assert last.name == "parent"
    assert is_child(first, last)
    assert is_child(second, last)
    assert max(first.end_time, second.end_time) <= last.end_time


def test_a_listener_finishes_its_span(case):
    """The response arrives in another task, which knows nothing but the listener."""

    def main():
        span = case.tracer.start_span("send", tags={tags.SPAN_KIND: tags.SPAN_KIND_RPC_CLIENT})
        yield [case.spawn(span.finish)]

    case.run(main)
    (span,) = case.finished(1)
    assert span.kind.name == "CLIENT"


def test_the_last_callback_finishes_the_span(case):
    """The parent's scope is closed early; the span ends with the last task below it."""
    tracer = case.tracer
    open_tasks = []

    def task(parent):
        with tracer.scope_manager.activate(parent, False):
            with tracer.start_active_span("task"):
                yield []
            open_tasks.pop()
            if not open_tasks:
                parent.finish()

    def main():
        with tracer.start_active_span("parent", finish_on_close=False) as scope:
            open_tasks.extend("123")
            tasks = [case.spawn(task, scope.span) for _ in range(3)]
        yield tasks

    case.run(main)
    *tasks, parent = case.finished(4)
    assert [span.name for span in tasks] == ["task"] * 3
    assert parent.name == "parent"
    assert all(is_child(span, parent) for span in tasks)


def test_nested_callbacks_see_their_span(case):
    """Each callback starts the next; the last one finishes the span, which has all their tags."""
    tracer = case.tracer

    def callback(span, number):
        with tracer.scope_manager.activate(span, False):
            assert tracer.active_span is span
            tracer.active_span.set_tag(f"key{number}", str(number))
            if number == 3:
                tracer.active_span.finish()
                return
            yield [case.spawn(callback, span, number + 1)]

    def main():
        with tracer.start_active_span("one", finish_on_close=False) as scope:
            yield [case.spawn(callback, scope.span, 1)]
        assert tracer.active_span is None

    case.run(main)
    (span,) = case.finished(1)
    assert {"key1": "1", "key2": "2", "key3": "3"}.items() <= dict(span.attributes).items()


def test_a_subtask_is_below_its_given_span(case):
    """The parent waits for the subtask within its own scope."""
    tracer = case.tracer

    def subtask(span):
        with tracer.scope_manager.activate(span, False), tracer.start_active_span("child"):
            return "response"

    def main():
        with tracer.start_active_span("parent") as scope:
            (answer,) = yield [case.spawn(subtask, scope.span)]
        return answer

    assert case.run(main) == "response"
    child, parent = case.finished(2)
    assert is_child(child, parent)


def test_tasks_that_inherit_form_a_chain(case):
    """Each is below the one that started it, or all are roots; a scope ends before its tasks."""
    tracer = case.tracer

    def task(number):
        yield []
        with tracer.start_active_span(str(number)):
            below = [case.spawn(task, number + 1)] if number < 3 else []
        yield below

    def main():
        yield [case.spawn(task, 0)]

    case.run(main)
    spans = sorted(case.finished(4), key=lambda span: span.name)
    for parent, child in itertools.pairwise(spans):
        assert is_child(child, parent) is case.inherits


def test_no_parent_scope_cuts_the_chain(tracing):
    """Opentracing's own way out of inheritance works with its own scope manager."""
    no_parent_scope = pytest.importorskip("opentracing.scope_managers.contextvars").no_parent_scope
    case = Case(tracing, Asyncio, context_variables, inherits=True)
    tracer = case.tracer

    def task(name):
        with tracer.start_active_span(name):
            yield []

    def main():
        with tracer.start_active_span("root"):
            tasks = [case.spawn(task, "first")]
            with no_parent_scope():
                tasks.append(case.spawn(task, "second"))
            tasks.append(case.spawn(task, "third"))
        yield tasks

    case.run(main)
    spans = named(case.finished(4))
    assert is_child(spans["first"], spans["root"])
    assert is_child(spans["third"], spans["root"])
    assert spans["second"].parent is None
