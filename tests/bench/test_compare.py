"""The comparison measures what it says, and does not count what lost spans."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

COMPARE = Path(__file__).parent / "compare"


@pytest.fixture(scope="module")
def compare():
    """Import the comparison as its command does: its folder is the first place to look in."""
    names = ("cells", "growth", "page", "peers", "pictures", "runs")
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
def test_a_run_counts_every_span(compare, measured):
    """A run against the sink has a figure, and the sink has counted exactly what was made."""
    result = measured["tracekit"]
    assert result["arrived"] == result["expected"] > 0
    assert result["figures"]["us"] > 0
    assert not compare["runs"].lost(result)


@pytest.mark.integration
def test_a_side_that_fails_is_named(compare, measured):
    """A measurement that breaks is a result, too: with the last line that it said."""
    assert "nobody" in measured["nobody"]["error"]
    table = compare["page"].section("cpu", {"ddtrace": [measured["nobody"]]}, {})
    assert f"0 of 1; not counted: {measured['nobody']['error']}" in table


def result(us, arrived):
    return {"figures": {"us": us}, "expected": 100, "arrived": arrived, "load": 0.5}


def test_a_run_that_lost_spans_is_left_out(compare):
    """The fast run that lost a span changes neither median nor ratio, and is told."""
    runs = {
        "tracekit": [result(2.0, 100)],
        "otel-http": [result(10.0, 100), result(1.0, 99), result(20.0, 100)],
    }
    table = compare["page"].section("child", runs, {})
    line = next(line for line in table.splitlines() if "OpenTelemetry, OTLP/HTTP" in line)
    assert "| 15.0 µs | 10.0 to 20.0 | 0.13 |" in line
    assert "2 of 3; not counted: 99 of 100 spans arrived" in line


def test_no_whole_run_means_no_figure(compare):
    """Where every run lost spans there is no median to be fast with, and no ratio either."""
    runs = {"tracekit": [result(2.0, 100)], "otel-http": [result(1.0, 99)]}
    table = compare["page"].section("child", runs, {})
    assert "| OpenTelemetry, OTLP/HTTP | | **lost spans** |" in table
    target = compare["cells"].TARGETS[0]
    assert compare["page"].ratio_of(target, {"child": runs}) is None


def test_a_peer_not_installed_is_named(compare):
    """Its lines stand in the tables with the reason."""
    table = compare["page"].section("child", {}, {"ddtrace": "no wheel"})
    assert "| ddtrace, msgpack | | not installed | | | no wheel |" in table


def test_results_are_reused_while_unchanged(compare, tmp_path):
    """Results are kept by cell and belong to the code that gave them."""
    kept = compare["runs"].Results(tmp_path, "key")
    kept.save("child", {"tracekit": [result(2.0, 100)]})
    assert kept.load("child") == {"tracekit": [result(2.0, 100)]}
    assert compare["runs"].Results(tmp_path, "other").load("child") == {}
    kept.forget("child")
    assert kept.load("child") == {}


def test_every_target_has_a_measured_cell(compare):
    """A target on a figure that no cell has would never be missed."""
    cells, peers = compare["cells"], compare["peers"]
    for target in cells.TARGETS:
        cell = cells.CELLS[target.cell]
        assert {target.figure, ""} & set(cell.figures)
        assert {target.side, target.peer or target.side} <= set(cell.sides)
        assert target.asked is not None
    assert {side for cell in cells.CELLS.values() for side in cell.sides} <= set(peers.SIDES)


def test_results_are_plain_json(compare, tmp_path):
    """A file of results is plain: the key and the runs of each side."""
    compare["runs"].Results(tmp_path, "key").save("child", {"bare": [result(1.0, 100)]})
    content = json.loads((tmp_path / "child.json").read_text())
    assert content == {"key": "key", "runs": {"bare": [result(1.0, 100)]}}


def found(**us):
    """Return a cell's runs: one whole run of each side."""
    return {side.replace("_", "-"): [result(value, 100)] for side, value in us.items()}


def test_pure_python_stands_beside_native(compare):
    """Each against what is asked of it: one may meet it where the other does not."""
    page = compare["page"]
    measured = {"cpu": found(tracekit=9.0, tracekit_pure=13.0, otel_http=50.0)}
    said = "| CPU of the process for a span, export included | tracekit, Jaeger UDP | OpenTelemetry"
    line = next(row for row in page.goals(measured, native=True) if row.startswith(said))
    assert "| ≤ 0.25 | 0.26 | ≤ 0.18 | 0.18 | missed, see below |" in line
    line = next(row for row in page.goals(measured, native=False) if row.startswith(said))
    assert "| ≤ 0.25 | 0.18 | ≤ 0.18 | not built |  |" in line


def test_ratios_stay_within_one_interpreter(compare):
    """A side under another interpreter is compared with ours under that same one."""
    runs = {"tracekit": [result(2.0, 100)], "tracekit-3.14": [result(1.0, 100)],
            "otel-http-3.14": [result(4.0, 100)]}  # fmt: skip
    table = compare["page"].section("child", runs, {})
    line = next(line for line in table.splitlines() if "OpenTelemetry, OTLP/HTTP, CPython" in line)
    assert "| 0.25 | 1 |" in line


def test_the_page_gives_reasons_for_misses(compare):
    """What was met in this run needs none, whatever a former one missed."""
    known = "About.\n\n## cpu, rate\nIt sleeps.\n\n## child\nIt dreams.\n"
    slow = {"cpu": found(tracekit=50.0, tracekit_pure=50.0, otel_http=50.0)}
    told = compare["page"].reasons(known, slow, native=True)
    assert "**CPU of the process for a span, export included.** It sleeps." in told
    assert "dreams" not in told
    fast = {"cpu": found(tracekit=1.0, tracekit_pure=1.0, otel_http=50.0)}
    assert compare["page"].reasons(known, fast, native=True) == ""


def test_every_reason_names_a_cell(compare):
    """A reason that names no cell would never be shown."""
    known = (COMPARE / "reasons.md").read_text(encoding="utf-8")
    for part in known.split("\n## ")[1:]:
        assert set(part.partition("\n")[0].split(", ")) <= set(compare["cells"].CELLS)


def test_growth_is_told_beside_linear_growth(compare):
    """Twice the cost for a span is twice of linear; an attribute more on the line is not."""
    linear = compare["growth"].linear
    assert linear("threads", {1: 5.0, 64: 10.0}) == {1: 1.0, 64: 2.0}
    costs = {0: 10.0, 8: 18.0, 128: 138.0}
    assert linear("attributes", costs) == {0: 1.0, 8: 1.0, 128: 1.0}
    figures = {"1 threads": 5.0, "64 threads": 10.0, "ratio": 2.0}
    runs = {"tracekit": [{"figures": figures, "expected": 1, "arrived": 1, "load": 0.0}]}
    grown = compare["page"].grown(runs)
    assert grown == {"threads": {1: 1.0, 64: 2.0}}
    picture = compare["pictures"].lines(grown)
    assert "threads" in picture
    ET.fromstring(picture)


def begins(label):
    """Return about where a text of a picture begins; a letter is half as wide as high, and more."""
    size = 0.52 * float(label.get("font-size", 13))
    left = size * len(label.text or "") if label.get("text-anchor") == "end" else 0
    return float(label.get("x", 0)) - left


def test_no_label_of_the_picture_is_cut_off():
    """Those that end at a bar begin within the picture."""
    picture = Path(__file__).parents[2] / "docs" / "reference" / "performance.svg"
    labels = [each for each in ET.parse(picture).iter() if each.tag.endswith("text")]
    assert labels
    assert not [label.text for label in labels if begins(label) < 0]


def test_the_page_comes_from_the_runs_alone(compare, tmp_path):
    """Its pictures too, with a run of every cell, and with cells in which every run lost spans."""
    cells, page = compare["cells"], compare["page"]
    facts = page.Facts("a machine", "3.11", {"ddtrace": "1"}, {}, 1, native=True)
    whole = {
        name: {side: [result(2.0, 100)] for side in cell.sides}
        for name, cell in cells.CELLS.items()
    }
    lossy = {name: {side: [result(2.0, 99)] for side in runs} for name, runs in whole.items()}
    for measured in (whole, lossy):
        page.write(tmp_path, measured, facts)
        text = (tmp_path / "performance.md").read_text(encoding="utf-8")
        for name in cells.CELLS:
            assert f"(`{name}`)" in text
        for picture in ("performance", "growth"):
            drawn = ET.parse(tmp_path / f"{picture}.svg")
            assert not [label.text for label in drawn.iter() if begins(label) < 0]
    assert "lost spans" in text
