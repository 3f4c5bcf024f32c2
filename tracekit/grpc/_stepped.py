"""A coroutine that is awaited step by step, each in the context of its call.

At each suspension control, and the context, go back to the event loop as they came.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from tracekit._calls.lifecycle import Step


class Steps(Protocol):
    """What makes the steps of a coroutine, which is its own."""

    def send(self, value: object, /) -> object: ...
    def throw(self, error: Any, /) -> object: ...  # noqa: ANN401 - as generators have it
    def close(self) -> None: ...


class Interrupted(Protocol):
    """Who hears that a coroutine was interrupted."""

    def cancelled_now(self) -> None:
        """Called before the coroutine is, which may take its time about it."""


def steps_of(awaited: Awaitable[object]) -> Steps:
    """Return what makes the steps of ``awaited``; it may be whatever ``await`` takes."""
    return awaited if type(awaited) is types.CoroutineType else _awaiting(awaited)


async def _awaiting(awaited: Awaitable[object]) -> object:
    return await awaited


async def stepped(awaited: Awaitable[object], step: Step) -> object:
    """Await ``awaited`` with the context of ``step`` current only while it runs."""
    steps = steps_of(awaited)
    try:
        with step:
            waiting = steps.send(None)
    except StopIteration as done:
        return done.value
    return await resumed(steps, waiting, step)


@types.coroutine
def resumed(
    steps: Steps, waiting: object, step: Step, rpc: Interrupted | None = None
) -> Generator[object, object, object]:
    """Await the rest of a coroutine whose first step led to ``waiting``.

    That one its callers make themselves: most handlers that answer from memory need no other.
    """
    resume: Callable[..., object]
    value: object
    while True:
        try:
            value = yield waiting
            resume = steps.send
        except GeneratorExit:
            with step:
                steps.close()
            raise
        except BaseException as error:
            value = error
            resume = steps.throw
            if rpc is not None:
                rpc.cancelled_now()  # what the handler does about that takes time
        try:
            with step:
                waiting = resume(value)
        except StopIteration as done:
            return done.value
