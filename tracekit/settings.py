"""Settings: frozen, checked, comparable values, one class a part of the pipeline.

They are made by ``from_env``, ``from_file``, ``from_jaeger_config`` or, for ``init``, ``resolve``:
keyword arguments win over the environment, that over the file, that over the defaults. Whatever
cannot be used is listed in ``problems`` and replaced; with ``strict`` it is raised.
"""

from __future__ import annotations

import base64
import os
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from tracekit._config import rules, variables
from tracekit._config.arguments import BESIDE, from_arguments
from tracekit._config.layers import Layer, did_you_mean, plain, shown
from tracekit._config.schema import PARTS, SETTINGS
from tracekit._config.transports import TRANSPORTS
from tracekit._config.values import bracketed
from tracekit._config.variables import variable
from tracekit._display import MASK, masked, quoted
from tracekit._frozen import Frozen, frozen
from tracekit.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Unpack

    from tracekit._calls.semconv import Semconv
    from tracekit._config.fields import KeepEntry, SettingsFields


class _Masked(Frozen):
    """A ``repr`` without secrets, so that settings can be logged as they are."""

    _part = ""

    def __repr__(self) -> str:
        rows = [row for row in SETTINGS.values() if row.part == self._part]
        items = {row.attribute: shown(row.name, getattr(self, row.attribute)) for row in rows}
        if not self._part:
            items |= {part: getattr(self, part) for part in PARTS}
        inner = ", ".join(f"{name}={value!r}" for name, value in items.items())
        return f"{type(self).__name__}({inner})"


@frozen
class HeaderSettings(_Masked):
    """Names of the headers of Jaeger's own format, in lower case."""

    _part = "jaeger_headers"

    trace_id: str
    baggage_prefix: str
    debug_id: str
    baggage: str


@frozen
class SamplerSettings(_Masked):
    """How roots are sampled. ``endpoint`` None: the sampling server is not asked."""

    _part = "sampler"

    type: str
    param: float
    endpoint: str | None
    port: int
    max_operations: int
    refresh_s: float
    file: str | None


@frozen
class KeepSettings(_Masked):
    """Which traces that nobody sampled are kept, and how much of them may wait undecided."""

    _part = "keep"

    rules: tuple[KeepEntry, ...]
    max_spans: int
    max_bytes: int
    per_second: float


@frozen
class ReporterSettings(_Masked):
    """How finished spans wait, and for how long."""

    _part = "reporter"

    queue_size: int
    flush_s: float
    max_batch_spans: int | None
    drop_policy: Literal["newest", "oldest"]
    log_spans: bool
    native: bool
    exit_budget_s: float
    drain_on_sigterm: bool


@frozen
class TransportSettings(_Masked):
    """Where batches go and how: ``kind`` is udp, http, otlp-http, otlp-grpc, console or none."""

    _part = "transport"

    kind: str
    agent_host: str
    agent_port: int
    agent_protocol: str
    agent_family: str
    max_packet_bytes: int
    max_burst_bytes: int
    burst_pause_s: float
    reconnect: bool
    reconnect_s: float
    endpoint: str | None
    user: str | None
    password: str | None
    auth_token: str | None
    headers: Mapping[str, str] = field(hash=False)
    timeout_s: float
    compression: str
    ca_file: str | None
    cert_file: str | None
    key_file: str | None

    @property
    def authorization(self) -> str | None:
        """The header that authenticates a request; user and password beat the token, as in Java."""
        if self.user is not None and self.password is not None:
            pair = f"{self.user}:{self.password}".encode()
            return "Basic " + base64.b64encode(pair).decode("ascii")
        return None if self.auth_token is None else f"Bearer {self.auth_token}"


@frozen
class LimitSettings(_Masked):
    """Limits of one span, as OpenTelemetry has them; ``max_attribute_length`` None: no limit."""

    _part = "limits"

    max_attributes: int
    max_events: int
    max_links: int
    max_event_attributes: int
    max_link_attributes: int
    max_attribute_length: int | None
    max_span_attribute_length: int | None


@frozen
class Settings(_Masked):
    """All settings of one pipeline. Equal ones make equal pipelines, wherever they came from."""

    service_name: str
    disabled: bool
    tags: Mapping[str, str] = field(hash=False)
    traceid_128bit: bool
    rpc_metrics: bool
    propagation: tuple[str, ...]
    extract_order: Literal["first", "last"]
    semconv: Semconv
    also: str | None
    redact: tuple[str, ...]
    instrument: tuple[str, ...]
    disabled_instrumentations: tuple[str, ...]
    jaeger_headers: HeaderSettings
    sampler: SamplerSettings
    keep: KeepSettings
    reporter: ReporterSettings
    transport: TransportSettings
    limits: LimitSettings
    problems: tuple[Problem, ...] = field(default=(), compare=False)
    """What could not be used, and what is used instead."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What is no mistake but worth saying once."""
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """Where each value comes from, by flat name: default, variable, ``file:line``, argument."""

    @classmethod
    def resolve(
        cls,
        service_name: str | None = None,
        *,
        environ: Mapping[str, str],
        strict: bool = False,
        transport: str | None = None,
        **fields: Unpack[SettingsFields],
    ) -> Settings:
        """Return the settings of ``fields`` over ``environ`` over the file that it names.

        ``fields`` are the names of ``flat()``, and ``insecure`` beside an ``endpoint`` that is
        ``host:port``; None means *not given*. Raises ``TypeError`` for
        any other name, ``ConfigError`` for bad values when ``strict``.
        """
        named = {"service_name": service_name, "transport": transport}
        return cls.from_fields({**fields, **named}, environ=environ, strict=strict)

    @classmethod
    def from_fields(
        cls, fields: Mapping[str, object], *, environ: Mapping[str, str], strict: bool = False
    ) -> Settings:
        """Return what ``resolve`` returns, of fields whose types nobody has checked yet."""
        _check_names(fields)
        return cls._of([from_arguments(fields), *_surroundings(environ)], strict=strict)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, strict: bool = False) -> Settings:
        """Return the settings of ``environ`` (and of the file that it names)."""
        return cls._of(_surroundings(environ), strict=strict)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, strict: bool = False) -> Settings:
        """Return the settings of one YAML or JSON file alone, without any environment.

        The file holds flat names, or is a Kubernetes ``TracingConfiguration``.
        """
        return cls._of([_file(os.fspath(path), "file")], strict=strict)

    @classmethod
    def from_jaeger_config(
        cls,
        config: Mapping[str, object],
        service_name: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> Settings:
        """Return the settings of a ``jaeger_client.Config`` dictionary.

        As there, ``service_name`` is used if the dictionary has none. With ``environ`` the
        dictionary wins over it, except for tags, where ``jaeger_client`` let the environment win.
        """
        from tracekit._config import jaeger_dictionary  # noqa: PLC0415 - few programs have one

        given, tags = jaeger_dictionary.read(config, service_name)
        return cls._of([given, *_surroundings(environ or {}), tags], strict=strict)

    @classmethod
    def _of(cls, layers: Sequence[Layer], *, strict: bool) -> Settings:
        resolved = rules.resolve(layers)
        if strict and resolved.problems:
            raise ConfigError(resolved.problems)
        values = resolved.values
        return cls(
            **_attributes("", values),
            jaeger_headers=HeaderSettings(**_attributes("jaeger_headers", values)),
            sampler=SamplerSettings(**_attributes("sampler", values)),
            keep=KeepSettings(**_attributes("keep", values)),
            reporter=ReporterSettings(**_attributes("reporter", values)),
            transport=TransportSettings(**_attributes("transport", values)),
            limits=LimitSettings(**_attributes("limits", values)),
            problems=resolved.problems,
            notes=resolved.notes,
            sources=MappingProxyType(dict(resolved.sources)),
        )

    def flat(self) -> dict[str, object]:
        """Return every setting under its flat name, as JSON has it. Secrets are *not* masked."""
        found: dict[str, object] = {}
        for row in SETTINGS.values():
            part = getattr(self, row.part) if row.part else self
            value = getattr(part, row.attribute)
            if isinstance(value, MappingProxyType):
                value = dict(value)
            found[row.name] = plain(value)
        found["authorization"] = self.transport.authorization
        return found

    def masked(self) -> dict[str, object]:
        """Return what ``flat`` returns, secrets masked: fit for a log or a screen."""
        flat = self.flat()
        if flat.pop("authorization") is not None:
            flat["authorization"] = MASK
        return {
            name: shown(name, value) if name in SETTINGS else value for name, value in flat.items()
        }

    def nameless(self) -> Problem:
        """Return what is wrong with a service that nobody named: no Jaeger client would start."""
        name = variable("service_name")
        return Problem(name, "", "is missing: the service has no name", repr(self.service_name))

    def summary(self, destination: str | None = None) -> str:
        """Return one line for the log: who, where to, how sampled, which headers.

        ``destination`` stands there if it is not what the settings say.
        """
        if self.disabled:
            source = self.sources.get("disabled")
            return f"tracing of {quoted(self.service_name)} is disabled ({source})"
        return (
            f"tracing {quoted(self.service_name)}: {destination or self._destination()};"
            f" {self._sampling()}; headers {', '.join(self.propagation) or 'none'}"
        )

    def _destination(self) -> str:
        wire = self.transport
        if wire.kind == "udp":
            return f"spans to the agent at {bracketed(wire.agent_host)}:{wire.agent_port} (UDP)"
        label = TRANSPORTS[wire.kind].label
        if not label:
            return "spans to standard output" if wire.kind == "console" else "spans to nobody"
        scheme = f", {wire.authorization.split()[0]} authorization" if wire.authorization else ""
        return f"spans to {masked(str(wire.endpoint))} ({label}{scheme})"

    def _sampling(self) -> str:
        """Say how new traces are sampled: a newcomer who sees none must find the reason here."""
        sampler = self.sampler
        if sampler.type == "file":
            return f"sampling by {quoted(sampler.file)}"
        if sampler.type != "remote":
            return f"{sampler.type} sampler {sampler.param:g}"
        until = f" until {masked(sampler.endpoint)} answers" if sampler.endpoint else ""
        return (
            f"remote sampler, {sampler.param:g} of new traces{until}"
            f" ({variable('sampler_type')}=const {variable('sampler_param')}=1 samples all)"
        )


def _surroundings(environ: Mapping[str, str]) -> list[Layer]:
    """Return the layers that the environment brings: its variables and the file it names."""
    layers = list(variables.read(environ))
    path = variables.config_file(environ)
    return layers if path is None else [*layers, _file(path, variables.CONFIG_FILE)]


def _file(path: str, named_by: str) -> Layer:
    from tracekit._config import file  # noqa: PLC0415 - few programs have one

    return file.read(path, named_by)


def _attributes(part: str, values: Mapping[str, object]) -> dict[str, Any]:
    # Any: the table's checks have made each value what the attribute says, which no type can tell.
    return {row.attribute: values[row.name] for row in SETTINGS.values() if row.part == part}


def _check_names(fields: Mapping[str, object]) -> None:
    for name in fields:
        if name not in SETTINGS and name not in BESIDE:
            raise TypeError(f"there is no setting {name!r}{did_you_mean(name, SETTINGS)}")
