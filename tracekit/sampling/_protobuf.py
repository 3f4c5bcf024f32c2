"""The two messages of ``jaeger.api_v2.SamplingManager``, read and written by a small table.

The table turns the answer into the very shape that its JSON has, so one reader judges both.
Source: Jaeger's ``api_v2/sampling.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._protobuf import DecodeError, Field, Message, Type, read, varint
from tracekit.errors import StrategyError
from tracekit.sampling._strategy import from_response

if TYPE_CHECKING:
    from tracekit.sampling._strategy import AnyStrategy

_PARAMETERS = Message(Field(1, Type.STRING, "serviceName"))
_PROBABILISTIC = Message(Field(1, Type.DOUBLE, "samplingRate"))
_RATE_LIMITING = Message(Field(1, Type.INT, "maxTracesPerSecond"))
_OPERATION = Message(
    Field(1, Type.STRING, "operation"),
    Field(2, Type.MESSAGE, "probabilisticSampling", _PROBABILISTIC),
)
_PER_OPERATION = Message(
    Field(1, Type.DOUBLE, "defaultSamplingProbability"),
    Field(2, Type.DOUBLE, "defaultLowerBoundTracesPerSecond"),
    Field(3, Type.MESSAGE, "perOperationStrategies", _OPERATION, repeated=True),
)
_RESPONSE = Message(
    Field(2, Type.MESSAGE, "probabilisticSampling", _PROBABILISTIC),
    Field(3, Type.MESSAGE, "rateLimitingSampling", _RATE_LIMITING),
    Field(4, Type.MESSAGE, "operationSampling", _PER_OPERATION),
)


def encode_parameters(service: str) -> bytes:
    """Return ``SamplingStrategyParameters``: the question a client asks."""
    name = service.encode()
    return _PARAMETERS.key("serviceName") + varint(len(name)) + name if name else b""


def decode_response(message: bytes) -> AnyStrategy:
    """Return the strategy in a ``SamplingStrategyResponse``.

    Raises:
        StrategyError: the bytes are no such message, or it holds no usable strategy.

    """
    try:
        fields = read(message, _RESPONSE)
    except DecodeError:
        raise StrategyError("the answer is no protobuf message of the expected form") from None
    return from_response(fields)
