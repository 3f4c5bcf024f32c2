"""Invariant: a traced gRPC program sees what it sees bare, and each of its calls has one true span.

Random programs (the four kinds, blocking and asyncio servers and clients, interceptors of others in
random order around ours, all outcomes, cancellation and deadlines at random times) run bare and
traced against in-process servers on loopback; what the client saw, what the handler saw and the
spans are compared. Run ``python tests/fuzz/fuzz_grpc.py --programs 20000`` (or ``make fuzz-grpc``);
a program that breaks the invariant is printed with the seed that leads to it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import logging
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import grpc.aio
from opentelemetry import baggage
from opentelemetry.trace import SpanKind, StatusCode

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
OUTCOMES = (
    "ok",
    "ok",
    "abort",
    "abort_twice",
    "raise",
    "set_code",
    "set_code_raise",
    "bad_response",
    "trailing",
    "illegal_trailing",
    "slow",
)
SERVER_AROUND = ("none", "pass", "context", "keep", "translate", "rewrap", "twice")
CLIENT_AROUND = ("none", "pass", "generator", "details", "retry", "wrap")
ENDS = ("none", "none", "none", "cancel", "deadline")
CODE = "rpc.response.status_code"
SETTLE_S = 3.0
BARE_RUNS = 60
"""Until an answer counts as one that gRPC does not give by itself."""


class Program(NamedTuple):
    """One program; everything that decides what it does."""

    seed: int
    server: str
    client: str
    kind: str
    outcome: str
    around_server: tuple[str, ...]
    around_client: tuple[str, ...]
    ours_at: tuple[int, int]
    verb: str
    end: str
    end_s: float
    messages: int
    sampled: bool


def program_of(seed: int) -> Program:
    rng = random.Random(seed)
    around_server = tuple(rng.choices(SERVER_AROUND, k=rng.randrange(3)))
    around_client = tuple(rng.choices(CLIENT_AROUND, k=rng.randrange(3)))
    end = rng.choice(ENDS)
    server, kind = (
        rng.choice(("blocking", "blocking", "aio", "aio", "aio_threads")),
        rng.choice(KINDS),
    )
    outcome = "slow" if end != "none" else rng.choice(OUTCOMES)
    if server == "aio_threads" and kind.endswith("_stream") and outcome.startswith("abort"):
        outcome = "raise"  # there grpc.aio leaves the client waiting, with or without us
    return Program(
        seed,
        server,
        rng.choice(("blocking", "aio")),
        kind,
        outcome,
        around_server,
        around_client,
        (rng.randrange(len(around_server) + 1), rng.randrange(len(around_client) + 1)),
        rng.choice(("call", "future")),
        end,
        rng.choice((0.005, 0.015, 0.03)),
        rng.randrange(4),
        rng.random() < 0.85,
    )


def encode(text):
    if text in ("bad", b"bad"):
        raise ValueError(text)
    return text if isinstance(text, bytes) else text.encode()  # grpc.aio encodes text itself


def decode(data):
    return data.decode()


# --- handlers ---


class Handlers:
    """What is served, blocking; ``outcome`` is told in the first request."""

    def __init__(self):
        self.seen = []
        self.waiting = threading.Event()

    def act(self, outcome, context):
        self.seen.append((outcome, dict(baggage.get_all())))
        if outcome == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        elif outcome == "abort_twice":
            try:
                context.abort(grpc.StatusCode.NOT_FOUND, "gone")
            finally:
                context.set_details("still gone")
        elif outcome == "raise":
            raise KeyError("boom")
        elif outcome == "set_code":
            context.set_code(grpc.StatusCode.ALREADY_EXISTS)
            context.set_details("there")
        elif outcome == "set_code_raise":
            context.set_code(grpc.StatusCode.DATA_LOSS)
            raise LookupError("boom")
        elif outcome == "trailing":
            context.set_trailing_metadata((("k", "v"),))
        elif outcome == "illegal_trailing":
            context.set_trailing_metadata((("k", "\n"),))
        elif outcome == "slow":
            self.waiting.set()
            time.sleep(0.1)
        return "bad" if outcome == "bad_response" else f"did {outcome}"

    def unary_unary(self, request, context):
        return self.act(request, context)

    def unary_stream(self, request, context):
        yield "first"
        yield self.act(request, context)

    def stream_unary(self, requests, context):
        got = list(requests)
        return self.act(got[0], context)

    def stream_stream(self, requests, context):
        got = list(requests)
        yield "first"
        yield self.act(got[0], context)


class AioHandlers(Handlers):
    async def act(self, outcome, context):
        if outcome in ("abort", "abort_twice"):
            self.seen.append((outcome, dict(baggage.get_all())))
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        if outcome == "slow":
            self.seen.append((outcome, dict(baggage.get_all())))
            self.waiting.set()
            await asyncio.sleep(0.1)
            return "did slow"
        return super().act(outcome, context)

    async def unary_unary(self, request, context):
        return await self.act(request, context)

    async def unary_stream(self, request, context):
        yield "first"
        yield await self.act(request, context)

    async def stream_unary(self, requests, context):
        got = [r async for r in requests]
        return await self.act(got[0], context)

    async def stream_stream(self, requests, context):
        got = [r async for r in requests]
        yield "first"
        yield await self.act(got[0], context)


def generic(program):
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    return grpc.method_handlers_generic_handler(
        "fuzz.F", {k: make[k](getattr(program, k), decode, encode) for k in KINDS}
    )


# --- interceptors of others, on the server ---


def behavior(handler):
    return next(getattr(handler, k) for k in KINDS if getattr(handler, k))


def remade(handler, function):
    kind = next(k for k in KINDS if getattr(handler, k))
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(function, handler.request_deserializer, handler.response_serializer)


class Ctx(grpc.ServicerContext):
    def __init__(self, real):
        self.real = real


def _through(name):
    return lambda self, *args: getattr(self.real, name)(*args)


for _name in sorted(grpc.ServicerContext.__abstractmethods__):
    setattr(Ctx, _name, _through(_name))
Ctx.__abstractmethods__ = frozenset()


class Around(grpc.ServerInterceptor):
    def __init__(self, how):
        self.how, self.kept = how, {}

    def intercept_service(self, continuation, details):  # noqa: C901, PLR0911 (a table)
        if self.how == "keep":
            if details.method not in self.kept:
                self.kept[details.method] = continuation(details)
            return self.kept[details.method]
        handler = continuation(details)
        if self.how in ("none", "pass"):
            return handler
        inner = behavior(handler)
        streaming = handler.response_streaming
        if self.how == "context":
            return remade(handler, lambda request, context: inner(request, Ctx(context)))
        if self.how == "translate" and not streaming:

            def translate(request, context):
                try:
                    return inner(request, context)
                except KeyError:
                    context.abort(grpc.StatusCode.OUT_OF_RANGE, "translated")

            return remade(handler, translate)
        if self.how == "twice" and not handler.request_streaming and not streaming:

            def twice(request, context):
                with contextlib.suppress(LookupError):
                    return inner(request, context)
                return inner(request, context)

            return remade(handler, twice)
        if streaming:

            def stream(request, context):
                yield from inner(request, context)

            return remade(handler, stream)
        return remade(handler, lambda *both: inner(*both))  # noqa: PLW0108 (another function)


class AioAround(grpc.aio.ServerInterceptor):
    def __init__(self, how):
        self.how, self.kept = how, {}

    async def intercept_service(self, continuation, details):
        if self.how == "keep":
            if details.method not in self.kept:
                self.kept[details.method] = await continuation(details)
            return self.kept[details.method]
        handler = await continuation(details)
        inner = behavior(handler)
        if self.how in ("none", "pass", "context", "twice") or not (
            asyncio.iscoroutinefunction(inner) or hasattr(inner, "__wrapped__") or _is_agen(inner)
        ):
            return handler
        if handler.response_streaming:

            async def stream(request, context):
                async for response in inner(request, context):
                    yield response

            return remade(handler, stream)

        async def unary(request, context):
            try:
                return await inner(request, context)
            except KeyError:
                if self.how != "translate":
                    raise
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "translated")

        return remade(handler, unary)


def _is_agen(function):
    return inspect.isasyncgenfunction(function)


# --- and on the client ---


class Wrapped:
    def __init__(self, call):
        self.call = call

    def __getattr__(self, name):
        return getattr(self.call, name)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.call)


class ClientAround(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, how):
        self.how = how

    def _unary(self, continuation, details, request, again=True):
        if self.how == "details":
            details = details._replace(metadata=[*(details.metadata or ()), ("theirs", "1")])
        call = continuation(details, request)
        if self.how == "retry" and again and call.code() is grpc.StatusCode.NOT_FOUND:
            return continuation(details, request)
        return call

    def _stream(self, continuation, details, request):
        if self.how == "details":
            details = details._replace(metadata=[*(details.metadata or ()), ("theirs", "1")])
        call = continuation(details, request)
        if self.how == "wrap":
            return Wrapped(call)
        return call

    def intercept_unary_unary(self, continuation, details, request):
        return self._unary(continuation, details, request)

    def intercept_stream_unary(self, continuation, details, request):
        return self._unary(continuation, details, request, again=False)

    intercept_unary_stream = intercept_stream_stream = _stream


class AioUU(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, how):
        self.how = how

    async def intercept_unary_unary(self, continuation, details, request):
        call = await continuation(details, request)
        if self.how == "retry" and await call.code() is grpc.StatusCode.NOT_FOUND:
            return await continuation(details, request)
        return call


class AioUS(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, how):
        self.how = how

    async def intercept_unary_stream(self, continuation, details, request):
        call = await continuation(details, request)
        if self.how != "generator":
            return call

        async def responses():
            async for message in call:
                yield message

        return responses()


class AioSU(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, how):
        self.how = how

    async def intercept_stream_unary(self, continuation, details, request):
        return await continuation(details, request)


class AioSS(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, how):
        self.how = how

    async def intercept_stream_stream(self, continuation, details, request):
        call = await continuation(details, request)
        if self.how != "generator":
            return call

        async def responses():
            async for message in call:
                yield message

        return responses()


AIO_AROUND = dict(zip(KINDS, (AioUU, AioUS, AioSU, AioSS), strict=True))


# --- a run ---


class Seen(NamedTuple):
    """All that the program saw of one run."""

    messages: tuple
    code: str | None
    details: str | None
    error: str | None
    handler: tuple


def placed(theirs, ours, at):
    return [*theirs[:at], *ours, *theirs[at:]]


class Runner:
    """Runs programs, each on servers and channels of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def on_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def serve(self, program, tracing):
        aio = program.server != "blocking"
        handlers = AioHandlers() if program.server == "aio" else Handlers()
        theirs = [(AioAround if aio else Around)(how) for how in program.around_server]
        ours = []
        if tracing is not None:
            library = tracekit.grpc.aio if aio else tracekit.grpc
            ours = [library.server_interceptor(tracing)]
        interceptors = placed(theirs, ours, program.ours_at[0])
        pool = ThreadPoolExecutor(4)
        if not aio:
            server = grpc.server(pool, (generic(handlers),), interceptors)
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            return handlers, port, lambda: server.stop(0).wait(5)

        async def start():
            server = grpc.aio.server(pool, (generic(handlers),), interceptors)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            return server, port

        server, port = self.on_loop(start())
        return handlers, port, lambda: self.on_loop(server.stop(0))

    def run(self, program, tracing):
        handlers, port, stop = self.serve(program, tracing)
        try:
            if program.client == "blocking":
                seen = self.blocking(program, tracing, port, handlers)
            else:
                seen = self.on_loop(self.aio(program, tracing, port, handlers))
        finally:
            stop()
        return Seen(*seen, tuple(outcome for outcome, _ in handlers.seen))

    def requests(self, program):
        if not program.kind.startswith("stream_"):
            return program.outcome
        return iter([program.outcome, *["more"] * program.messages])

    def blocking(self, program, tracing, port, handlers):
        theirs = [ClientAround(how) for how in program.around_client]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as bare:
            channel = bare
            outer, inner = theirs[: program.ours_at[1]], theirs[program.ours_at[1] :]
            if inner:
                channel = grpc.intercept_channel(channel, *inner)
            if tracing is not None:
                channel = tracekit.grpc.trace_channel(channel, tracing)
            if outer:
                channel = grpc.intercept_channel(channel, *outer)
            method = getattr(channel, program.kind)(f"/fuzz.F/{program.kind}", encode, decode)
            timeout = program.end_s if program.end == "deadline" else 5
            messages, call, error = [], None, None
            try:
                if program.kind.endswith("_stream"):
                    call = method(self.requests(program), timeout=timeout)
                    if program.end == "cancel":
                        handlers.waiting.wait(3)
                        time.sleep(program.end_s)
                        call.cancel()
                    messages.extend(call)
                elif program.verb == "future" or program.end == "cancel":
                    call = method.future(self.requests(program), timeout=timeout)
                    if program.end == "cancel":
                        handlers.waiting.wait(3)
                        time.sleep(program.end_s)
                        call.cancel()
                    messages.append(call.result(5))
                else:
                    response, call = method.with_call(self.requests(program), timeout=timeout)
                    messages.append(response)
            except (grpc.RpcError, grpc.FutureCancelledError) as raised:
                error, call = type(raised).__name__, call or raised
            code, details = call.code(), call.details()
            return tuple(messages), code.name, details, error

    async def aio(self, program, tracing, port, handlers):
        around = [AIO_AROUND[program.kind](how) for how in program.around_client]
        target = f"127.0.0.1:{port}"
        messages, error = [], None
        async with grpc.aio.insecure_channel(target, interceptors=around) as bare:
            channel = bare
            if tracing is not None:
                channel = tracekit.grpc.aio.trace_channel(bare, tracing)
            method = getattr(channel, program.kind)(f"/fuzz.F/{program.kind}", encode, decode)
            timeout = program.end_s if program.end == "deadline" else 5
            call = method(self.requests(program), timeout=timeout)
            try:
                if program.end == "cancel":
                    if program.kind.endswith("_stream"):
                        await call.__aiter__().__anext__()
                    else:
                        await asyncio.wait_for(asyncio.shield(call.wait_for_connection()), 3)
                    await asyncio.to_thread(handlers.waiting.wait, 3)
                    await asyncio.sleep(program.end_s)
                    call.cancel()
                if program.kind.endswith("_stream"):
                    async for message in call:
                        messages.append(message)  # noqa: PERF401 (what came before a failure counts)
                else:
                    messages.append(await call)
            except (grpc.RpcError, asyncio.CancelledError) as raised:
                error = type(raised).__name__
            code, details = await call.code(), await call.details()
        return tuple(messages), code.name, details, error


FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


def told(program: Program, seen: Seen) -> Seen:
    """Return what two runs of one program have in common."""
    if program.end == "deadline":  # how far it got till then differs from run to run
        return seen._replace(messages=(), details=None, handler=())
    return seen


def wrong(  # noqa: C901, PLR0911 (a list)
    program: Program, bare: Seen, traced: Seen, tracing: tracekit.testing.TestTracing
) -> str | None:
    """Return what breaks the invariant, if anything does."""
    bare, traced = told(program, bare), told(program, traced)
    if bare != traced:
        return f"bare saw {bare}, traced {traced}"
    end = time.monotonic() + SETTLE_S
    while _unsettled(tracing) and time.monotonic() < end:
        time.sleep(0.005)
    if tracing.stats().open:
        return f"{tracing.stats().open} spans are open"
    spans = list(tracing.sink.spans)
    if not program.sampled:
        return f"unsampled, but {len(spans)} spans" if spans else None
    clients = [s for s in spans if s.kind is SpanKind.CLIENT]
    servers = [s for s in spans if s.kind is SpanKind.SERVER]
    retried = "retry" in program.around_client[: program.ours_at[1]] and program.client != "aio"
    if len(clients) != 1 and not retried:
        return f"{len(clients)} client spans"
    last = max(clients, key=lambda s: s.start_time)
    if last.attributes.get(CODE) != traced.code:
        return f"the client's span says {last.attributes.get(CODE)}, the program saw {traced.code}"
    if (last.status.status_code is StatusCode.ERROR) != (traced.code != "OK"):
        return "the client's status"
    below = program.around_server[program.ours_at[0] :]
    if program.end == "none" and "twice" not in below and len(servers) != len(traced.handler):
        return f"{len(servers)} server spans for {len(traced.handler)} handlers"
    ids = {s.context.span_id for s in clients}
    if any(s.parent is None or s.parent.span_id not in ids for s in servers):
        return "a server's parent"
    if program.end == "none" and servers:
        server = max(servers, key=lambda s: s.end_time)
        if "twice" not in program.around_server and server.attributes.get(CODE) != traced.code:
            return f"the server's span says {server.attributes.get(CODE)}, the wire {traced.code}"
    if program.end == "cancel" and any(s.attributes.get(CODE) in FAULTS for s in servers):
        return f"cancelled, but {[s.attributes.get(CODE) for s in servers]}"
    return None


def _unsettled(tracing: tracekit.testing.TestTracing) -> bool:
    stats = tracing.stats()
    return bool(stats.open) or len(tracing.sink.spans) < stats.finished


def odd_without_us(bare: Seen) -> bool:
    """Return whether gRPC itself gives another answer now and then."""
    return "Internal error from Core" in (bare.details or "")


def check(runner: Runner, program: Program) -> str | None:
    """Run it bare and traced; a difference must show three times to count, as gRPC races too.

    And it must be one that does not show among as many bare runs as it takes to see a rare one.
    """
    found = None
    for _ in range(3):
        bare = runner.run(program, None)
        tracing = tracekit.testing.tracing(sampler_param=float(program.sampled))
        try:
            traced = runner.run(program, tracing)
            found = wrong(program, bare, traced, tracing)
        finally:
            tracing.shutdown()
        if found is None or odd_without_us(bare):
            return None
    if told(program, bare) != told(program, traced):
        for _ in range(BARE_RUNS):
            if told(program, runner.run(program, None)) == told(program, traced):
                return None
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--programs", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=None, help="of the first program")
    arguments.add_argument("--seconds", type=float, default=float("inf"))
    given = arguments.parse_args()
    for name in ("grpc._server", "grpc._channel", "grpc._common", "grpc._cython.cygrpc", "asyncio"):
        logging.getLogger(name).disabled = True
    first = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    runner, began, failed, done = Runner(), time.monotonic(), 0, 0
    for seed in range(first, first + given.programs):
        if time.monotonic() - began > given.seconds:
            break
        program = program_of(seed)
        try:
            found = check(runner, program)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        done += 1
        if found is not None:
            failed += 1
            print(f"{program}\n    {found}", flush=True)
    seconds = time.monotonic() - began
    print(f"{done} programs from seed {first} in {seconds:.0f} s: {failed} broke the invariant")
    return 1 if failed else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # some bare servers of grpc.aio leave a thread waiting for good
