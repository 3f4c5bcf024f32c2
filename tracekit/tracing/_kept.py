"""The span of a trace that nobody sampled and that may yet be wanted."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Protocol

from tracekit._context import DEFER, Decision
from tracekit._process.tally import DIVIDED
from tracekit._protocols import MARKS_SHIFT
from tracekit.tracing._locked_span import SPAN
from tracekit.tracing._readable import SAMPLED
from tracekit.tracing._shared import SharedState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Status, StatusCode
    from opentelemetry.util.types import AttributeValue

    from tracekit.sampling._keep import KeepRule
    from tracekit.tracing._attributes import Cleaned
    from tracekit.tracing._local_trace import Buffer, LocalTrace
    from tracekit.tracing._span import Span

if TYPE_CHECKING:
    _Recording = Span
else:
    _Recording = SPAN
DEFER_BIT = DEFER << MARKS_SHIFT
UNCOUNTED = -(1 << 62)
_COST = 16
"""Bytes of an attribute beside a text."""


class KeepingState(SharedState, Protocol):
    """A provider with a rule, as the spans know it. See ``KeepingTracerProvider``."""

    store: Callable[[], Buffer[KeptSpan]]

    def rule_of(self, operation: str) -> KeepRule | None:
        """Return the rule of a local root."""

    def _judge(self, local: LocalTrace[KeptSpan], root: KeptSpan) -> None:
        """Decide a trace whose local root has ended."""

    def _promote(
        self, local: LocalTrace[KeptSpan], root: KeptSpan, reason: str, *, capped: bool = True
    ) -> None:
        """Decide for a trace, and report what has ended of it."""

    def _report(self, span: KeptSpan) -> None:
        """Hand on a span that has ended and was promoted."""

    def _tell(self, store: Buffer[KeptSpan]) -> None:
        """Tell span processors of the end of spans that were discarded."""


class KeptSpan(_Recording):
    """A recording span whose trace is undecided until its local root ends; not sampled so far."""

    __slots__ = ("_local", "_texts")
    _local: LocalTrace[KeptSpan]
    _texts: int
    """Characters of the attributes' texts; below 0: to be looked at when it ends."""

    if not DIVIDED:

        def set_attribute(self, key: str, value: AttributeValue) -> None:
            """Set one attribute; see ``Span.set_attribute``, which this is with a count."""
            attrs = self._attrs
            rules = self._tracer._limits.span
            if (
                (kind := type(value)) in rules.plain
                and type(key) is str
                and key
                and key not in attrs
                and len(attrs) < rules.room
                and self._end_time is None
            ):
                attrs[key] = value
                if kind is str:
                    size = len(value)  # type: ignore[arg-type] # it is a str
                    self._texts += size
            else:
                self._merge(rules.clean_one(key, value))

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes; see ``Span.set_attributes``."""
        self._texts = UNCOUNTED
        super().set_attributes(attributes)

    def _merge(self, bag: Cleaned) -> None:
        self._texts = UNCOUNTED
        super()._merge(bag)

    def end(  # noqa: C901, PLR0912 - one road, see ``begin``
        self, end_time: int | None = None, last: Mapping[str, AttributeValue] | None = None
    ) -> None:
        """End the span; with the local root its trace is decided. See ``Span.end``."""
        if last is not None:
            self.set_attributes(last)
        local = self._local
        store = local.store
        moment = time_ns() if end_time is None else end_time
        if local.decided or not store.process.mark[0]:
            self._end_by_itself(moment)
            return
        if DIVIDED:
            if not self._end_locked(moment):
                return
        else:  # no call since the look for a verdict, so none comes in between; see ``Span``
            try:
                del self._process
            except AttributeError:
                self._tracer._provider._ended_twice()
                return
            self._end_time = moment
        try:
            guard = self._guard
            if guard is not None:
                with guard:  # as in ``Span.end``
                    pass
            if local.root is self:  # is decided now, so its bytes are not held
                self._over(local)
                return
            texts = self._texts
            size = _COST * len(self._attrs) + (texts if texts >= 0 else _size_of(self._attrs))
            if self._added_events:
                size += sum(_COST + _size_of(each) for _, _, (each, _) in self._added_events)
            if DIVIDED:
                store.charge(local, size)
            else:
                local.bytes += size
                store.bytes += size
            if local.decided or store.bytes > store.max_bytes:
                self._over(local)
        except (RecursionError, MemoryError):
            if not local.decided:  # as in ``Span.end``: nobody has seen that it ended
                self._end_time = None
                self._process = store.process
            raise

    def _end_by_itself(self, moment: int) -> None:
        """End after the verdict, or in a child of the process that began it."""
        store = self._local.store
        if store.process.mark[0]:
            with store.lock:  # a verdict that samples this very span is waited for
                pass
        super().end(moment)

    def _end_locked(self, moment: int) -> bool:
        """End as one of an undecided trace, where threads may change at any step; False if not."""
        local = self._local
        with local.store.lock:
            decided, first = local.decided, self._end_time is None
            if first and not decided:
                del self._process
                self._end_time = moment
                return True
        if decided:
            super().end(moment)
        else:
            self._tracer._provider._ended_twice()
        return False

    def _over(self, local: LocalTrace[KeptSpan]) -> None:
        """Do what an end may bring about."""
        provider: KeepingState = self._tracer._provider  # type: ignore[assignment]
        store = local.store
        if local.decided:
            with store.lock:
                store.bytes -= local.bytes
                local.bytes = 0
        else:
            if store.bytes > store.max_bytes:
                store.make_room()
            if local.root is self:
                provider._judge(local, self)
        if store.parted:
            provider._tell(store)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went; see ``opentelemetry.trace.Span.set_status``."""
        self._local.told = True
        super().set_status(status, description)

    def _begin_sampled(self) -> None:
        """Be a sampled span from now on, while live; called under the buffer's lock."""
        self._settle(SAMPLED)
        self._tracer._provider.reporter.on_start(self)

    def _settle(self, bits: int = 0) -> None:
        """Say no longer that the decision is open, and set ``bits``."""
        self._bits = self._bits & ~DEFER_BIT | bits
        self._made = None

    def _force(self, decision: Decision) -> None:
        """Change what was decided; of a local root, for its whole local trace."""
        local = self._local
        if decision in (Decision.ACCEPT, Decision.DEBUG) and local.store.process.mark[0]:
            if local.root is self:
                provider: KeepingState = self._tracer._provider  # type: ignore[assignment]
                provider._promote(local, self, "forced", capped=False)
            elif not local.decided:
                apart = local.store.release(local, self)
                if apart is not None:
                    self._local = apart
                    self._settle()
        super()._force(decision)


def _size_of(attributes: Mapping[str, object]) -> int:
    """Return about how many bytes the values of attributes take that are not of a fixed size."""
    return sum(
        len(value)
        if isinstance(value, str | bytes)
        else sum(len(each) if isinstance(each, str | bytes) else _COST for each in value)
        for value in attributes.values()
        if isinstance(value, str | bytes | tuple)
    )
