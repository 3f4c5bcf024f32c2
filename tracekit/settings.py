"""Settings: frozen, checked, comparable values, one class a part of the pipeline.

They are made by ``from_env``, ``from_file``, ``from_jaeger_config`` or, for ``init``, ``resolve``:
keyword arguments win over the environment, that over the file, that over the defaults. Whatever
cannot be used is listed in ``problems`` and replaced; with ``strict`` it is raised.
"""

from __future__ import annotations

import base64
import difflib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from tracekit import _env, _rules
from tracekit._layers import Layer, from_arguments, shown
from tracekit._schema import SETTINGS
from tracekit.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Part = TypeVar("_Part")


class _Masked:
    """A ``repr`` without secrets, so that settings can be logged as they are."""

    _part = ""

    def __repr__(self) -> str:
        rows = [row for row in SETTINGS.values() if row.part == self._part]
        parts = [
            f"{row.attribute}={shown(row.name, getattr(self, row.attribute))!r}" for row in rows
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, repr=False)
class SamplerSettings(_Masked):
    """How roots are sampled. ``endpoint`` None: the sampling server is not asked."""

    _part = "sampler"

    type: str
    param: float
    endpoint: str | None
    max_operations: int
    refresh_s: float
    file: str | None


@dataclass(frozen=True, repr=False)
class ReporterSettings(_Masked):
    """How finished spans wait, and for how long."""

    _part = "reporter"

    queue_size: int
    max_queue_bytes: int
    flush_s: float
    max_batch_spans: int
    drop_policy: str
    log_spans: bool
    exit_budget_s: float


@dataclass(frozen=True, repr=False)
class TransportSettings(_Masked):
    """Where batches go and how: ``kind`` is udp, http, otlp-http or otlp-grpc."""

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


@dataclass(frozen=True, repr=False)
class LimitSettings(_Masked):
    """Limits of one span, as OpenTelemetry has them; ``max_attribute_length`` None: no limit."""

    _part = "limits"

    max_attributes: int
    max_events: int
    max_links: int
    max_event_attributes: int
    max_link_attributes: int
    max_attribute_length: int | None


_PARTS = {
    "sampler": SamplerSettings,
    "reporter": ReporterSettings,
    "transport": TransportSettings,
    "limits": LimitSettings,
}


@dataclass(frozen=True, repr=False)
class Settings(_Masked):
    """All settings of one pipeline. Equal ones make equal pipelines, wherever they came from."""

    service_name: str
    disabled: bool
    tags: Mapping[str, str] = field(hash=False)
    traceid_128bit: bool
    rpc_metrics: bool
    propagation: tuple[str, ...]
    extract_order: str
    semconv: str
    sampler: SamplerSettings
    reporter: ReporterSettings
    transport: TransportSettings
    limits: LimitSettings
    problems: tuple[Problem, ...] = field(default=(), compare=False)
    """What could not be used, and what is used instead."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What is no mistake but worth saying once."""
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """By flat name, where each value comes from: default, a variable, ``file:line``, an argument."""

    @classmethod
    def resolve(
        cls,
        service_name: str | None = None,
        *,
        environ: Mapping[str, str],
        strict: bool = False,
        **fields: object,
    ) -> Settings:
        """Return the settings of ``fields`` over ``environ`` over the file that it names.

        ``fields`` are the names of ``flat()``; None means *not given*. Raises ``TypeError`` for
        any other name, ``ConfigError`` for bad values when ``strict``.
        """
        _check_names(fields)
        arguments = from_arguments({"service_name": service_name} | fields)
        return cls._of([arguments, *_env.read(environ)], strict=strict)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, strict: bool = False) -> Settings:
        """Return the settings of ``environ`` (and of the file that it names)."""
        return cls.resolve(environ=environ, strict=strict)

    @classmethod
    def _of(cls, layers: Sequence[Layer], *, strict: bool) -> Settings:
        resolved = _rules.resolve(layers)
        if strict and resolved.problems:
            raise ConfigError(resolved.problems)
        parts = {name: _build(part, name, resolved.values) for name, part in _PARTS.items()}
        root = _attributes("", resolved.values)
        return cls(
            **root,
            **parts,
            problems=resolved.problems,
            notes=resolved.notes,
            sources=MappingProxyType(dict(resolved.sources)),
        )

    def flat(self) -> dict[str, object]:
        """Return every setting under its flat name. Secrets are *not* masked."""
        found: dict[str, object] = {}
        for row in SETTINGS.values():
            part = getattr(self, row.part) if row.part else self
            value = getattr(part, row.attribute)
            found[row.name] = dict(value) if isinstance(value, MappingProxyType) else value
        found["authorization"] = self.transport.authorization
        return found

    def summary(self) -> str:
        """Return one line for the log: who, where to, how sampled; secrets masked."""
        return f"{self.service_name}: {self.transport.kind}"


def _build(part: type[_Part], name: str, values: Mapping[str, object]) -> _Part:
    return part(**_attributes(name, values))


def _attributes(part: str, values: Mapping[str, object]) -> dict[str, Any]:
    # Any: the table's checks have made each value what the attribute says, which no type can tell.
    return {row.attribute: values[row.name] for row in SETTINGS.values() if row.part == part}


def _check_names(fields: Mapping[str, object]) -> None:
    for name in fields:
        if name not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"there is no setting {name!r}{hint}")
