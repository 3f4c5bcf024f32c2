"""The page of ``tracekit view`` as files: what is served, what may stand in them, what is saved."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import urllib3

import tracekit.local
from tracekit.local import Backend, read_document

STATIC = Path(tracekit.local.__file__).with_name("_static")
HTTP = urllib3.PoolManager()
HOSTILE = "</script>\\u003c<!--<script>alert(1)\u2028{{7*7}}\\\"'<img src=x onerror=alert(1)>"


@pytest.fixture
def backend():
    with Backend.on_free_ports() as running:
        yield running


def get(backend, path):
    return HTTP.request("GET", backend.url + path, retries=False)


def send(backend, *spans, service="shop"):
    attributes = [{"key": "service.name", "value": {"stringValue": service}}]
    body = {
        "resourceSpans": [
            {"resource": {"attributes": attributes}, "scopeSpans": [{"spans": list(spans)}]}
        ]
    }
    answer = HTTP.request(
        "POST",
        f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces",
        body=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 200, answer.data


def span(name, number=1, parent=0, lasted_us=1000, trace=1, **fields):
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": str(1_700_000_000_000_000_000 + lasted_us * 1000),
        **fields,
    }


@pytest.mark.parametrize("path", ["/", "/search", "/trace/abc", "/trace/a...b", "/dependencies"])
def test_each_address_answers_with_the_page(backend, path):
    """A link to a trace, as Jaeger writes it, is the page, under its policy."""
    answer = get(backend, path)

    assert answer.data == (STATIC / "index.html").read_bytes()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]


def test_each_file_is_served_with_its_type(backend):
    """What index.html and the modules name is there; modules need a script's type."""
    named = re.findall(r'(?:href|src)="/([\w.]+)"', (STATIC / "index.html").read_text())
    for module in STATIC.glob("*.js"):
        named += re.findall(r'from "\./([\w.]+)"', module.read_text())

    assert {"index.html", *named} == {each.name for each in STATIC.iterdir()}
    for name in named:
        kind = get(backend, f"/{name}").headers["Content-Type"]
        assert (
            kind.split(";")[0] == {"js": "text/javascript", "css": "text/css"}[name[-3:].strip(".")]
        )


def test_the_page_is_small_and_alone():
    """All of it is less than 150 kB compressed, and names no address outside."""
    texts = [each.read_text("utf-8") for each in STATIC.iterdir()]

    assert len(gzip.compress("".join(texts).encode())) < 150_000
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", "".join(texts)))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a vocabulary


@pytest.mark.parametrize("module", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_no_module_makes_text_into_markup(module):
    """Text from outside can only become text nodes and attributes."""
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"

    assert not re.search(sinks, module.read_text("utf-8"))
    assert "</script" not in module.read_text("utf-8")  # it stands in a page when it is handed over


def test_a_trace_is_saved_as_a_page(backend):
    """It can be read again, whatever its texts say: none leaves the element that holds it."""
    attribute = {"key": HOSTILE, "value": {"stringValue": HOSTILE}}
    send(backend, span(HOSTILE, attributes=[attribute]), service=HOSTILE)

    answer = get(backend, f"/view/export?traceID={1:x}&format=html")

    assert answer.headers["Content-Disposition"].startswith("attachment")
    page = answer.data.decode()
    assert page.count("</script>") == page.count("<script") == 2
    assert page.count("<!--") == 0
    assert "script-src 'sha256-" in page
    assert "unsafe" not in page.partition("</head>")[0].partition("<style>")[0]
    (read,) = read_document(answer.data)
    assert (read.service, read.operation, read.tags[HOSTILE]) == (HOSTILE, HOSTILE, HOSTILE)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("traceID=1&format=json", 200),
        ("traceID=1&format=perfetto.json", 200),
        ("traceID=1&format=exe", 400),
        ("traceID=1&format=x%22%0d%0aEvil:%201%0d%0a.json", 400),
        ("traceID=zz&format=json", 400),
        ("traceID=2&format=json", 404),
    ],
)
def test_only_known_formats_are_saved(backend, query, status):
    """The format is no way to write headers; a trace that is not held is said to be none."""
    send(backend, span("buy"))

    answer = get(backend, f"/view/export?{query}")

    assert answer.status == status
    assert "Evil" not in answer.headers


def test_the_graph_counts_requests(backend):
    """A service's requests are what others asked of it, and what began in it."""
    failed = {"status": {"code": 2}}
    send(
        backend, span("GET /", 1, lasted_us=9000), span("call", 2, 1, 6000, kind=3), service="shop"
    )
    send(backend, span("pay", 3, 2, 4000, **failed), span("db", 4, 3, 1000, kind=3), service="bank")

    found = json.loads(get(backend, "/view/graph").data)

    shop = {"name": "shop", "count": 1, "errors": 0, "p50": 9000, "p95": 9000}
    bank = {"name": "bank", "count": 1, "errors": 1, "p50": 4000, "p95": 4000}
    assert found["services"] == [bank, shop]
    call = {"from": "shop", "to": "bank", "count": 1, "errors": 1, "p50": 4000, "p95": 4000}
    assert found["calls"] == [call]
