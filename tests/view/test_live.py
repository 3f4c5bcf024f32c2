"""What the terminal tells besides the traces, under a clock that is told what time it is."""

from __future__ import annotations

import json

import pytest
import urllib3
from running_view import span

from tracekit._cli.view.filters import Filter
from tracekit._cli.view.live import Live
from tracekit.local import Backend, ClientStats, Strategies, TraceStore
from tracekit.local._records import Arrival
from tracekit.sampling import Strategy
from tracekit.testing import FakeClock


@pytest.fixture
def told():
    """A back end, a live view of it, its clock and what it has said."""
    clock = FakeClock()
    store = TraceStore(max_bytes=1_000_000, clock=clock)
    strategies = Strategies(default=Strategy("probabilistic", 0.001))
    with Backend.on_free_ports(store=store, strategies=strategies) as backend:
        said = []
        live = Live(backend, Filter([]), said.append, width=80, color=False, clock=clock)
        yield backend, live, clock, said


def _take(backend, *spans):
    request = {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}
    urllib3.request(
        "POST",
        f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces",
        body=json.dumps(request),
        headers={"Content-Type": "application/json"},
    )


def test_silence_is_explained_once(told):
    """After ten seconds without a span: where it listens, and what services were told to sample."""
    backend, live, clock, said = told
    asking = f"http://127.0.0.1:{backend.ports['sampling']}/sampling?service=shop"
    assert urllib3.request("GET", asking).status == 200
    live.step()
    assert said == []

    clock.advance(11)
    live.step()
    live.step()

    text = "\n".join(said)
    assert text.count("Nothing has come yet") == 1
    assert f"{backend.ports['compact']}/udp" in text
    assert "shop has asked how to sample and was told 1 trace in 1,000" in text


def test_a_trace_waits_until_it_is_quiet(told):
    """With its root a second of quiet is enough; without it four."""
    backend, live, clock, said = told
    _take(backend, span("rooted", trace=1), span("orphan", trace=2, parent=7))
    clock.advance(0.9)
    live.step()
    assert said == []

    clock.advance(0.2)
    live.step()
    assert [line.split()[1] for line in said] == [f"{1:032x}"]

    clock.advance(3)
    live.step()
    live.step()
    assert [line.split()[1] for line in said] == [f"{1:032x}", f"{2:032x}"]


def test_a_flood_is_cut(told):
    """Of many traces at once some are drawn, and the number of the others is told."""
    backend, live, clock, said = told
    _take(backend, *(span("one", trace=number) for number in range(1, 51)))
    clock.advance(2)
    live.step()

    assert sum(line.startswith("trace ") for line in said) == 20
    assert f"… 30 more traces at the same time: {backend.url}" in said


def test_losses_are_told_as_they_grow(told):
    """Its own figures, by reason, and datagrams that did not arrive by the gaps in its numbers."""
    backend, live, _, said = told

    def comes(number, *stats):
        arrival = Arrival([], "shop", number, ClientStats(*stats), "client-1")
        backend.intake.take("udp", lambda _: [arrival], b"")
        live.step()

    comes(1, 0, 0, 0)
    assert said == []
    comes(2, 5, 0, 2)
    comes(3, 5, 0, 2)
    assert said == ["✗ shop lost 7 spans (5: its queue was full, 2: they could not be sent)"]
    comes(6, 5, 0, 2)
    assert said[1:] == ["✗ 2 messages of shop did not arrive"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], True),
        (["service=OTLPResourceNoServiceName"], True),
        (["service=other"], False),
        (["operation=GET /x"], True),
        (["error"], False),
        (["min=1ms"], True),
        (["min=1h"], False),
        (["max=1h"], True),
        (["max=1us"], False),
        (["http.status_code=200"], True),
        (["http.status_code=500"], False),
        (["get"], True),
        (["2001"], False),
        (["get", "error"], False),
    ],
)
def test_filters(told, words, shown):
    """Each kind of word, alone and together."""
    backend, *_ = told
    status = {"key": "http.status_code", "value": {"intValue": "200"}}
    _take(backend, span("GET /x", attributes=[status]))

    assert Filter(words)(backend.spans(1)) is shown
