"""Settings → parts → provider: the only module that knows both what is asked and who does it."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import SpanLimits

from tracekit._assembly.resource import resource_of
from tracekit._assembly.wires import handing_to, wire
from tracekit._frozen import Frozen, frozen
from tracekit._process.exit import on_first_span
from tracekit._process.undisturbed import undisturbed
from tracekit.encoding import FactsEncoder, native_frames
from tracekit.encoding._redacting import Redacting
from tracekit.propagation import Propagator
from tracekit.propagation._jaeger import Names as JaegerHeaders
from tracekit.reporting import FanOut, FlushResult, Reporter, Stats
from tracekit.reporting._worker import start_worker
from tracekit.sampling import ParentRule, from_type, state_of
from tracekit.tracing import (
    DisabledTracerProvider,
    SpanCounts,
    TracerProvider,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

    from tracekit._calls.metrics import CallMetrics
    from tracekit._protocols import Encoder, Transport
    from tracekit.metrics import Reading
    from tracekit.reporting._pipeline import Pipeline, Worker
    from tracekit.settings import LimitSettings, SamplerSettings, Settings

_log = logging.getLogger("tracekit")


class Destination(Protocol):
    """A further one: see ``exporters.AddedExporter``."""

    name: str
    reporter: Reporter

    def stats(self) -> Stats:
        """Return the figures of this destination in this process."""

    def flush(self, timeout_s: float = 2.0) -> FlushResult:
        """Send what is queued for it."""

    def remove(self, timeout_s: float = 2.0) -> None:
        """End it."""


@frozen
class Parts(Frozen):
    """What one handle is made of. ``reporter`` and ``sampler`` are None when disabled."""

    provider: TracerProvider | DisabledTracerProvider
    propagator: Propagator
    reporter: Reporter | None
    sampler: Sampler | None
    settings: Settings
    calls: CallMetrics | None = None
    encoder: str = ""
    """What makes frames; see ``Stats.encoder``."""
    stand_in: Transport | SpanExporter | None = None
    """What was given in place of the wire that ``settings`` name."""
    added: list[Destination] = dataclasses.field(default_factory=list)
    """Further destinations; changed under ``changing``."""
    changing: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def flush(self, timeout_s: float) -> FlushResult:
        """Send what is queued."""
        return FlushResult(0, 0, 0) if self.reporter is None else self.reporter.flush(timeout_s)

    def stats(self) -> Stats:
        """Put the reporter's, the tracer's and the sampler's figures together."""
        if self.reporter is None or self.sampler is None:
            return Stats()
        figures, counts = self.reporter.stats(), self._counts()
        return dataclasses.replace(
            figures,
            unsampled=figures.unsampled + counts.unsampled,
            foreign=figures.foreign + counts.foreign,
            sampler=state_of(self.sampler),
            encoder=self.encoder,
            **self._kept(),
        )

    @property
    def in_vain(self) -> bool:
        """Whether every send so far was refused by this very host: nobody listens."""
        return self.reporter is not None and self.reporter.in_vain

    def reading(self) -> Reading:
        """Return what the instruments read their figures from."""
        from tracekit.metrics import Reading  # noqa: PLC0415 - not before somebody reads them

        return Reading(
            self.stats(),
            self._counts(),
            self.propagator.counters,
            self.settings.reporter.queue_size if self.reporter is not None else 0,
            self.calls,
            {each.name: each.stats() for each in list(self.added)},
        )

    def _counts(self) -> SpanCounts:
        provider = self.provider
        return provider.counts() if isinstance(provider, TracerProvider) else SpanCounts()

    def _kept(self) -> dict[str, Any]:
        # Any: of ``Stats``' fields, each of its own type.
        kept = self.provider.kept()
        return {} if kept is None else kept._asdict()

    def let_go_with_provider(self) -> None:
        """Have thread, descriptor and sampler go when nobody holds the provider any more.

        It is what tracers hold, and they may be all that a program keeps of a handle.
        """
        if self.reporter is not None:
            budget_s = self.settings.reporter.exit_budget_s
            release, sampler = self.reporter.release, self.sampler
            weakref.finalize(self.provider, _let_go, release, sampler, budget_s).atexit = False

    def close(self, timeout_s: float) -> None:
        """End everything within ``timeout_s`` seconds, the sampler last: it is in no hurry."""
        deadline_s = time.monotonic() + timeout_s
        self.provider.shutdown(timeout_s)
        _close_sampler(self.sampler, deadline_s - time.monotonic())


def _let_go(release: Callable[[float], None], sampler: Sampler | None, budget_s: float) -> None:
    """Release reporter and sampler of a handle that was garbage collected without ``shutdown``.

    It never waits: the garbage collector calls it, in whatever thread it happens to run.
    """
    release(budget_s)
    _close_sampler(sampler, 0.0)


def _close_sampler(sampler: Sampler | None, timeout_s: float) -> None:
    root = sampler.root if isinstance(sampler, ParentRule) else sampler
    # By what it has, since a service that samples by itself never imports the class; and this may
    # run in the garbage collector, where nothing is imported.
    feed = getattr(root, "feed", None)
    if feed is not None:
        feed.close(timeout_s)


def build(
    settings: Settings,
    transport: Transport | None = None,
    exporter: SpanExporter | None = None,
) -> Parts:
    """Return the parts that ``settings`` name. Starts nothing.

    ``transport`` replaces the wire, ``exporter`` the format and the wire.
    """
    names = settings.jaeger_headers
    propagator = Propagator(
        settings.propagation,
        order=settings.extract_order,
        jaeger_headers=JaegerHeaders(
            names.trace_id, names.baggage_prefix, names.debug_id, names.baggage
        ),
        alone=not settings.disabled,
    )
    resource = resource_of(settings)
    if settings.disabled:
        return Parts(DisabledTracerProvider(resource), propagator, None, None, settings)
    reporter = reporter_of(settings, transport, exporter)
    sampler = ParentRule(_root_sampler(settings.sampler, settings.service_name))
    provider = _provider(settings, sampler, reporter, resource)
    calls = _call_metrics() if settings.rpc_metrics else None
    return Parts(
        provider,
        propagator,
        reporter,
        sampler,
        settings,
        calls,
        _kind_of(reporter.encoder),
        exporter or transport,
    )


def _call_metrics() -> CallMetrics:
    from tracekit._calls.metrics import CallMetrics  # noqa: PLC0415 - only where it is asked for

    return CallMetrics()


def _provider(
    settings: Settings, sampler: Sampler, reporter: Reporter, resource: Resource
) -> TracerProvider:
    """Return a keeping provider where a rule is given, or a strategies file may give one."""
    keep, limits = settings.keep, _limits(settings.limits)
    wide = settings.traceid_128bit
    if not keep.rules and settings.sampler.type != "file":
        return TracerProvider(sampler, reporter, resource, traceid_128bit=wide, limits=limits)
    # Deferred, as below: few services keep what was not sampled.
    from tracekit.sampling import keep_rule  # noqa: PLC0415
    from tracekit.tracing import KeepingTracerProvider  # noqa: PLC0415

    return KeepingTracerProvider(
        sampler,
        reporter,
        resource,
        rule=keep_rule(keep.rules) if keep.rules else None,
        max_spans=keep.max_spans,
        max_bytes=keep.max_bytes,
        per_second=keep.per_second,
        traceid_128bit=wide,
        limits=limits,
    )


def reporter_of(
    settings: Settings, transport: Transport | None, exporter: SpanExporter | None
) -> Reporter:
    """Return what queues spans and sends them where ``settings``, or a stand-in, say."""
    encoder, connect = (
        wire(
            settings.transport,
            settings.redact,
            native_frames() if settings.reporter.native else None,
        )
        if exporter is None
        else handing_to(exporter, settings.reporter.max_batch_spans, settings.redact)
    )

    def end() -> None:
        undisturbed(lambda: reporter.shutdown(settings.reporter.exit_budget_s))

    reporter = Reporter(
        encoder,
        connect if transport is None else lambda: transport,
        spawn=lambda pipeline: _begin_process(pipeline, end),
        wait=lambda s: time.sleep(s),  # noqa: PLW0108 - gevent may replace it after this
        queue_size=settings.reporter.queue_size,
        drop_policy=settings.reporter.drop_policy,
        flush_s=settings.reporter.flush_s,
        max_batch_spans=settings.reporter.max_batch_spans,
        log_spans=settings.reporter.log_spans,
    )
    return reporter


def fan_out(parts: Parts, others: Sequence[Reporter]) -> None:
    """Offer the spans of ``parts`` to ``others`` as well; the handle's own keeps its account."""
    if isinstance(parts.provider, TracerProvider) and parts.reporter is not None:
        first = parts.reporter
        encoders = [
            each.encoder for each in (first, *others) if isinstance(each.encoder, Redacting)
        ]
        made = Counter(each.makes for each in encoders)
        for each in encoders:
            each.shared = bool(each.makes[0]) and made[each.makes] > 1
        parts.provider.report_to(FanOut(first, tuple(others)) if others else first)


def _kind_of(encoder: Encoder) -> str:
    if isinstance(encoder, Redacting):
        encoder = encoder.encoder
    return encoder.made_by if isinstance(encoder, FactsEncoder) else ""


def _begin_process(pipeline: Pipeline, end: Callable[[], object]) -> Worker:
    """See to the end of a process, then start its worker; the first span in it causes this."""
    try:
        on_first_span(end)
    except Exception:  # it looks into other packages' modules, and they may be half imported
        _log.warning("spans may be lost at the end of this process", exc_info=True)
    return start_worker(pipeline)


def _root_sampler(settings: SamplerSettings, service_name: str) -> Sampler:
    if settings.type not in ("remote", "file"):
        return from_type(settings.type, settings.param)
    # Deferred: a service that samples by itself never needs an HTTP client.
    from tracekit.sampling import _fetch  # noqa: PLC0415

    follow, where = (
        (_fetch.following_file, settings.file)
        if settings.type == "file"
        else (_fetch.following_server, settings.endpoint)
    )
    if where is None:
        return from_type("probabilistic", settings.param)
    return follow(
        where,
        service_name,
        initial_rate=settings.param,
        max_operations=settings.max_operations,
        interval_s=settings.refresh_s,
    )


def _limits(settings: LimitSettings) -> SpanLimits:
    """Return OpenTelemetry's limits with every number given, so that it reads no environment."""
    length = settings.max_attribute_length
    own = (
        length if settings.max_span_attribute_length is None else settings.max_span_attribute_length
    )
    return SpanLimits(
        max_attributes=settings.max_attributes,
        max_events=settings.max_events,
        max_links=settings.max_links,
        max_span_attributes=settings.max_attributes,
        max_event_attributes=settings.max_event_attributes,
        max_link_attributes=settings.max_link_attributes,
        max_attribute_length=SpanLimits.UNSET if length is None else length,
        max_span_attribute_length=SpanLimits.UNSET if own is None else own,
    )
