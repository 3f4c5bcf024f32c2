"""An RPC that a handler on asyncio serves: a coroutine, an asynchronous generator, or a thread."""

from __future__ import annotations

import asyncio
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from tracekit._calls.lifecycle import Step
from tracekit._context import attach, detach, get_current
from tracekit.grpc import _conventions as conventions
from tracekit.grpc import _foreign as foreign
from tracekit.grpc._foreign_context import OWN_AIO_CONTEXT, KnownContext, known
from tracekit.grpc._recording_context import ReadableContext
from tracekit.grpc._server_call import ServerRpc
from tracekit.grpc._stepped import resumed, stepped, steps_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import TypeAlias

    from typing_extensions import Self

    _Asked: TypeAlias = grpc.aio.ServicerContext | KnownContext

_FINE = (None, grpc.StatusCode.OK)


class AioServerCall(ServerRpc):
    """An RPC on an asyncio server."""

    if_unconvertible = grpc.StatusCode.UNKNOWN
    task: asyncio.Task[object] | None = None
    """gRPC's, in which this RPC is served."""
    _served: grpc.aio.ServicerContext | KnownContext | ReadableContext | None = None
    reads_stream = False
    """Whether there is a stream of requests."""
    behavior: Callable[..., Any]
    """The handler's own function."""
    _exhausted = False
    _interrupted = False

    async def coroutine(  # noqa: C901 - one road: see what a call costs, in ``_rpc``
        self, request: object, context: grpc.aio.ServicerContext
    ) -> object:
        """Serve the RPC by the handler; this is what gRPC calls in its stead."""
        call: AioServerCall
        asked: _Asked
        call, asked = self, context
        own = type(context) is OWN_AIO_CONTEXT
        if self.begun or not own or asyncio.current_task() is not self.task:
            call, asked = self.called(context)
            call.behavior = self.behavior
        if not call.begin(request, asked):
            return await self.behavior(request, context)
        step = None
        try:
            awaited = self.behavior(request, context)
            steps = awaited if type(awaited) is CoroutineType else steps_of(awaited)
            token = attach(call.context)
            try:
                waiting = steps.send(None)
            except StopIteration as done:  # it had to wait for nothing
                response = done.value
            else:
                step = Step(get_current())
            finally:
                detach(token)
            if step is not None:
                response = await resumed(steps, waiting, step, call)
        except BaseException as error:
            call.failed(error)
            raise
        if call.reads_stream and await call.was_cut_off():
            call.end(over=True)
        elif call.streaming:
            call.end()
        elif call.live:
            if own and not (
                context.code() or call.closed or call.ends_with_handler or call.plan.has_hooks
            ):
                call.unattended = True  # it will be serialized: nearly always
            else:
                call.returned(response)
        return response

    async def generator(  # noqa: C901 - one road, for every message
        self, request: object, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[object]:
        """Do the same where the handler is an asynchronous generator."""
        call, asked = self.called(context)
        begun = call.begin(request, asked)
        source = self.behavior(request, context)
        if not begun:
            async for response in source:
                yield response
            return
        step = call.step()
        native = type(source) is AsyncGeneratorType
        try:
            while True:
                asking = source.__anext__()
                steps = asking if native else steps_of(asking)
                token = attach(step.context)
                try:
                    waiting = steps.send(None)
                except StopIteration as done:  # it had to wait for nothing
                    response, waits = done.value, False
                else:
                    waits = True
                finally:
                    step.context = get_current()
                    detach(token)
                if waits:
                    response = await resumed(steps, waiting, step, call)
                call.unattended = True  # ``leave``, without the call
                if call.closed:
                    call.leave()
                yield response
                call.unattended = False
        except StopAsyncIteration:
            call.end(over=True if call.reads_stream and await call.was_cut_off() else None)
        except GeneratorExit:
            # gRPC drops the generator of a client that went away; the loop then closes it, and
            # would close the handler's own a task later.
            await stepped(source.aclose(), step)
            call.dropped()
            raise
        except BaseException as error:
            call.failed(error)
            raise

    def in_task(self, task: asyncio.Task[object] | None) -> None:
        """Called with gRPC's task for this RPC; None: nobody will tell when it is over."""
        if task is None:
            self.ends_with_handler = True
        else:
            self.task = task
            task.add_done_callback(self.on_task_done)

    def called(self, context: grpc.aio.ServicerContext) -> tuple[Self, _Asked]:
        """Return the RPC that the handler is called for, and its context; in a task of the loop."""
        task = asyncio.current_task()
        if not self.begun and task is self.task and type(context) is OWN_AIO_CONTEXT:
            return self, context
        asked = known(context)
        call = self.serving(asked)
        if call is not self:
            call.reads_stream = self.reads_stream
            call.in_task(task)
        return call, asked

    def served(self, context: _Asked | ReadableContext) -> None:
        """Called with the context that the handler has, or with what listens to it."""
        self._served = context

    def cancelled_now(self) -> None:
        context = self._served
        if context is not None and self.remaining_s is None:
            self.remaining_s = context.time_remaining()

    def on_task_done(self, task: asyncio.Task[object]) -> None:
        """Called when gRPC's task for this RPC has ended, in the loop's thread."""
        del task
        self.task = None
        self.closed = True
        if not self.live:
            return
        self.cancelled_now()
        if not self.unattended:
            return
        if self._interrupted:
            # Somebody further out may have cancelled the handler, and answered by itself.
            self.end(over=not foreign.ask(self._served, "done", bool))
        else:
            over = self.streaming and not self._exhausted and self.raised_text is None
            self.end(over=over)

    async def was_cut_off(self) -> bool:
        """Return whether the RPC was over before its handler, which has ended, could know.

        A request that is too large ends the RPC; its handler sees the end of the stream, and
        gRPC cancels it one step of the loop later, if it still runs. Then too late is as good.
        """
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and hasattr(task, "uncancel"):  # Python 3.11
                task.uncancel()
            return True
        return False

    def exhausted(self) -> None:
        """Called in a thread when there are no more responses; the loop may still send the last."""
        self._exhausted = True
        self.unattended = True
        if self.closed:
            self.end()

    def failed(self, error: BaseException) -> None:
        """Called when ``error`` left the handler."""
        if isinstance(error, asyncio.CancelledError) and not self.ends_with_handler:
            self.cancelled_now()
            self._interrupted = self.unattended = True
            if self.closed:
                self.end(error)
        else:
            self.raised(error, final=isinstance(error, grpc.aio.AbortError) or self._is_aborted())

    def _is_aborted(self) -> bool:
        return isinstance(self._served, ReadableContext) and self._served.aborted

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``: here, None as nothing. Text is bytes by now."""
        return data is None

    def returned(self, response: object) -> None:
        """Called when the handler returned the response."""
        context = self._served
        if context is None:
            return
        fine = not context.code() or _code_of(context) in _FINE  # (the number of OK is 0)
        if not fine or self.closed or self.ends_with_handler:
            self.end()  # it will not be serialized
            return
        if self.plan.has_hooks:
            self.response = response
        self.unattended = True  # ``leave``, without the call

    def respond(self, response: object) -> object:
        """Serialize the one response of a unary side: nearly all calls end well here."""
        context = self._served
        own = type(context) is OWN_AIO_CONTEXT
        if (
            context is None
            or not own
            or self.reused
            or not self.plan.quiet
            or self.raised_text is not None
        ):
            return super().respond(response)
        serialize = self.serialize
        try:
            data = response if serialize is None else serialize(response)
        except BaseException as error:
            self.spoilt(error)
            raise
        try:
            if data.__class__ is bytes:
                self.sent_count += 1
                self.sent_bytes += len(data)
            else:
                self.sent_otherwise(data)
            if context.code() or context.trailing_metadata():
                self.end(over=False)
            else:
                self.succeed()
                self._served = None
        except Exception:
            self.plan.complain("following a call")
        return data

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        context = self._served
        if not self.live or context is None:
            return
        # An abort in a thread ends the RPC before its exception has left the handler, and in old
        # versions of gRPC without any.
        aborted = isinstance(error, grpc.aio.AbortError) or getattr(context, "aborted", False)
        cancelled = isinstance(error, asyncio.CancelledError) or self.closed
        remaining_s = self.remaining_s
        code = _code_of(context)
        if (error is not None or self.raised_text is not None) and code is grpc.StatusCode.OK:
            code = None  # here, an exception overrules a code that says OK
        if over is None:
            over = cancelled
        if over and code is not None and foreign.ask(context, "done", bool):
            over = False  # an abort has gone out, whatever the handler did after that
        self.complete_as_sent(
            code,
            context.details(),
            error,
            aborted=aborted,
            over=over and not aborted,
            remaining_s=context.time_remaining() if remaining_s is None else remaining_s,
            response_metadata=context.trailing_metadata,
        )
        self._served = None


def _code_of(context: _Asked | ReadableContext) -> grpc.StatusCode | None:
    return conventions.code_of(context.code(), numbers=True)
