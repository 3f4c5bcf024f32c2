"""One program's spans over every wire, and Jaeger's answer compared with them field by field."""

from __future__ import annotations

from pathlib import Path

import golden
import pytest
from jaeger import UDP, WIRES

import tracekit

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "interop.md"
THRIFT = {"tag internal.span.format", "references"}
OTLP = {
    "flags",
    "log field event",
    "log of a link",
    "tag bytes",
    "tag error",
    "tag internal.span.format",
    "tag otel.dropped_attributes_count",
    "tag otel.dropped_events_count",
    "tag otel.dropped_links_count",
    "tag otel.scope.name",
    "tag otel.scope.replicas",
    "tag otel.scope.version",
    "tag otel.scope.zone",
    "tag span.kind",
    "tag twice",
}
"""In what Jaeger 1.48 differs, as the page says it."""
VARIANTS = [(wire, False) for wire in WIRES] + [(wire, True) for wire in WIRES if wire not in UDP]


def compared(expected, found, differences):
    """Note in what ``found``, Jaeger's answer, differs from what was made."""
    note = differences.setdefault
    name = expected["operationName"]
    for field in ("operationName", "traceID", "spanID", "flags", "startTime", "duration"):
        if field in expected and found.get(field) != expected[field]:
            note(field, []).append((name, expected[field], found.get(field)))
    refs = [(each["refType"], each["spanID"]) for each in found["references"]]
    if refs != expected["references"]:
        note("references", []).append((name, expected["references"], refs))
    if "baggage" in expected:
        logs = [{f["key"]: f["value"] for f in log["fields"]} for log in found["logs"]]
        if expected["baggage"] not in logs:
            note("baggage", []).append((name, expected["baggage"], logs))
        return
    _tags("tag", name, expected["tags"], found["tags"], differences)
    logs = found["logs"]
    if len(logs) != len(expected["logs"]):
        said = [each["fields"].get("event") for each in expected["logs"]]
        what = "log of a link" if ("string", "link") in said else "logs"
        note(what, []).append((name, said, logs))
        return
    for log, want in zip(logs, expected["logs"], strict=True):
        if log["timestamp"] != want["timestamp"]:
            note("log timestamp", []).append((name, want["timestamp"], log["timestamp"]))
        _tags("log field", name, want["fields"], log["fields"], differences)


def _tags(what, name, want, got, differences):
    told = {each["key"]: (each["type"], each["value"]) for each in got}
    if len(told) != len(got):
        differences.setdefault(f"{what} twice", []).append((name, got))
    for key in want.keys() | told.keys():
        if want.get(key) != told.get(key):
            shown = (name, str(want.get(key))[:80], str(told.get(key))[:80])
            differences.setdefault(f"{what} {key}", []).append(shown)


@pytest.mark.parametrize(
    ("wire", "gzipped"), VARIANTS, ids=[wire + " gzip" * zipped for wire, zipped in VARIANTS]
)
def test_jaeger_has_everything(jaeger, noted, wire, gzipped):
    """But for what the table of docs/how-to/interop.md lists, by wire and by whose doing it is."""
    service = f"golden-{wire}-{gzipped}".replace(" ", "-")
    tracing = tracekit.init(
        service,
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=1,
        tags={"region": "eu", "weight": "3"},
        compression="gzip" if gzipped else "none",
        burst_pause_s=0.05,  # of datagrams: a busy machine's agent is not to miss any
        **golden.LIMITS,
        **WIRES[wire](jaeger.ports),
    )
    expected, (trace_id, parents) = golden.make(tracing)
    assert tracing.flush(30)
    tracing.shutdown(30)
    stats = tracing.stats()
    assert stats.sent == len(expected) + len(parents) == stats.finished
    jaeger.settle(service, stats.sent)
    differences = {}
    traces = {each["traceID"] for each in expected}
    stored = {}
    for each in traces:
        wanted = sum(span["traceID"] == each for span in expected)
        for span in jaeger.trace(int(each, 16), wanted):
            if span["process"]["serviceName"] == service:
                stored[span["traceID"], span["spanID"]] = span
    for each in expected:
        compared(each, stored[each["traceID"], each["spanID"]], differences)
    process = {tag["key"]: tag["value"] for tag in span["process"]["tags"]}
    assert process["region"] == "eu"
    long = jaeger.trace(trace_id, len(parents))
    assert {
        int(span["spanID"], 16): int(span["references"][0]["spanID"], 16)
        if span["references"]
        else 0
        for span in long
    } == parents
    assert service in jaeger.api("services")
    documented = OTLP if wire.startswith("otlp") else THRIFT
    assert {what: found[0] for what, found in differences.items() if what not in documented} == {}
    assert not documented - differences.keys(), "Jaeger does not differ in this any more"
    page = PAGE.read_text()
    assert not [what for what in documented if f"`{what}`" not in page]
    name = wire + " gzip" * gzipped
    spans = f"{len(expected)} spans and a trace of {len(parents)}"
    noted(
        "Jaeger",
        f"{name}, every field",
        f"documented difference: {spans}, {len(documented)} rows of the table",
    )


def test_gzip_to_thrift_is_found_out(jaeger, caplog):
    """Jaeger 1.48 answers it by 400: everything is stored all the same, and one line says so."""
    tracing = tracekit.init(
        "zipped",
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=1,
        compression="gzip",
        **WIRES["http"](jaeger.ports),
    )
    for _ in range(3):
        tracing.tracer("t").start_span("s").end()
        assert tracing.flush(30)
    tracing.shutdown(30)
    assert tracing.stats().sent == jaeger.settle("zipped", 3) == 3
    assert len([each for each in caplog.records if "takes no gzip" in each.getMessage()]) == 1


@pytest.mark.parametrize("wire", WIRES)
def test_no_span_breaks_the_search(jaeger, wire):
    """Jaeger answers 500 to any that finds a NaN as a number or a time before 1970."""
    service = f"search-{wire}".replace(" ", "-")
    tracing = tracekit.init(
        service,
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=1,
        **WIRES[wire](jaeger.ports),
    )
    nasty = {"nan": float("nan"), "list": [float("inf")], "deep": {"a": {"b": float("-inf")}}}
    span = tracing.tracer("t").start_span("s", attributes=nasty)
    span.add_event("e", nasty)
    span.add_event("before 1970", {}, -5_000_000_000)
    span.add_event("after 9999", {}, 2**70)
    span.end()
    assert tracing.flush(30)
    tracing.shutdown(30)
    (found,) = jaeger.search(service, 1)
    assert found["operationName"] == "s"
