"""Carry the current context to code that runs elsewhere: threads, pools, callbacks.

Trace, baggage and captured mesh headers are all in OpenTelemetry's context, so one attach carries
them. (asyncio carries it by itself; ``loop.run_in_executor`` does not.)
"""

from __future__ import annotations

import functools
import inspect
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from opentelemetry import context as otel_context

from tracekit._calls.lifecycle import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

P = ParamSpec("P")
R = TypeVar("R")


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` bound to the context that is current now, wherever it is called.

    Call it once or often, from any thread; the caller's own context is back afterwards. An
    ``async`` function stays one. What ``function`` merely returns (a generator, say) runs later
    and is not covered.
    """
    context = otel_context.get_current()
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def carried(*args: P.args, **kwargs: P.kwargs) -> object:
            with Step(context):  # its task's own context: nobody else sees it between awaits
                return await function(*args, **kwargs)

    else:

        @functools.wraps(function)
        def carried(*args: P.args, **kwargs: P.kwargs) -> object:
            with Step(context):
                return function(*args, **kwargs)

    return cast("Callable[P, R]", carried)


def wrap_executor(executor: Executor) -> Executor:
    """Return an executor that runs each call in the context in which it was submitted.

    It hands everything to ``executor``, which it does not own more than you do: either one's
    ``shutdown`` ends both. Raises ``TypeError`` for a pool of processes, where no context can go;
    send them headers instead (``propagator.inject``).
    """
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - with all it needs

    if isinstance(executor, ProcessPoolExecutor):
        raise TypeError("wrap_executor takes a pool of threads: a context cannot be pickled")
    return executor if type(executor) is _CarryingExecutor else _CarryingExecutor(executor)


class _CarryingExecutor(Executor):
    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @property  # type: ignore[misc] # isinstance asks it: a loop takes pools of threads only
    def __class__(self) -> type:
        return type(self._executor)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._executor.submit(wrap(fn), *args, **kwargs)

    def map(
        self, fn: Callable[..., R], *iterables: Iterable[object], **options: float | None
    ) -> Iterator[R]:
        return self._executor.map(wrap(fn), *iterables, **options)  # type: ignore[arg-type]

    def shutdown(self, wait: bool = True, **options: bool) -> None:
        self._executor.shutdown(wait, **options)

    def __getattr__(self, name: str) -> object:
        return getattr(self._executor, name)
