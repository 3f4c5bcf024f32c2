"""Everything that grows with traffic has a bound, which ``docs/reference/bounds.md`` tells."""

from __future__ import annotations

import ast
import gc
import re
import tracemalloc
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

import tracekit
from tracekit.encoding import OtlpEncoder, jaeger_binary, jaeger_compact
from tracekit.sampling import PerOperation, parse_strategy
from tracekit.testing import MemoryTransport

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tracekit"
PAGE = ROOT / "docs" / "reference" / "bounds.md"
APART = {"local", "testing", "_recording", "_cli", "_config", "pytest_plugin"}
"""Launchers and fakes of tests, and what is read once, when a program starts."""

GROWABLE = {
    "dict",
    "list",
    "set",
    "deque",
    "OrderedDict",
    "defaultdict",
    "Counter",
    "WeakKeyDictionary",
    "WeakValueDictionary",
    "WeakSet",
}
NOT_BY_TRAFFIC = {
    "one object a span or a call, gone with it": {
        "grpc._client_call:ClientRpc.metadata",
        "flask._carrying:Carried._tokens",
        "requests._sending:Sending.exchanges",
        "propagation._tracestate:TraceState._members",
        "tracing._begin:begin._attrs",
        "tracing._begin_kept:begin_kept._attrs",
    },
    "as many as the program sets up": {
        "_assembly.handle:Tracing._meter_providers",
        "sampling._keep:KeepRules.operations",
        "tracing._local_trace:KeepCounts.discarded",
        "grpc._instrument:_installed",
        "_calls.patch:Instrumentation._undos",
        "celery:_Edge.quiet",
        "_instrument._imports:Imports._waiting",
        "_instrument.instrumented:Instrumented._failed",
        "_instrument.instrumented:Instrumented._undos",
        "jaeger_client._alias:_installed",
        "jaeger_client._closing:_unclosed",
        "jaeger_client._figures:_all",
        "logging._json:JsonFormatter._defaults",
        "prometheus._mirror:_mirrors",
        "reporting._reporter:Reporter.tell_sent",
        "fastapi:traced",
        "httpx:_kind_of",
        "httpx:instrument.patches",
        "flask._contexts:attend_contexts.kinds",
        "_process.farewell:_at_exit",
        "_process.farewell:_listeners",
        "grpc._foreign:_stand_in",
        "grpc._started_in:StartContexts._known",
        "requests._sending:Interception._classes",
        "_process.exit:_HeldAtForks.signums",
        "transport._deadline:_bounded",
    },
    "one for each of a closed list of words": {
        "_calls.redaction:_finding",
        "_process.exit:_warned",
        "propagation._counters:Counters._told",
        "propagation._counters:_CountersState.conflicts",
        "propagation._counters:_CountersState.decode_errors",
        "propagation._counters:_CountersState.ignored",
        "propagation._counters:_CountersState.silent_until",
        "propagation._counters:_CountersState.unsendable",
        "reporting._drop_warning:DropWarning._told",
        "reporting._pipeline:Pipeline._said",
    },
    "one entry, or one for each fork": {
        "_process.fork:ProcessState.heirs",
        "_process.fork:_attend_forks",
        "_process.undisturbed:undisturbed.begun",
        "_process.fork:_pages",
        "_process.undivided:_all",
        "_process.undivided:_attend_forks",
        "_process.undivided:_AtForks.tried",
        "transport._grpc_line:_attend_forks",
        "transport._grpc_line:_inherited",
        "transport._grpc_line:_lines",
        "jaeger_client._figures:_attend",
        "jaeger_client.span:_unheard",
        "prometheus._mirror:_attend",
        "reporting._pipeline:Pipeline._vacancy",
        "reporting._turn:Turn._permit",
        "sampling._limiter:_Level.following",
        "sampling._poller:_PollingState.starter",
    },
}


def containers() -> set[str]:
    """Every container that can outlive a call: attributes, globals, caches, closed-over locals."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] in APART:
            continue
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        _visit(ast.parse(path.read_text(encoding="utf-8")), module, (), None, found)
    return found


def _visit(node, module, names, function, found):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            _visit(child, module, (*names, child.name), None, found)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(re.search(r"\b(lru_)?cache\b", ast.unparse(d)) for d in child.decorator_list):
                found.add(f"{module}:{'.'.join((*names, child.name))}")
            is_method = isinstance(node, ast.ClassDef)
            _visit(child, module, names if is_method else (*names, child.name), child, found)
        else:
            if isinstance(child, ast.Assign | ast.AnnAssign) and _grows(child.value):
                for target in child.targets if isinstance(child, ast.Assign) else [child.target]:
                    if isinstance(target, ast.Attribute):
                        found.add(f"{module}:{'.'.join((*names, target.attr))}")
                    elif isinstance(target, ast.Name) and (
                        function is None or target.id in _closed_over(function)
                    ):
                        found.add(f"{module}:{'.'.join((*names, target.id))}")
            _visit(child, module, names, function, found)


def _grows(value):
    if isinstance(value, ast.Dict | ast.List):
        return not (value.keys if isinstance(value, ast.Dict) else value.elts)
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in GROWABLE


def _closed_over(function):
    inner = [
        each
        for each in ast.walk(function)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and each is not function
    ]
    return {n.id for each in inner for n in ast.walk(each) if isinstance(n, ast.Name)}


def test_every_growing_container_has_a_bound():
    """The page names each of those that do; it names none that is not there."""
    told = set(re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    fixed = set().union(*NOT_BY_TRAFFIC.values())
    there = containers()
    assert there - fixed - told == set(), "without a bound: see docs/reference/bounds.md"
    assert told - there == set(), "on the page, and not in the package"
    assert fixed - there == set(), "in this test, and not in the package"
    assert fixed & told == set()


def grown(work) -> int:
    """Return how many bytes are held after ``work`` that were not held before."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        del kept


def flood(encoder, size: int, count: int) -> None:
    values = {"s": "v", "i": 7, "f": 0.5, "b": True}
    resource, context = Resource({}), SpanContext(1, 2, is_remote=False)
    for number in range(count):
        unique = f"{number:08d}".ljust(size, "x")
        attributes = {f"{kind}{unique}": value for kind, value in values.items()}
        span = ReadableSpan(
            unique,
            context,
            resource=resource,
            attributes=attributes,
            events=[Event(unique, attributes)],
            instrumentation_scope=InstrumentationScope(unique),
            start_time=1,
            end_time=2,
        )
        encoder.frame(span)


@pytest.mark.parametrize("make", [jaeger_compact, jaeger_binary, OtlpEncoder])
@pytest.mark.parametrize(("size", "most"), [(20_000, 2e6), (3_000, 3e6), (150, 30e6)])
def test_an_encoders_memory_is_bounded(make, size, most):
    """However long names, keys, events and scopes are: long ones are not kept, short ones few."""

    def work():
        encoder = make()
        flood(encoder, size, 1_500 if size > 1000 else 6_000)
        return encoder

    assert grown(work) < most


def test_samplers_keep_no_long_names():
    """A query as a name costs no place in the table, and none of the memory."""
    strategy = parse_strategy('{"operationSampling": {"defaultSamplingProbability": 0.5}}')

    def work():
        sampler = PerOperation(strategy)
        for number in range(3_000):
            sampler.decide(1, f"{number}" + "x" * 20_000)
        return sampler

    assert grown(work) < 1e6


def test_tracers_by_the_thousand():
    """Each works, and those beyond the bound go when the program lets go of them."""
    tracing = tracekit.init(
        "s",
        environ={},
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=1,
        set_global=False,
    )

    def work():
        for number in range(5_000):
            tracing.tracer(f"{number}").start_span("x").end()
        tracing.flush()

    assert grown(work) < 12e6
    assert tracing.stats().finished == 5_000
    assert len(tracing.provider._tracers) <= 1024
    assert tracing.tracer("0") is tracing.tracer("0")
    tracing.shutdown()
