"""The samplers under the names they had; each is a sampler of OpenTelemetry's, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import sampling as otel
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult

from tracekit.jaeger_client import constants
from tracekit.jaeger_client.constants import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.local_agent_net import LocalAgentSender
from tracekit.jaeger_client.metrics import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.utils import ErrorReporter  # noqa: F401 (likewise)
from tracekit.sampling import Const, Probabilistic, RateLimiting, RootSampler
from tracekit.sampling._sampler import INITIAL_RATE, MAX_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

__all__ = [
    "ConstSampler",
    "ProbabilisticSampler",
    "RateLimitingSampler",
    "RemoteControlledSampler",
    "Sampler",
    "adapted",
]


SAMPLER_TYPE_TAG_KEY = "sampler.type"
SAMPLER_PARAM_TAG_KEY = "sampler.param"
DEFAULT_SAMPLING_PROBABILITY = INITIAL_RATE
DEFAULT_MAX_OPERATIONS = MAX_OPERATIONS
DEFAULT_LOWER_BOUND = 1.0 / (10 * 60)
"""Traces a second."""


class LegacySampler(Protocol):
    """A sampler written for ``jaeger_client``."""

    def is_sampled(self, trace_id: int, operation: str = "") -> tuple[bool, Mapping[str, Any]]:
        """Return the decision, and the tags of a root that is sampled."""


class Sampler(RootSampler):
    """What a sampler is made of; derive yours from it and write ``is_sampled``."""

    def __init__(self, tags: Mapping[str, object] | None = None) -> None:
        self._tags = tags

    def is_sampled(self, trace_id: int, operation: str = "") -> tuple[bool, Mapping[str, Any]]:
        """Return the decision, and the tags of a root that is sampled. Any thread may ask."""
        raise NotImplementedError

    def close(self) -> None:
        """End what the sampler has started, if anything."""

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return what ``is_sampled`` decides."""
        return _decided(self, trace_id, name)

    def get_description(self) -> str:
        """Return what the sampler says of itself."""
        return str(self)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = object.__hash__


class _Known(Sampler):
    """One of Jaeger's; ``engine`` decides."""

    by_operation = False

    _engine: RootSampler

    def is_sampled(self, trace_id: int, operation: str = "") -> tuple[bool, Mapping[str, Any]]:
        """Return the decision, and the sampler's name and parameter as tags."""
        result = self._engine.decide(trace_id, operation)
        return result.decision is Decision.RECORD_AND_SAMPLE, dict(result.attributes)

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return the decision."""
        return self._engine.decide(trace_id, name)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(other) == str(self)

    __hash__ = object.__hash__


class ConstSampler(_Known):
    """Samples every root or none."""

    def __init__(self, decision: bool) -> None:
        self.decision = decision
        self._engine = Const(bool(decision))

    def __str__(self) -> str:
        return f"ConstSampler({self.decision})"


class ProbabilisticSampler(_Known):
    """Samples the share ``rate`` of all trace ids. ValueError unless it is in [0, 1]."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._engine = Probabilistic(rate)

    def __str__(self) -> str:
        return f"ProbabilisticSampler({self.rate})"


class RateLimitingSampler(_Known):
    """Samples so many roots a second. ValueError for a negative number."""

    def __init__(self, max_traces_per_second: float = 10) -> None:
        self.traces_per_second = max_traces_per_second
        self._limiting = self._engine = RateLimiting(max_traces_per_second)

    def update(self, max_traces_per_second: float) -> bool:
        """Change the rate, the bucket stays as full as it was; return whether that is new."""
        if self.traces_per_second == max_traces_per_second:
            return False
        limiter = self._limiting.limiter
        self._limiting = self._engine = RateLimiting(max_traces_per_second, limiter=limiter)
        self.traces_per_second = max_traces_per_second
        return True

    def __str__(self) -> str:
        return f"RateLimitingSampler({self.traces_per_second})"


class RemoteControlledSampler(_Known):
    """Asks an agent's sampling server from the first root on; until then as ``init_sampler``.

    ``channel`` says where it is: a ``LocalAgentSender``. Of the options ``init_sampler``,
    ``sampling_refresh_interval`` (seconds) and ``max_operations`` have an effect. TypeError for a
    channel without host and port.
    """

    by_operation = True

    def __init__(self, channel: LocalAgentSender, service_name: str, **options: Any) -> None:  # noqa: ANN401
        if not isinstance(channel, LocalAgentSender):
            raise TypeError(f"channel= takes a LocalAgentSender, not {type(channel).__name__}")
        from tracekit.sampling._fetch import following_server  # noqa: PLC0415 (an HTTP client)

        self.service_name = service_name
        self.sampling_refresh_interval = (
            options.get("sampling_refresh_interval") or constants.DEFAULT_SAMPLING_INTERVAL
        )
        self.max_operations = options.get("max_operations") or MAX_OPERATIONS
        initial = options.get("init_sampler") or ProbabilisticSampler(INITIAL_RATE)
        self._engine = self._remote = following_server(
            f"http://{channel.netloc}/sampling",
            service_name,
            initial_rate=INITIAL_RATE,
            max_operations=self.max_operations,
            interval_s=self.sampling_refresh_interval,
        )
        self._remote.current = _asked(initial)

    @property
    def sampler(self) -> RootSampler:
        """The one in force."""
        return self._remote.current

    def close(self) -> None:
        """Stop asking; the last strategy stays in force."""
        self._remote.close()

    def __str__(self) -> str:
        return f"RemoteControlledSampler({self.service_name})"


class _Adapted(RootSampler):
    """Asks a sampler that was written for ``jaeger_client`` and derived from its classes."""

    def __init__(self, legacy: LegacySampler) -> None:
        self.legacy = legacy

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return what that one decides."""
        return _decided(self.legacy, trace_id, name)

    def get_description(self) -> str:
        """Return what that one says of itself."""
        return str(self.legacy)


def _asked(sampler: otel.Sampler | LegacySampler) -> RootSampler:
    found = adapted(sampler)
    return found if isinstance(found, RootSampler) else _Adapted(found)  # type: ignore[arg-type]


def adapted(sampler: otel.Sampler | LegacySampler) -> otel.Sampler:
    """Return ``sampler`` as OpenTelemetry has it. TypeError if it is no sampler at all."""
    if isinstance(sampler, otel.Sampler):
        return sampler
    if not hasattr(sampler, "is_sampled"):
        raise TypeError(f"{type(sampler).__name__} is no sampler")
    return _Adapted(sampler)


def original(sampler: otel.Sampler) -> otel.Sampler | LegacySampler:
    """Return what ``adapted`` was given."""
    return sampler.legacy if isinstance(sampler, _Adapted) else sampler


def _decided(sampler: LegacySampler, trace_id: int, name: str) -> SamplingResult:
    sampled, tags = sampler.is_sampled(trace_id, name)
    if not sampled:
        return SamplingResult(Decision.DROP)
    attributes: dict[str, AttributeValue] = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in tags.items()
    }
    return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
