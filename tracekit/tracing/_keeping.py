"""The provider and the tracer of a service that keeps failures which nobody sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from tracekit._context import SPAN_KEY, attach, get_current
from tracekit._process.fork import PerProcess
from tracekit._process.stack import reach
from tracekit.sampling import ParentRule, RateLimiter, RemoteSampler, head_of
from tracekit.tracing._begin_kept import begin_kept
from tracekit.tracing._kept import KeptSpan
from tracekit.tracing._local_trace import UNWANTED, Buffer, KeepCounts, LocalTrace
from tracekit.tracing._provider import SpanCounts, TracerProvider
from tracekit.tracing._readable import SAMPLED
from tracekit.tracing._scope import CurrentSpan
from tracekit.tracing._shared import (
    DEFAULT_KEEP_BYTES,
    DEFAULT_KEEP_PER_SECOND,
    DEFAULT_KEEP_SPANS,
)
from tracekit.tracing._tracer import EMPTY, Tracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from tracekit.propagation._remote import Extracted
    from tracekit.sampling._keep import KeepRule, KeepRules
    from tracekit.tracing._scope import Scope
    from tracekit.tracing._shared import Reporter
    from tracekit.tracing._tracer import Describe

_PROMOTION_FRAMES = 20
"""How deep it goes to hand on a promoted span, at most."""


class KeptCurrentSpan(CurrentSpan):
    """``CurrentSpan`` of a keeping tracer."""

    __slots__ = ()

    def __enter__(self) -> trace.Span:
        current = get_current()
        held = current.get(SPAN_KEY)
        arguments = self._arguments
        context = arguments[2]
        span = begin_kept(arguments, held if context is None else context.get(SPAN_KEY))
        self._span = span
        try:
            if not current if held is None else len(current) == 1:  # nothing to copy
                self._token = attach(Context({SPAN_KEY: span}))
            else:
                self._token = attach(Context({**current, SPAN_KEY: span}))
        except BaseException:  # a signal handler's: nobody will call ``__exit__``
            if get_current() is not current:
                attach(current)
            raise
        return span

    def _again(self) -> Scope:
        again = super()._again()
        if type(again) is CurrentSpan:  # (a leader's has its own)
            again.__class__ = KeptCurrentSpan
        return again


class KeepingTracer(Tracer):
    """Starts the spans of one scope; what nobody samples may be promoted when it has ended."""

    begin = staticmethod(begin_kept)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span without making it current; see ``Tracer.start_span``."""
        arguments = (
            self,
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
            True,
        )
        return begin_kept(arguments, (get_current() if context is None else context).get(SPAN_KEY))

    def start_as_current_span(  # type: ignore[override]  # ours is no contextlib generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Return a context manager, or decorator, that starts a span and makes it current."""
        made = KeptCurrentSpan()
        made._arguments = (
            self,
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
            end_on_exit,
        )
        return made

    def passes_on(self, extracted: Extracted) -> bool:
        """Return whether nobody will want to know of what is done below what arrived."""
        provider: KeepingTracerProvider = self._provider  # type: ignore[assignment] # its own kind
        return super().passes_on(extracted) and not provider.overrides

    def join(
        self,
        extracted: Extracted,
        name: str,
        kind: SpanKind,
        attributes: Describe | None = None,
        base: Context = EMPTY,
        start_time: int | None = None,
        subject: object = None,
    ) -> tuple[trace.Span, Context]:
        """Start the span that answers what arrived; see ``Tracer.join``.

        Where the caller has decided, and is obeyed, on the same road; else on that of
        ``start_span``.
        """
        fields = extracted[0]
        if fields is not None and fields[0] and (fields[3] or self.passes_on(extracted)):
            return super().join(extracted, name, kind, attributes, base, start_time, subject)
        return self._join_by_rule(extracted, name, kind, attributes, base, start_time, subject)


class KeepingTracerProvider(TracerProvider):
    """A provider that promotes local traces which nobody sampled, if ``rule`` wants them.

    ``rule`` is that of operations for which a strategies file names none. At most ``max_spans``
    and ``max_bytes`` of attributes are held undecided, and ``per_second`` traces promoted.
    """

    tracer_class = KeepingTracer

    def __init__(
        self,
        sampler: Sampler,
        reporter: Reporter | None,
        resource: Resource,
        *,
        rule: KeepRule | None,
        max_spans: int = DEFAULT_KEEP_SPANS,
        max_bytes: int = DEFAULT_KEEP_BYTES,
        per_second: float = DEFAULT_KEEP_PER_SECOND,
        traceid_128bit: bool = False,
        limits: SpanLimits | None = None,
    ) -> None:
        super().__init__(sampler, reporter, resource, traceid_128bit=traceid_128bit, limits=limits)
        self._rule = rule
        self._asked: tuple[Sampler | None, RemoteSampler | None] = (None, None)
        self._closed = False

        def buffer() -> Buffer[KeptSpan]:
            made: Buffer[KeptSpan] = Buffer(
                self._states.now(), max_spans, max_bytes, RateLimiter(per_second), self._is_watched
            )
            made.closed = self._closed
            return made

        self._stores = PerProcess(buffer)
        self.store = self._stores.now
        """Returns the buffer of this process."""

    def rule_of(self, operation: str) -> KeepRule | None:
        """Return the rule of a local root: that of the strategies file, else the setting."""
        rules = self._rules_of_file()
        own = None if rules is None else rules.of(operation)
        return self._rule if own is None else own

    @property
    def overrides(self) -> bool:
        """Whether any rule may keep what the caller has decided not to sample."""
        rules = self._rules_of_file()
        every = [self._rule]
        if rules is not None:
            every += [rules.default, *rules.operations.values()]
        return any(rule is not None and rule.override for rule in every)

    def _rules_of_file(self) -> KeepRules | None:
        sampler, remote = self._asked
        if sampler is not self._sampler:  # the first time, and where it was replaced
            sampler = self._sampler
            root = sampler.root if isinstance(sampler, ParentRule) else sampler
            remote = root if isinstance(root, RemoteSampler) else None
            self._asked = sampler, remote
        return None if remote is None else remote.keep

    def counts(self) -> SpanCounts:
        """Return what the tracer counts in this process; what is recorded is unsampled, too."""
        counts = super().counts()
        return counts._replace(unsampled_children=counts.unsampled_children + self.store().children)

    def kept(self) -> KeepCounts:
        """Return the figures of this process."""
        return self.store().counts()

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Discard what is undecided, then shut down; see ``TracerProvider.shutdown``."""
        self._closed = True
        store = self.store()
        store.close()
        self._tell(store)
        super().shutdown(timeout_s)

    def _judge(self, local: LocalTrace[KeptSpan], root: KeptSpan) -> None:
        """Decide a trace whose local root has ended; predicates run here, under no lock."""
        try:
            rule = local.rule
            reason = rule.reason(root, local.ended() if local.told or rule.looks else (root,))
        except Exception:
            self._failed("A predicate of keep raised; the trace is not kept")
            reason = None
        if reason is None:
            local.store.discard(local, UNWANTED)
        else:
            self._promote(local, root, reason)

    def _promote(
        self, local: LocalTrace[KeptSpan], root: KeptSpan, reason: str, *, capped: bool = True
    ) -> None:
        reach(_PROMOTION_FRAMES)  # a stack that ends halfway would lose what was promoted
        done = local.store.promote(local, KeptSpan._begin_sampled, capped=capped)
        if local.promoted:
            self._label(local, root, reason)
        for span in done:
            guard = span._guard
            if guard is not None:
                with guard:  # of a compound change that began before the span's end
                    pass
            self._report(span)

    def _report(self, span: KeptSpan) -> None:
        """Hand on a span that has ended and was promoted."""
        span._settle(SAMPLED)
        self.reporter.report(span)
        if self._processors:
            self._notify_end(span)

    def _is_watched(self) -> bool:
        return bool(self._processors)

    def _tell(self, store: Buffer[KeptSpan]) -> None:
        """Tell span processors of the end of spans that were discarded; under no lock."""
        while store.parted:
            try:
                span = store.parted.popleft()
            except IndexError:  # another thread tells of it
                return
            self._notify_end(span)

    def _label(self, local: LocalTrace[KeptSpan], root: KeptSpan, reason: str) -> None:
        """Say on the local root why it is there, and how likely it would have been without."""
        kind, param = ("parent", 0.0) if local.partial else head_of(self._sampler, root._name)
        tags = root._attrs
        tags["sampler.type"] = "promoted"
        tags["sampler.param"] = param
        tags["sampler.rule"] = reason
        tags["sampler.head"] = kind
        if local.partial:
            tags["sampler.partial"] = True
        root.__dict__.pop("_frozen", None)  # who read it before did not see these
