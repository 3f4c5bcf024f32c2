"""How fast the page of ``tracekit view`` is in a headless Chromium.

    python tests/bench/bench_page.py

Draws a trace of 10 000 spans, from the click to the first frame that shows it; scrolls through it
and counts frames; searches 10 000 traces, from the question to the list. The best of five, each.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

import urllib3

sys.path.insert(0, str(Path(__file__).parents[1] / "view"))
from browser import Browser

from tracekit.local import Backend

HTTP = urllib3.PoolManager()
ROUNDS = 5
DRAWN = """
const [path, ready] = arguments;
return new Promise((done) => {
  const started = performance.now();
  const link = document.createElement("a");
  link.href = path;
  document.body.append(link);
  link.click();
  link.remove();
  const look = () => document.querySelector(ready)
    ? requestAnimationFrame(() => done(performance.now() - started)) : setTimeout(look, 2);
  look();
});
"""
SCROLLED = """
return new Promise((done) => {
  const tree = document.querySelector(".tree");
  const started = performance.now();
  let frames = 0;
  const step = () => {
    const past = performance.now() - started;
    if (past > 2000) return done((1000 * frames) / past);
    frames += 1;
    tree.scrollTop = (past / 2000) * tree.scrollHeight;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
});
"""


def span(trace: int, number: int, parent: int, at_us: int, lasted_us: int) -> dict[str, object]:
    start = 1_700_000_000_000_000 + at_us
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": f"operation {number % 37}",
        "kind": 2,
        "startTimeUnixNano": str(start * 1000),
        "endTimeUnixNano": str((start + lasted_us) * 1000),
        "attributes": [{"key": "http.route", "value": {"stringValue": f"/route/{number % 97}"}}],
    }


def send(backend: Backend, spans: list[dict[str, object]]) -> None:
    for at in range(0, len(spans), 5000):
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": f"s{at}"}}]}
        part = {"resource": resource, "scopeSpans": [{"spans": spans[at : at + 5000]}]}
        answer = HTTP.request(
            "POST",
            f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces",
            body=json.dumps({"resourceSpans": [part]}),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status == 200, answer.data


def main() -> None:
    dice = random.Random(1)
    with Backend.on_free_ports() as backend, tempfile.TemporaryDirectory() as profile:
        large = [span(1, 1, 0, 0, 2_000_000)]
        for number in range(2, 10_001):
            parent = dice.randrange(max(1, number - 40), number)
            large.append(span(1, number, parent, number * 190, dice.randrange(50, 60_000)))
        send(backend, large)
        traces = range(2, 10_001)
        send(backend, [span(t, 1, 0, t * 1000, dice.randrange(100, 900_000)) for t in traces])
        with Browser(profile) as browser:
            browser.open(f"{backend.url}/status")
            browser.wait("document.querySelector('.figures b')")
            drawn, scrolled, searched, answered = [], [], [], []
            for _ in range(ROUNDS):
                path = f"/trace/{1:x}"
                drawn.append(browser.run(DRAWN, path, "[role=treeitem]"))
                scrolled.append(browser.run(SCROLLED))
                browser.run(DRAWN, "/status", ".figures b")
                searched.append(browser.run(DRAWN, "/search?limit=10000", ".traces li"))
                browser.run(DRAWN, "/status", ".figures b")
                started = time.perf_counter()
                HTTP.request("GET", f"{backend.url}/view/traces?limit=10000&start=0")
                answered.append(1000 * (time.perf_counter() - started))
    print(f"a trace of 10,000 spans drawn      {min(drawn):7.0f} ms")
    print(f"scrolling through it               {max(scrolled):7.0f} frames/s")
    print(f"search over 10,000 traces shown    {min(searched):7.0f} ms")
    print(f"search over 10,000 traces answered {min(answered):7.0f} ms")


if __name__ == "__main__":
    main()
