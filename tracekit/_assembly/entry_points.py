"""The remote sampler for a plain OpenTelemetry SDK: ``OTEL_TRACES_SAMPLER=jaeger_remote``.

OpenTelemetry's specification names this sampler, its Python SDK has none: it looks for a factory
in the entry points and calls it with the text of the sampler's argument.
"""

from __future__ import annotations

import logging
import os

from tracekit._config.variables import otel_values
from tracekit.sampling import ParentRule, RemoteSampler
from tracekit.sampling._fetch import following_server
from tracekit.settings import Settings

_log = logging.getLogger("tracekit")


def jaeger_remote(argument: str | None) -> RemoteSampler:
    """Return the remote sampler of ``endpoint=…,pollingIntervalMs=…,initialSamplingRate=…``.

    It decides about every span anew, whatever the parent says. The service's name and what the
    argument does not say come from the environment, as for ``tracekit.init``; a bad entry costs
    one warning and its default. The sampler polls from the first span on.
    """
    given = otel_values.sampler_argument(argument or "", "jaeger_remote")
    for complaint in given.complaints:
        _log.warning("jaeger_remote sampler: %s", complaint)
    fields = {"sampler_type": "remote", **given.values}
    settings = Settings.from_fields(fields, environ=os.environ)
    sampler = settings.sampler
    return following_server(
        sampler.endpoint or "",  # asked for by name, it always has one
        settings.service_name,
        initial_rate=sampler.param,
        max_operations=sampler.max_operations,
        interval_s=sampler.refresh_s,
    )


def parentbased_jaeger_remote(argument: str | None) -> ParentRule:
    """Return the same for roots, with the parents' decisions followed."""
    return ParentRule(jaeger_remote(argument))
