"""``jaeger_client.Config``: the same dictionary, and a tracer on tracekit's pipeline."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

import opentracing
from opentelemetry.sdk.trace.sampling import Sampler

from tracekit import _handle
from tracekit.jaeger_client import constants
from tracekit.jaeger_client.sampler import adapted
from tracekit.jaeger_client.tracer import Tracer, reporting_to
from tracekit.opentracing._tags import ValueRules
from tracekit.sampling import ParentRule
from tracekit.settings import Settings
from tracekit.tracing import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.jaeger_client.reporter import BaseReporter
    from tracekit.jaeger_client.sampler import LegacySampler

__all__ = ["Config"]

_log = logging.getLogger("tracekit")

_KEYS = frozenset(
    {
        "baggage_header_prefix",
        "debug_id_header",
        "enabled",
        "generate_128bit_trace_id",
        "local_agent",
        "logging",
        "max_operations",
        "max_tag_value_length",
        "max_traceback_length",
        "metrics",
        "propagation",
        "reporter_batch_size",
        "reporter_flush_interval",
        "reporter_queue_size",
        "sampler",
        "sampling_refresh_interval",
        "service_name",
        "tags",
        "throttler",
        "trace_id_header",
    }
)
_SHOWN = {
    "local_agent_reporting_host": "agent_host",
    "local_agent_reporting_port": "agent_port",
    "local_agent_sampling_port": "sampling_port",
    "reporter_batch_size": "max_batch_spans",
    "reporter_queue_size": "queue_size",
    "reporter_flush_interval": "flush_s",
    "sampling_refresh_interval": "sampler_refresh_s",
    "max_operations": "sampler_max_operations",
    "generate_128bit_trace_id": "traceid_128bit",
    "trace_id_header": "trace_id_header",
    "baggage_header_prefix": "baggage_header_prefix",
    "debug_id_header": "debug_id_header",
    "service_name": "service_name",
    "tags": "tags",
    "logging": "log_spans",
}
"""Properties that there were, and the setting that each shows."""


class Config:
    """The dictionary of a tracer's configuration, and what makes the tracer.

    ``config`` has the keys that it had; a key wins over the environment, ``tags`` give way to it.
    ``service_name`` counts if the dictionary has none. ``scope_manager`` is any of OpenTracing's
    (None: OpenTelemetry's context). ``metrics`` and ``metrics_factory`` are accepted and not used:
    ``tracekit.stats()`` has the figures.

    Raises ValueError without a service name and, if ``validate``, for a key that never existed.
    Every other bad value is logged once and replaced.
    """

    _initialized = False
    _initialized_lock = threading.Lock()

    def __init__(
        self,
        config: Mapping[str, object],
        metrics: object = None,
        service_name: str | None = None,
        metrics_factory: object = None,
        validate: bool = False,
        scope_manager: opentracing.ScopeManager | None = None,
    ) -> None:
        if validate and (unknown := [key for key in config if key not in _KEYS]):
            raise ValueError(f"Unexpected keys found in config:{','.join(unknown)}")
        if not (config.get("service_name") or service_name):
            raise ValueError("service_name required in the config or param")
        self.config = config
        self.scope_manager = scope_manager
        given = dict(config)
        sampler = given.get("sampler")
        self._sampler: Sampler | None = None
        if sampler is not None and (isinstance(sampler, Sampler) or hasattr(sampler, "is_sampled")):
            self._sampler = adapted(sampler)
            del given["sampler"]
        self.settings = Settings.from_jaeger_config(given, service_name, environ=dict(os.environ))
        self._values = ValueRules(
            _length(config, "max_tag_value_length", constants.MAX_TAG_VALUE_LENGTH),
            _length(config, "max_traceback_length", constants.MAX_TRACEBACK_LENGTH),
        )

    def __getattr__(self, name: str) -> object:
        """Return one of the properties that there were: the value in force."""
        if name in _SHOWN:
            return self.settings.flat()[_SHOWN[name]]
        raise AttributeError(name)

    @property
    def enabled(self) -> bool:
        """Whether spans are made at all."""
        return not self.settings.disabled

    @staticmethod
    def initialized() -> bool:
        """Return whether ``initialize_tracer`` has been called in this process."""
        with Config._initialized_lock:
            return Config._initialized

    def initialize_tracer(self, io_loop: object = None) -> Tracer | None:
        """Start the process' tracing and make its tracer ``opentracing.global_tracer()``.

        Only the first call has any effect; later ones return None. Every edge of tracekit that is
        told nothing else is on this pipeline, too.
        """
        with Config._initialized_lock:
            if Config._initialized:
                _log.warning("Jaeger tracer already initialized, skipping")
                return None
            Config._initialized = True
        tracer = self._on(_handle.init(settings=self.settings))
        opentracing.set_global_tracer(tracer)
        return tracer

    def new_tracer(self, io_loop: object = None) -> Tracer:
        """Return a tracer with a pipeline of its own; sets nothing global."""
        return self._on(_handle.init(settings=self.settings, set_global=False))

    def create_tracer(
        self,
        reporter: BaseReporter,
        sampler: Sampler | LegacySampler,
        throttler: object = None,
    ) -> Tracer:
        """Return a tracer that asks ``sampler`` about roots and hands its spans to ``reporter``.

        Both may be of ``tracekit.jaeger_client`` or written for ``jaeger_client``.
        """
        return reporting_to(reporter, sampler, self.settings, self.scope_manager, self._values)

    def _on(self, handle: _handle.Tracing) -> Tracer:
        if self._sampler is not None and isinstance(handle.provider, TracerProvider):
            handle.provider.sampler = ParentRule(self._sampler)
        return Tracer(handle, self.scope_manager, self._values)


def _length(config: Mapping[str, object], key: str, default: int) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value >= 0 else default
