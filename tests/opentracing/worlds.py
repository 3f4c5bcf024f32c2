"""Threads, asyncio and gevent as one: a task is a generator that yields the tasks it waits for."""

from __future__ import annotations

import asyncio
import inspect
import threading
from importlib.util import find_spec

import gevent
import pytest
from opentelemetry import context as otel_context
from opentracing.scope_managers import ThreadLocalScopeManager
from opentracing.scope_managers.asyncio import AsyncioScopeManager
from opentracing.scope_managers.gevent import GeventScopeManager


def context_variables():
    """Return opentracing's own manager over context variables, where it has one: from 2.4 on."""
    module = pytest.importorskip("opentracing.scope_managers.contextvars")
    return module.ContextVarsScopeManager()


def by_task():
    """Return opentracing's own manager over tasks; that of 2.2 wants what Python 3.9 took out."""
    if find_spec("opentracing.scope_managers.contextvars") is None:
        pytest.skip("the AsyncioScopeManager of this opentracing is for Python before 3.9")
    return AsyncioScopeManager()


def steps(function, arguments):
    """Run a task as a generator, whether it waits for anything or not."""
    if inspect.isgeneratorfunction(function):
        return (yield from function(*arguments))
    return function(*arguments)


class Threads:
    def spawn(self, function, *arguments):
        return Thread(function, arguments)

    def run(self, function, *arguments):
        return self.spawn(function, *arguments).wait()


class Thread(threading.Thread):
    def __init__(self, function, arguments):
        super().__init__(daemon=True)
        self.task = steps(function, arguments)
        self.outcome = None
        self.start()

    def run(self):
        results = None
        try:
            while True:
                waited = self.task.send(results)
                results = [thread.wait() for thread in waited]
        except StopIteration as end:
            self.outcome = (end.value, None)
        except BaseException as error:
            self.outcome = (None, error)

    def wait(self):
        self.join(10)
        assert self.outcome, "the task did not end"
        value, error = self.outcome
        if error is not None:
            raise error
        return value


class Asyncio:
    def spawn(self, function, *arguments):
        return asyncio.get_running_loop().create_task(self._drive(function, arguments))

    def run(self, function, *arguments):
        return asyncio.run(asyncio.wait_for(self._drive(function, arguments), 10))

    async def _drive(self, function, arguments):
        task, results = steps(function, arguments), None
        while True:
            try:
                waited = task.send(results)
            except StopIteration as end:
                return end.value
            results = await asyncio.gather(asyncio.sleep(0), *waited)
            results = results[1:]


class Gevent:
    def spawn(self, function, *arguments):
        return gevent.spawn(self._drive, function, arguments)

    def run(self, function, *arguments):
        return self.spawn(function, *arguments).get(timeout=10)

    def _drive(self, function, arguments):
        task, results = steps(function, arguments), None
        while True:
            try:
                waited = task.send(results)
            except StopIteration as end:
                return end.value
            gevent.sleep(0)
            results = [greenlet.get(timeout=10) for greenlet in waited]


# name: the world, the scope manager (None: ours), whether a new task inherits what is active
WORLDS = {
    "threads": (Threads, lambda: None, False),
    "threads, thread-local": (Threads, ThreadLocalScopeManager, False),
    "threads, contextvars": (Threads, context_variables, False),
    "asyncio": (Asyncio, lambda: None, True),
    "asyncio, by task": (Asyncio, by_task, False),
    "asyncio, contextvars": (Asyncio, context_variables, True),
    "gevent": (Gevent, lambda: None, False),  # a greenlet starts with an empty context
    "gevent, by greenlet": (Gevent, GeventScopeManager, False),
}


def cleared(function):
    """Run a test's main task where nothing is active, whatever earlier tests left."""
    token = otel_context.attach(otel_context.Context())
    try:
        return function()
    finally:
        otel_context.detach(token)
