"""The samplers under the names they had; each is a sampler of OpenTelemetry's, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from tracekit.sampling import Const as ConstSampler
from tracekit.sampling import Probabilistic as ProbabilisticSampler
from tracekit.sampling import RateLimiting as RateLimitingSampler
from tracekit.sampling import RootSampler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

__all__ = ["ConstSampler", "ProbabilisticSampler", "RateLimitingSampler", "adapted"]


class LegacySampler(Protocol):
    """A sampler written for ``jaeger_client``."""

    def is_sampled(self, trace_id: int, operation: str = "") -> tuple[bool, Mapping[str, object]]:
        """Return the decision, and the tags of a root that is sampled."""


class _Adapted(RootSampler):
    """Asks a sampler that was written for ``jaeger_client``."""

    def __init__(self, legacy: LegacySampler) -> None:
        self._legacy = legacy

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return what that one decides."""
        sampled, tags = self._legacy.is_sampled(trace_id, name)
        attributes: dict[str, AttributeValue] = {
            key: value if isinstance(value, bool | int | float) else str(value)
            for key, value in tags.items()
        }
        if not sampled:
            return SamplingResult(Decision.DROP)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        """Return what that one says of itself."""
        return str(self._legacy)


def adapted(sampler: Sampler | LegacySampler) -> Sampler:
    """Return ``sampler`` as OpenTelemetry has it. TypeError if it is no sampler at all."""
    if isinstance(sampler, Sampler):
        return sampler
    if not hasattr(sampler, "is_sampled"):
        raise TypeError(f"{type(sampler).__name__} is no sampler")
    return _Adapted(sampler)
