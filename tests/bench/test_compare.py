"""The comparison measures what it says, and does not count what lost spans."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

COMPARE = Path(__file__).parent / "compare"


@pytest.fixture(scope="module")
def compare():
    """Import the comparison as its command does: its folder is the first place to look in."""
    names = ("cells", "page", "peers", "runs")
    sys.path.insert(0, str(COMPARE))
    try:
        yield {name: __import__(name) for name in names}
    finally:
        sys.path.remove(str(COMPARE))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def measured(compare):
    runs = compare["runs"]
    with runs.Sink() as sink:
        return {
            side: runs.run(sink, sys.executable, side, "cpu") for side in ("tracekit", "nobody")
        }


@pytest.mark.integration
def test_every_span_of_a_measurement_is_counted(compare, measured):
    """A run against the sink has a figure, and the sink has counted exactly what was made."""
    result = measured["tracekit"]
    assert result["arrived"] == result["expected"] > 0
    assert result["figures"]["us"] > 0
    assert not compare["runs"].lost(result)


@pytest.mark.integration
def test_a_side_that_fails_is_named_with_its_error(compare, measured):
    """A measurement that breaks is a result, too: with the last line that it said."""
    assert "nobody" in measured["nobody"]["error"]
    table = compare["page"].section("cpu", {"ddtrace": [measured["nobody"]]}, {})
    assert f"0 of 1; not counted: {measured['nobody']['error']}" in table


def result(us, arrived):
    return {"figures": {"us": us}, "expected": 100, "arrived": arrived, "load": 0.5}


def test_a_run_with_missing_spans_is_marked_and_not_counted(compare):
    """The fast run that lost a span changes neither median nor ratio, and is told."""
    runs = {
        "tracekit": [result(2.0, 100)],
        "otel-http": [result(10.0, 100), result(1.0, 99), result(20.0, 100)],
    }
    table = compare["page"].section("child", runs, {})
    line = next(line for line in table.splitlines() if "OpenTelemetry, OTLP/HTTP" in line)
    assert "| 15.0 µs | 10.0 to 20.0 | 0.13 |" in line
    assert "2 of 3; not counted: 99 of 100 spans arrived" in line


def test_a_side_without_a_whole_run_has_no_figure(compare):
    """Where every run lost spans there is no median to be fast with, and no ratio either."""
    runs = {"tracekit": [result(2.0, 100)], "otel-http": [result(1.0, 99)]}
    table = compare["page"].section("child", runs, {})
    assert "| OpenTelemetry, OTLP/HTTP | | **lost spans** |" in table
    target = compare["cells"].TARGETS[0]
    assert compare["page"].ratio_of(target, {"child": runs}) is None


def test_a_peer_that_does_not_install_is_named(compare):
    """Its lines stand in the tables with the reason."""
    table = compare["page"].section("child", {}, {"ddtrace": "no wheel"})
    assert "| ddtrace, msgpack | | not installed | | | no wheel |" in table


def test_what_was_measured_is_taken_up_again_while_nothing_changed(compare, tmp_path):
    """Results are kept by cell and belong to the code that gave them."""
    kept = compare["runs"].Results(tmp_path, "key")
    kept.save("child", {"tracekit": [result(2.0, 100)]})
    assert kept.load("child") == {"tracekit": [result(2.0, 100)]}
    assert compare["runs"].Results(tmp_path, "other").load("child") == {}
    kept.forget("child")
    assert kept.load("child") == {}


def test_every_target_speaks_of_a_cell_and_sides_that_are_measured(compare):
    """A target on a figure that no cell has would never be missed."""
    cells, peers = compare["cells"], compare["peers"]
    for target in cells.TARGETS:
        cell = cells.CELLS[target.cell]
        assert target.figure in cell.figures
        assert {target.side, target.peer or target.side} <= set(cell.sides)
    assert {side for cell in cells.CELLS.values() for side in cell.sides} <= set(peers.SIDES)


def test_results_are_json_that_another_run_can_read(compare, tmp_path):
    """A file of results is plain: the key and the runs of each side."""
    compare["runs"].Results(tmp_path, "key").save("child", {"bare": [result(1.0, 100)]})
    content = json.loads((tmp_path / "child.json").read_text())
    assert content == {"key": "key", "runs": {"bare": [result(1.0, 100)]}}
