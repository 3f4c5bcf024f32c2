"""``jaeger_client.Config``: the same dictionary, and a tracer on tracekit's pipeline."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import opentracing

from tracekit._assembly.handle import Tracing
from tracekit._assembly.init import init
from tracekit.jaeger_client import constants
from tracekit.jaeger_client._keys import KEY_OF, KEYS
from tracekit.jaeger_client._own_pipeline import Nowhere
from tracekit.jaeger_client.codecs import B3Codec, Codec
from tracekit.jaeger_client.constants import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.local_agent_net import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.metrics import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.metrics import MetricsFactory
from tracekit.jaeger_client.reporter import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.reporter import Reporter
from tracekit.jaeger_client.sampler import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.sampler import (
    ConstSampler,
    ProbabilisticSampler,
    RateLimitingSampler,
    adapted,
)
from tracekit.jaeger_client.throttler import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.tracer import Tracer, root_sampler
from tracekit.jaeger_client.utils import ErrorReporter, get_boolean
from tracekit.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler as OTelSampler

    from tracekit.jaeger_client.metrics import Metrics
    from tracekit.jaeger_client.reporter import BaseReporter
    from tracekit.jaeger_client.sampler import LegacySampler
    from tracekit.jaeger_client.throttler import Throttler

__all__ = ["Config"]

_log = logging.getLogger("tracekit")

LOCAL_AGENT_DEFAULT_ENABLED = True
DEFAULT_REPORTING_HOST = "localhost"
DEFAULT_REPORTING_PORT = 6831
DEFAULT_SAMPLING_PORT = 5778
DEFAULT_THROTTLER_PORT = DEFAULT_SAMPLING_PORT
_DEFAULT_BATCH_SIZE = 10


def _shown(setting: str, doc: str) -> property:
    """Return a property that shows the setting in force; a subclass may say another value."""
    return property(lambda self: self.settings.flat()[setting], doc=doc)


class Config:
    """The dictionary of a tracer's configuration, and what makes the tracer.

    ``config`` has the keys that it had; a key wins over the environment, ``tags`` give way to it.
    ``service_name`` counts if the dictionary has none. ``scope_manager`` is any of OpenTracing's
    (None: OpenTelemetry's context). ``metrics_factory`` (or ``metrics``) is told the tracer's
    figures, unless the dictionary says ``metrics: False``. Properties show the values in force.

    Raises ValueError without a service name and, if ``validate``, for a key that never existed.
    Every other bad value is logged once and replaced.

    A subclass may override any property, ``new_tracer`` and ``create_tracer``: tracers are made of
    what they return, and with ``initialize_tracer`` so is the process' pipeline.
    """

    _initialized = False
    _initialized_lock = threading.Lock()

    def __init__(
        self,
        config: Mapping[str, Any],
        metrics: Metrics | None = None,
        service_name: str | None = None,
        metrics_factory: MetricsFactory | None = None,
        validate: bool = False,
        scope_manager: opentracing.ScopeManager | None = None,
    ) -> None:
        if validate and (unknown := [key for key in config if key not in KEYS]):
            raise ValueError(f"Unexpected keys found in config:{','.join(unknown)}")
        if not (config.get("service_name") or service_name):
            raise ValueError("service_name required in the config or param")
        self.config = config
        self.scope_manager = scope_manager
        self._sampler: OTelSampler | LegacySampler | None = None
        if config.get("sampler") and not isinstance(config["sampler"], Mapping):
            self._sampler = config["sampler"]
            adapted(self._sampler)  # TypeError now, not at the first span
        self._name = service_name
        self._sets_global = False
        self._made: tuple[BaseReporter, Tracing] | None = None
        self.settings = self._resolved({})
        wanted = get_boolean(config.get("metrics", True), True)
        self._metrics = metrics if wanted else None
        self._metrics_factory = metrics_factory if wanted else MetricsFactory()

    # --- what it says ---

    service_name = _shown("service_name", "Name of the service.")
    tags = _shown("tags", "Tags of the process.")
    logging = _shown("log_spans", "Whether each span that is reported is a line in the log.")
    local_agent_reporting_host = _shown("agent_host", "Host of the agent.")
    local_agent_reporting_port = _shown("agent_port", "UDP port of the agent.")
    local_agent_sampling_port = _shown("sampling_port", "Port of the sampling server.")
    reporter_queue_size = _shown("queue_size", "Finished spans that may wait.")
    reporter_flush_interval = _shown("flush_s", "Seconds that a span waits for others.")
    sampling_refresh_interval = _shown("sampler_refresh_s", "Seconds between two questions.")
    max_operations = _shown("sampler_max_operations", "Operations with a sampler of their own.")
    generate_128bit_trace_id = _shown("traceid_128bit", "Whether new trace ids have 128 bits.")
    trace_id_header = _shown("trace_id_header", "Header that carries the ids.")
    baggage_header_prefix = _shown("baggage_header_prefix", "Prefix of headers with baggage.")
    debug_id_header = _shown("debug_id_header", "Header that forces a trace.")

    @property
    def enabled(self) -> bool:
        """Whether spans are made at all."""
        return not self.settings.disabled

    @property
    def sampler(self) -> OTelSampler | LegacySampler | None:
        """The sampler that the dictionary names, newly made; None: the sampling server is asked.

        Raises ValueError if it names none that there is. (A tracer is made all the same.)
        """
        if self._sampler is not None:
            return self._sampler
        given: Mapping[str, Any] = self.config.get("sampler") or {}
        kind: object = given.get("type")
        param: Any = given.get("param")
        if not kind:
            return None
        if kind == constants.SAMPLER_TYPE_CONST:
            return ConstSampler(get_boolean(param, False))
        if kind == constants.SAMPLER_TYPE_PROBABILISTIC:
            return ProbabilisticSampler(float(param))
        if kind in (constants.SAMPLER_TYPE_RATE_LIMITING, "rate_limiting"):
            return RateLimitingSampler(float(param))
        raise ValueError(f"Unknown sampler type {kind}")

    @property
    def propagation(self) -> dict[str, Codec]:
        """What takes the place of Jaeger's headers in HTTP: nothing, or B3."""
        if "b3" not in self.settings.propagation:
            return {}
        return {opentracing.Format.HTTP_HEADERS: B3Codec(self.settings.traceid_128bit)}

    @property
    def reporter_batch_size(self) -> int:
        """Spans in a batch at most. If the dictionary says none, bytes alone fill a datagram."""
        return self._length("reporter_batch_size", _DEFAULT_BATCH_SIZE)

    @property
    def max_tag_value_length(self) -> int:
        """Characters of a text tag."""
        return self._length("max_tag_value_length", constants.MAX_TAG_VALUE_LENGTH)

    @property
    def max_traceback_length(self) -> int:
        """Characters of a traceback in a tag or log."""
        return self._length("max_traceback_length", constants.MAX_TRACEBACK_LENGTH)

    @property
    def metrics(self) -> None:
        """Nothing, as it was."""

    @property
    def error_reporter(self) -> ErrorReporter:
        """A logger of errors for the program's own use; the pipeline reports its own."""
        return ErrorReporter(None, _log if self.settings.reporter.log_spans else None)

    def local_agent_group(self) -> Mapping[str, Any] | None:
        """Return what the dictionary says about the agent."""
        return self.config.get("local_agent")

    @property
    def local_agent_enabled(self) -> bool:
        """What the dictionary says; nothing depends on it, and nothing ever did."""
        return get_boolean((self.local_agent_group() or {}).get("enabled", True), True)

    def throttler_group(self) -> Mapping[str, Any] | None:
        """Return what the dictionary says about the throttler, which is not asked."""
        return self.config.get("throttler")

    @property
    def throttler_port(self) -> int | None:
        """Where the throttler would be; None without one."""
        return self._of_throttler("port", DEFAULT_THROTTLER_PORT)

    @property
    def throttler_refresh_interval(self) -> int | None:
        """How many seconds between two questions to it; None without one."""
        return self._of_throttler("refresh_interval", constants.DEFAULT_THROTTLER_REFRESH_INTERVAL)

    # --- what it makes ---

    @staticmethod
    def initialized() -> bool:
        """Return whether ``initialize_tracer`` has been called in this process."""
        with Config._initialized_lock:
            return Config._initialized

    def initialize_tracer(self, io_loop: object = None) -> Tracer | None:
        """Start the process' tracing and make its tracer ``opentracing.global_tracer()``.

        Only the first call has any effect; later ones warn and return None. Every edge of tracekit
        that is told nothing else is on this pipeline, too. If ``tracekit.init`` has been called
        before, the tracer is on the pipeline that runs; where the settings differ, there is a
        warning and the running ones are kept.
        """
        with Config._initialized_lock:
            if Config._initialized:
                _log.warning("Jaeger tracer already initialized, skipping")
                return None
            Config._initialized = True
        self._sets_global = True
        try:
            tracer = self.new_tracer(io_loop)
        finally:
            self._sets_global = False
        opentracing.set_global_tracer(tracer)
        return tracer

    def new_tracer(self, io_loop: object = None) -> Tracer:
        """Return a tracer with a pipeline of its own; sets nothing global."""
        if said := self._overridden():
            self.settings = self._resolved(said)
        handle = init(settings=self.settings, set_global=self._sets_global)
        reporter = Reporter(handle)
        self._made = reporter, handle
        # A handle that was running keeps its sampler, as it keeps all its settings.
        own = handle.settings is self.settings
        sampler = (said.get("sampler") or self._sampler) if own else None
        return self.create_tracer(reporter, root_sampler(handle) if sampler is None else sampler)

    def create_tracer(
        self,
        reporter: BaseReporter,
        sampler: OTelSampler | LegacySampler | None,
        throttler: Throttler | None = None,
    ) -> Tracer:
        """Return a tracer that asks ``sampler`` about roots and hands its spans to ``reporter``.

        Both may be of ``tracekit.jaeger_client`` or written for ``jaeger_client``. Given the
        reporter that ``new_tracer`` made, the tracer is on the pipeline behind that.
        """
        if self._made is not None and reporter is self._made[0]:
            handle = self._made[1]
            if sampler is root_sampler(handle):
                sampler = None  # it is there already
        else:
            handle = Tracing(self.settings, Nowhere())
        codecs = self.propagation if self._says("propagation") else None
        return Tracer(
            handle.settings.service_name,
            reporter,
            sampler,
            self._metrics,
            self._metrics_factory,
            extra_codecs=codecs,
            max_tag_value_length=self.max_tag_value_length,
            max_traceback_length=self.max_traceback_length,
            throttler=throttler,
            scope_manager=self.scope_manager,
            tracing=handle,
        )

    def _says(self, name: str) -> bool:
        """Whether a subclass has a property of its own in place of ours."""
        return getattr(type(self), name) is not getattr(Config, name)

    def _overridden(self) -> dict[str, Any]:
        """Return, as entries of the dictionary, what properties of a subclass say."""
        said: dict[str, Any] = {}
        for name in (*KEYS - {"metrics", "sampler", "local_agent", "throttler"}, *KEY_OF):
            if not self._says(name):
                continue
            group, key = KEY_OF.get(name, ("", name))
            value = getattr(self, name)
            if group:
                said[group] = {**(said.get(group) or self.config.get(group) or {}), key: value}
            elif name != "propagation":
                said[key] = value
            elif isinstance(value.get(opentracing.Format.HTTP_HEADERS), B3Codec):
                said[key] = "b3"  # for edges, which use no codecs
        if self._says("sampler"):
            said["sampler"] = self.sampler
        return said

    def _resolved(self, said: Mapping[str, Any]) -> Settings:
        given = {**self.config, **said}
        if given.get("sampler") and not isinstance(given["sampler"], Mapping):
            del given["sampler"]  # an object: it is asked, no setting describes it
        if isinstance(given.get("max_tag_value_length"), int):
            # The tracer cuts its spans' values itself; tracebacks may be longer than what else the
            # limit is for, the spans of edges.
            longest = max(self.max_tag_value_length, self.max_traceback_length)
            given["max_tag_value_length"] = longest
        return Settings.from_jaeger_config(given, self._name, environ=dict(os.environ))

    def _length(self, key: str, default: int) -> int:
        value = self.config.get(key)
        return value if isinstance(value, int) and value >= 0 else default

    def _of_throttler(self, key: str, default: int) -> int | None:
        group = self.throttler_group()
        if group is None:
            return None
        try:
            return int(group[key])
        except (KeyError, TypeError, ValueError):
            return default
