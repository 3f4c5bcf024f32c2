"""tracekit: tracing for Python services in Jaeger and Istio shops.

::

    import tracekit

    tracekit.init()                      # reads JAEGER_* (and OTEL_*)
    tracer = tracekit.get_tracer(__name__)
    with tracer.start_as_current_span("dispatch") as span:
        span.set_attribute("customer", 392)

Edges are modules of their own: ``tracekit.flask``, ``tracekit.grpc``, ``tracekit.requests``,
``tracekit.mesh``, ``tracekit.opentracing``, ``tracekit.logging`` and more.

Importing this package alone loads nothing else (PEP 562): a name brings its module along when it
is first used, so that a test runner's plugin or a launcher costs next to nothing where it is idle.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it: ``typing`` takes half as long as an interpreter
if TYPE_CHECKING:
    from tracekit._assembly.ending import after_restore, drain_on
    from tracekit._assembly.handle import (
        Tracing,
        current_span,
        flush,
        get_tracer,
        shutdown,
        stats,
    )
    from tracekit._assembly.init import init
    from tracekit._calls.carry import wrap, wrap_executor
    from tracekit._cli.report import report
    from tracekit._instrument.instrumented import Instrumented, instrument
    from tracekit.errors import ConfigError, Problem, StrategyError, TracekitError
    from tracekit.settings import Settings

    __version__: str

__all__ = [
    "ConfigError",
    "Instrumented",
    "Problem",
    "Settings",
    "StrategyError",
    "TracekitError",
    "Tracing",
    "after_restore",
    "current_span",
    "drain_on",
    "flush",
    "get_tracer",
    "init",
    "instrument",
    "report",
    "shutdown",
    "stats",
    "wrap",
    "wrap_executor",
]

# Where each name of the front lives; the imports above are what type checkers read.
_HOMES = {
    **dict.fromkeys(
        (
            "Tracing",
            "current_span",
            "flush",
            "get_tracer",
            "shutdown",
            "stats",
        ),
        "tracekit._assembly.handle",
    ),
    **dict.fromkeys(("after_restore", "drain_on"), "tracekit._assembly.ending"),
    "init": "tracekit._assembly.init",
    **dict.fromkeys(("wrap", "wrap_executor"), "tracekit._calls.carry"),
    **dict.fromkeys(
        ("ConfigError", "Problem", "StrategyError", "TracekitError"), "tracekit.errors"
    ),
    "Settings": "tracekit.settings",
    "report": "tracekit._cli.report",
    **dict.fromkeys(("Instrumented", "instrument"), "tracekit._instrument.instrumented"),
}


if not TYPE_CHECKING:  # to a type checker, a name that is not imported above is an error

    def __getattr__(name: str) -> object:
        """Load the home of a public name when it is first asked for."""
        from importlib import import_module  # noqa: PLC0415 - the front itself imports nothing

        if name == "__version__":
            version: str = import_module("tracekit._assembly.distribution").VERSION
            return version
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(home), name)
        globals()[name] = value  # from now on a plain look-up
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"} - {"TYPE_CHECKING", "annotations"})
