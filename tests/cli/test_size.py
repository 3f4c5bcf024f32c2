"""``tracekit size``: its arithmetic, and what it says was measured."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from tracekit import encoding
from tracekit._cli import size
from tracekit._cli.main import main
from tracekit.settings import Settings
from tracekit.testing import tracing

PERFORMANCE = Path(__file__).parents[2] / "docs" / "reference" / "performance.md"


def table(*words):
    return {row.what: row for row in size.rows(size.read(words))}


def test_ten_services_at_a_thousand_requests():
    """10 services x 1 000 requests x 20 spans, one in a hundred: every line by hand."""
    rows = table()
    assert rows["spans made"].figure == "200,000/s"
    assert rows["spans sampled"].figure == "2,000/s"
    assert rows["of one process"].figure == "50.0/s"  # 40 processes
    assert rows["network, all"].figure == "3.68 Mbit/s"  # 2 000 x 230 x 8
    assert rows["CPU of the services"].figure == "0.30 cores"  # 2 000 x 11 us + 198 000 x 1.4 us
    assert rows["queue lasts"].figure == "200 s"  # 10 000 / 50
    assert rows["disk a day"].figure == "172.8 GB"  # 2 000 x 86 400 x 500 x 2
    assert rows["sampler_param"].figure == "0.005"  # 1 000 of 200 000
    assert "randomSamplingPercentage 0.5" in rows["sampler_param"].why


@pytest.mark.parametrize(
    ("words", "kind", "param"),
    [
        (("rps=5",), "const", "1"),
        (("rps=1000",), "probabilistic", "0.005"),
        (("services=2000", "rps=500", "keep=20000"), "remote", "0.001"),
    ],
)
def test_the_sampler_follows_from_the_volume(words, kind, param):
    """All if it fits, a share, or adaptive sampling where services would be seen too rarely."""
    rows = table(*words)
    assert (rows["sampler_type"].figure, rows["sampler_param"].figure) == (
        kind,
        param,
    )
    environ = {
        "JAEGER_SERVICE_NAME": "x",
        "JAEGER_SAMPLER_TYPE": kind,
        "JAEGER_SAMPLER_PARAM": param,
    }
    assert Settings.resolve(environ=environ).problems == ()


def test_the_queue_grows_with_the_outage():
    """The setting holds what a process makes while the receiver is away, and is a good value."""
    rows = table("sample=1", "outage=60")
    assert rows["queue_size"].figure == "300000"
    assert table("outage=1")["queue_size"].figure == "10000"


@pytest.mark.parametrize(
    "word", ["rps", "rps=", "rps=x", "rps=0", "rps=-1", "rps=nan", "sample=2", "rpm=1", "=1"]
)
def test_a_bad_number_is_named(word, capsys):
    """Exit status 2, and the text says which and why."""
    with pytest.raises(SystemExit) as ended:
        main(["size", word])
    assert ended.value.code == 2
    assert word.partition("=")[0] in capsys.readouterr().err


def test_text_in_and_table_out(capsys, monkeypatch):
    """Standard input is read with ``-``, with comments; an argument behind it wins."""
    monkeypatch.setattr(
        sys, "stdin", io.StringIO("services=2 rps=10 # two\nspans=5\n# all\nsample=1")
    )
    assert main(["size", "-", "rps=20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"spans made +200/s  services x rps x spans", lines[1])
    assert all(line == line.rstrip() for line in lines)


def test_nothing_sampled_divides_nothing():
    """A share of 0 is answered, too."""
    rows = table("sample=0")
    assert rows["queue lasts"].figure == "for ever"


def test_bytes_of_a_span_are_the_encoders():
    """The default of ``bytes`` lies within a third of both wires' frames, payload's head aside."""
    tracer = tracing().tracer("size")
    with tracer.start_as_current_span("parent"), tracer.start_as_current_span("GET /x") as ended:
        ended.set_attribute("http.request.method", "GET")
        ended.set_attribute("url.path", "/dispatch")
        ended.set_attribute("http.response.status_code", 200)
    for encoder in (encoding.jaeger_compact(), encoding.otlp()):
        found = len(encoder.frame(ended).data)
        assert found == pytest.approx(size.INPUTS["bytes"].default, rel=0.34)


def test_figures_are_the_performance_pages():
    """Memory of a span is the page's figure, rounded up; its CPU that, and at most a quarter more.

    Of its two figures, in Python alone and with native frames, the slower one: what is sized by
    must not be less. Two runs of that cell on one machine are up to a fifth apart.
    """
    page = PERFORMANCE.read_text()
    part = page.split("### CPU of the process for a span", 1)[1].split("###", 1)[0]
    rows = re.findall(r"tracekit, Jaeger UDP(?:, Python alone)? \|.*?\| ([\d.]+) µs", part)
    cpu_us = max(map(float, rows))
    assert cpu_us <= size.INPUTS["sampled_us"].default <= 1.25 * cpu_us
    held = float(
        re.search(r"tracekit, Jaeger UDP \|\s*\| ([\d,]+) bytes", page)[1].replace(",", "")
    )
    assert 0 <= size.INPUTS["held"].default - held < 20
    default = Settings.resolve(environ={}).flat()
    assert default["queue_size"] == size.QUEUE
    assert default["max_burst_bytes"] == size.BURST_BYTES


PAGE = PERFORMANCE.parent / "sizing.md"


@pytest.mark.parametrize(
    ("words", "printed"),
    re.findall(r"<!-- size: (.*?) -->\n```\n(.*?)```", PAGE.read_text(), re.DOTALL),
)
def test_the_page_shows_the_commands_output(words, printed, capsys):
    """The tables of the page on sizing are the command's output."""
    assert main(["size", *words.split()]) == 0
    assert capsys.readouterr().out == printed
