"""The thread that keeps a remote sampler up to date: fetch, parse, apply, again and again."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY

from tracekit._display import quoted
from tracekit._process.fork import ProcessState
from tracekit._process.undivided import no_fork
from tracekit.errors import StrategyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.sampling._remote import RemoteSampler
    from tracekit.sampling._strategy import AnyStrategy

_log = logging.getLogger(__name__)

MAX_FIRST_DELAY_S = 1.0
MAX_ANSWER_BYTES = 4 << 20
"""Room for some 40 000 operations; a larger answer is refused."""
TIMEOUT_S = 10.0
"""For the whole of a fetch (the Go client's limit)."""
NOT_TRACED = ("b3", "0")
"""Tells the mesh's proxies that our question is none of a user's request."""
_LOG_EVERY_S = 60.0
_RETRY_THREAD_S = 5.0
_entropy = random.SystemRandom()  # forked workers must not jitter in step


class Source(Protocol):
    """One place that strategies can be read from. Only ``abort`` is called by other threads."""

    name: str
    """For the log: where it is, without secrets."""

    def fetch(self) -> bytes | None:
        """Return what the place holds (None: nothing new); bounded in bytes and time.

        Raises whatever went wrong; the poller counts it as a failed query.
        """

    def parse(self, answer: bytes) -> AnyStrategy:
        """Return the strategy in ``answer``, or raise ``StrategyError``."""

    def abort(self) -> None:
        """Make a ``fetch`` that is under way fail soon."""


class Abortable:
    """The part of a source that lets another thread cut its fetch short, once and for all.

    A forked child inherits the note of its parent's fetch but must not touch that: shutting a
    shared socket down would shut it down for both.
    """

    def __init__(self) -> None:
        self._under_way: tuple[int, Callable[[], object]] | None = None
        self._aborted = False

    def abort(self) -> None:
        """Make the fetch under way, and every later one, fail soon."""
        self._aborted = True
        self._cut()

    def _begin(self, cut: Callable[[], object]) -> None:
        """Note that ``cut`` ends the fetch; it may have been asked for before there was one."""
        self._under_way = os.getpid(), cut
        if self._aborted:
            self._cut()

    def _finish(self) -> None:
        self._under_way = None

    def _cut(self) -> None:
        under_way = self._under_way
        if under_way is not None and under_way[0] == os.getpid():
            with suppress(OSError):
                under_way[1]()


class _PollingState(ProcessState):
    """The polling of one process. A forked child starts its own, from zero."""

    def __init__(self) -> None:
        super().__init__()
        self.started = False
        self.starter: dict[int, object] = {}
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        self.queries_ok = self.queries_err = self.updates_ok = self.updates_err = 0
        self.last_error: str | None = None
        self.logged_at_s: float | None = None


class Poller:
    """Feeds ``sampler`` from ``source`` every ``interval_s`` seconds, less some jitter.

    The thread (a daemon) starts at the first root decision of a process, for threads do not
    survive a fork. The first poll comes within ``min(1 s, interval_s)``, at a random moment, so
    that a fleet that starts together does not ask together. A failure keeps the last good strategy
    and costs a counter and at most one log line a minute.
    """

    def __init__(
        self,
        sampler: RemoteSampler,
        source: Source,
        *,
        interval_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = _entropy.uniform,
    ) -> None:
        if not 0.0 < interval_s < threading.TIMEOUT_MAX:
            raise ValueError(f"a polling interval is positive: {interval_s!r}")
        self._sampler = sampler
        self._source = source
        self._interval_s = interval_s
        self._clock = clock
        self._uniform = uniform
        self._closed = False
        self._state = _PollingState()
        self._retry_at_s = -math.inf
        sampler.feed = self

    def wake(self) -> None:
        """Start the thread unless this process has it; a few dozen nanoseconds when it has."""
        state = self._state
        if not (state.started and state.mark[0]) and not self._closed:
            self._start()

    def _now(self) -> _PollingState:
        self._state = state = self._state.now()
        return state

    def _start(self) -> None:
        # No lock, for a fork may have left it held: ``setdefault`` names exactly one starter.
        state, mine = self._now(), object()
        if self._clock() < self._retry_at_s or state.starter.setdefault(0, mine) is not mine:
            return
        # gevent or eventlet may have patched ``threading`` meanwhile.
        state.stop = threading.Event()
        if self._closed:
            state.stop.set()
        state.started = True
        try:
            state.thread = threading.Thread(
                target=self._poll_until_stopped,
                args=(state,),
                name="tracekit-sampling",
                daemon=True,
            )
            state.thread.start()
        except RuntimeError as error:  # no more threads, or no daemons in this interpreter
            state.thread = None
            self._complain(state, f"cannot start the polling thread: {quoted(error)}")
            self._retry_at_s = self._clock() + _RETRY_THREAD_S
            state.starter.clear()
            state.started = False

    def _poll_until_stopped(self, state: _PollingState) -> None:
        # Our own question must not become a trace, whoever instruments the wire.
        context = otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)
        context = otel_context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context)
        otel_context.attach(context)
        delay_s = self._uniform(0.0, 0.9) * min(MAX_FIRST_DELAY_S, self._interval_s)
        while not state.stop.wait(delay_s):
            self._poll(state)
            # Jitter only shortens: a changed strategy is in force within one interval.
            delay_s = self._interval_s * self._uniform(0.85, 0.95)

    def poll(self) -> bool:
        """Fetch, parse and apply once, on the calling thread; return whether that went well."""
        return self._poll(self._now())

    def _poll(self, state: _PollingState) -> bool:
        try:
            answer = self._source.fetch()
        except Exception as error:
            if state.stop.is_set():
                return False
            state.queries_err += 1
            self._complain(state, f"cannot fetch: {quoted(error)}")
            return False
        if answer is None:
            return True
        state.queries_ok += 1
        try:
            self._sampler.apply(self._source.parse(answer))
        except Exception as error:
            state.updates_err += 1
            kind = "" if isinstance(error, StrategyError) else f"{type(error).__name__}: "
            self._complain(state, f"cannot use the answer: {kind}{quoted(error)}")
            return False
        state.updates_ok += 1
        state.last_error = None
        return True

    def _complain(self, state: _PollingState, message: str) -> None:
        state.last_error = message
        now_s = self._clock()
        if state.logged_at_s is None or now_s - state.logged_at_s >= _LOG_EVERY_S:
            state.logged_at_s = now_s
            with no_fork():
                _log.warning(
                    "sampling strategy from %s: %s; the last good one stays in force",
                    self._source.name,
                    state.last_error,
                )

    def close(self, timeout_s: float = 0.5) -> None:
        """Stop the thread, also in the middle of a fetch; wait for it up to ``timeout_s``."""
        self._closed = True
        state = self._state
        if not state.mark[0]:
            return
        state.stop.set()
        self._source.abort()
        if state.thread is not None and state.thread is not threading.current_thread():
            state.thread.join(min(max(0.0, timeout_s), 0.5))

    def state(self) -> dict[str, object]:
        """Return the counters of this process and its last error (None: all is well)."""
        state = self._now()
        return {
            "source": self._source.name,
            "last_error": state.last_error,
            "queries_ok": state.queries_ok,
            "queries_err": state.queries_err,
            "updates_ok": state.updates_ok,
            "updates_err": state.updates_err,
        }
