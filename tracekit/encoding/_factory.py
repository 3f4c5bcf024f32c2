"""The encoders by the names of what they are for, in Python alone or with native frames.

Of each only what is asked for is imported: a program has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.encoding._jaeger import JaegerEncoder
    from tracekit.encoding._native import Frames
    from tracekit.encoding._otlp import OtlpEncoder
    from tracekit.encoding._thrift import Dialect


def jaeger_compact(
    process_tags: Callable[[], Mapping[str, str]] = dict, *, native: Frames | None = None
) -> JaegerEncoder:
    """Return the encoder for an agent's UDP port 6831."""
    from tracekit.encoding._thrift import Compact  # noqa: PLC0415 - see above

    return _jaeger(Compact(), native, call=True, process_tags=process_tags)


def jaeger_binary(
    process_tags: Callable[[], Mapping[str, str]] = dict,
    *,
    call: bool = False,
    native: Frames | None = None,
) -> JaegerEncoder:
    """Return the encoder for a collector's HTTP port 14268, with ``call`` for UDP port 6832."""
    from tracekit.encoding._thrift import Binary  # noqa: PLC0415 - see above

    return _jaeger(Binary(), native, call=call, process_tags=process_tags)


def otlp(*, native: Frames | None = None) -> OtlpEncoder:
    """Return the encoder for OTLP, over HTTP or gRPC."""
    if native is None:
        from tracekit.encoding._otlp import OtlpEncoder  # noqa: PLC0415 - see above

        return OtlpEncoder()
    from tracekit.encoding._native_otlp import NativeOtlpEncoder  # noqa: PLC0415

    return NativeOtlpEncoder(native)


def _jaeger(
    dialect: Dialect,
    native: Frames | None,
    *,
    call: bool,
    process_tags: Callable[[], Mapping[str, str]],
) -> JaegerEncoder:
    if native is None:
        from tracekit.encoding._jaeger import JaegerEncoder  # noqa: PLC0415 - see above

        return JaegerEncoder(dialect, call=call, process_tags=process_tags)
    from tracekit.encoding._native_jaeger import NativeJaegerEncoder  # noqa: PLC0415

    return NativeJaegerEncoder(dialect, native, call=call, process_tags=process_tags)
