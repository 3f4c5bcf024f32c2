"""A coroutine that is awaited step by step, each in the context of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from tracekit._calls.lifecycle import Step


class Interrupted(Protocol):
    """Who hears that a coroutine was interrupted."""

    def cancelled_now(self) -> None:
        """Called before the coroutine is, which may take its time about it."""


class Stepped:
    """Await a coroutine with its step's context current only while it runs.

    At each suspension control, and the context, go back to the event loop as they came.
    """

    __slots__ = ("_awaited", "_rpc", "_step")

    def __init__(
        self, awaited: Awaitable[object], step: Step, rpc: Interrupted | None = None
    ) -> None:
        self._awaited = awaited
        self._step = step
        self._rpc = rpc

    def __await__(self) -> Generator[object, object, object]:
        step = self._step
        iterator = self._awaited.__await__()
        resume: Callable[..., object] = iterator.send
        value: object = None
        while True:
            try:
                with step:
                    waiting = resume(value)
            except StopIteration as done:
                return done.value
            try:
                value = yield waiting
                resume = iterator.send
            except GeneratorExit:
                with step:
                    iterator.close()
                raise
            except BaseException as error:
                value = error
                resume = iterator.throw
                if self._rpc is not None:
                    self._rpc.cancelled_now()  # what the handler does about that takes time
